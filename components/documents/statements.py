"""Statements of policy documents: the grammar that all other modules of documents write in.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
"""A policy document, or one statement, as IAM's JSON grammar has it."""
Actions = str | Sequence[str]
Resources = str | Sequence[str]
VERSION = "2012-10-17"


def document(*statements: Document) -> Document:
    """Return a policy document of the given statements."""
    return {"Version": VERSION, "Statement": list(statements)}


def merged(*documents: Document) -> Document:
    """Return one document with the statements of all documents."""
    return document(*(statement for policy in documents for statement in policy["Statement"]))


def allow(sid: str, action: Actions, resource: Resources, condition: Document | None = None) -> Document:
    """Return a statement that allows actions on resources."""
    return _statement("Allow", sid, {"Action": action}, resource, condition)


def allow_all_but(sid: str, action: Actions, resource: Resources) -> Document:
    """Return a statement that allows every action except the given ones."""
    return _statement("Allow", sid, {"NotAction": action}, resource, None)


def deny(sid: str, action: Actions, resource: Resources, condition: Document | None = None) -> Document:
    """Return a statement that denies actions on resources, in spite of all other statements."""
    return _statement("Deny", sid, {"Action": action}, resource, condition)


def deny_all_but(sid: str, action: Actions, resource: Resources) -> Document:
    """Return a statement that denies every action except the given ones."""
    return _statement("Deny", sid, {"NotAction": action}, resource, None)


def _statement(effect: str, sid: str, action: Document, resource: Resources, condition: Document | None) -> Document:
    actions = {key: value if isinstance(value, str) else list(value) for key, value in action.items()}
    resources = resource if isinstance(resource, str) else list(resource)
    statement = {"Sid": sid, "Effect": effect, **actions, "Resource": resources}
    return statement if condition is None else {**statement, "Condition": condition}
