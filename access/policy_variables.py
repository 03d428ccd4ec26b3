"""Policy variables such as `${aws:PrincipalTag/team}`, filled in where the caller's value is fixed.

A variable whose value the caller chooses, or that is not known, stays in its text, and what depends on it is undecided. So does a variable in
a document of another version than 2012-10-17, where it is plain text.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from access.conditions import operator_of
from access.decision import Undecided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from access.conditions import Values
    from access.policy_documents import Condition, Document, Leaf, Statement

    Lookup = Callable[[str], Values]

VARIABLE = re.compile(r"\$\{([^{},'*?$]+?)(?:\s*,\s*'([^'*?$]*)')?\}")
MATCHES_NOTHING = "\0"
"""Stands for a text with a variable that has no value: it equals nothing and matches nothing."""


def filled(document: Document | Undecided, value_of: Lookup) -> Document | Undecided:
    """Return a document with its variables filled in.

    Args:
        document: the document.
        value_of: returns the values under a key in small letters; undecided if they are not fixed.
    """
    if isinstance(document, Undecided) or not any(statement.has_variables for statement in document):
        return document
    return tuple(_statement(statement, value_of) if statement.has_variables else statement for statement in document)


def _statement(statement: Statement, value_of: Lookup) -> Statement:
    def texts(leaves: Iterable[Leaf]) -> tuple[Leaf, ...]:
        return tuple(_text(leaf, value_of) for leaf in leaves)

    return replace(
        statement,
        resources=texts(statement.resources),
        not_resources=texts(statement.not_resources),
        conditions=tuple(_condition(condition, value_of) for condition in statement.conditions),
    )


def _condition(condition: Condition, value_of: Lookup) -> Condition:
    operator = operator_of(condition.operator)
    if isinstance(operator, Undecided) or not operator.textual:
        return condition
    texts = (_text(leaf, value_of) for leaf in condition.values)
    return condition._replace(values=tuple(text for text in texts if text != MATCHES_NOTHING))


def _text(leaf: Leaf, value_of: Lookup) -> Leaf:
    if not isinstance(leaf, str) or "${" not in leaf:
        return leaf
    filled_in, position = "", 0
    for match in VARIABLE.finditer(leaf):
        values = value_of(match[1].strip().lower())
        if isinstance(values, Undecided) or (values is not None and len(values) != 1):
            return leaf
        value = values[0] if values else match[2]
        if value is None:
            return MATCHES_NOTHING
        if re.search(r"[*?$]", value):
            return leaf
        filled_in += leaf[position : match.start()] + value
        position = match.end()
    return filled_in + leaf[position:]
