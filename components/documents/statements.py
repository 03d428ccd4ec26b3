"""Statements of IAM policy documents: the grammar that every other module of documents writes in.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
"""A policy document as IAM's JSON grammar has it."""
Actions = str | Sequence[str]
Resources = str | Sequence[str]
VERSION = "2012-10-17"


def document(*statements: Document) -> Document:
    """A policy document of the given statements."""
    return {"Version": VERSION, "Statement": list(statements)}


def allow(sid: str, action: Actions, resource: Resources, condition: Document | None = None) -> Document:
    """A statement that allows actions on resources."""
    return _statement("Allow", sid, {"Action": action}, resource, condition)


def allow_all_but(sid: str, action: Actions, resource: Resources) -> Document:
    """A statement that allows every action except these."""
    return _statement("Allow", sid, {"NotAction": action}, resource, None)


def deny(sid: str, action: Actions, resource: Resources, condition: Document | None = None) -> Document:
    """A statement that refuses actions on resources, whatever else allows them."""
    return _statement("Deny", sid, {"Action": action}, resource, condition)


def deny_all_but(sid: str, action: Actions, resource: Resources) -> Document:
    """A statement that refuses every action except these."""
    return _statement("Deny", sid, {"NotAction": action}, resource, None)


def _statement(effect: str, sid: str, action: Document, resource: Resources, condition: Document | None) -> Document:
    spelled = {key: value if isinstance(value, str) else list(value) for key, value in action.items()}
    where = resource if isinstance(resource, str) else list(resource)
    result = {"Sid": sid, "Effect": effect, **spelled, "Resource": where}
    return result if condition is None else {**result, "Condition": condition}


def merged(*documents: Document) -> Document:
    """One document with the statements of all."""
    return document(*(statement for each in documents for statement in each["Statement"]))
