"""Policy documents as rules read them: statements with known texts, or a record of what is not known.

Leans on `access.documents` for every legal spelling. A document that cannot be read is UNDECIDED for each rule that wanted it; one rule
(T01 for trusts, P01 for permissions) says besides that it is no document at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from access.answers import Undecided
from access.documents import ALLOW, normalise
from access.globs import is_pattern
from policies.tokens import POLICY, ROLE, ROLE_POLICY
from policies.values import holds_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from access.documents import Leaf, Statement
    from policies.rule import Case
    from policies.values import Field

TRUST = "assumeRolePolicy"
GRANTING = (ROLE_POLICY, POLICY, ROLE)
"""Types that hold documents of permissions."""


def unreadable(field: Field) -> str | None:
    """Why a document that is known cannot be read; None where it can, or is not known."""
    if field.absent or holds_unknown(field.value):
        return None
    document = normalise(field.value)
    return document.reason if isinstance(document, Undecided) else None


def statements(field: Field) -> tuple[Statement, ...]:
    """Statements of a document; none, and a record, where it is not known or cannot be read."""
    if field.absent:
        return ()
    document = normalise(field.value)
    if isinstance(document, Undecided):
        field.undecided(field.path)
        return ()
    return document


def allowed(field: Field) -> Iterator[Statement]:
    """Statements that allow something."""
    return (each for each in statements(field) if each.effect == ALLOW)


def grants(case: Case) -> Iterator[tuple[Field, Statement]]:
    """Statements that give permissions, with the document that holds each, wherever a resource keeps them."""
    fields = [case["policy"]] if case.type in (ROLE_POLICY, POLICY) else []
    if case.type == ROLE:
        fields += [each["policy"] for each in case["inlinePolicies"].items()]
    for field in fields:
        yield from ((field, statement) for statement in allowed(field))


def known(leaves: Iterable[Leaf], field: Field) -> list[str]:
    """Texts of leaves; a leaf that is not known is recorded and left out."""
    texts = []
    for leaf in leaves:
        if isinstance(leaf, str):
            texts.append(leaf)
        else:
            field.undecided(field.path)
    return texts


def principals(statement: Statement, kind: str, field: Field) -> list[str]:
    """Principals of a kind, such as `AWS`. One that is not known may be of any kind, so it is recorded for each."""
    return known((e.value for e in statement.principals if e.kind == kind or not isinstance(e.value, str)), field)


def values_of(statement: Statement, operator: str, key: str, field: Field) -> list[str] | None:
    """Values under exactly this operator and key; None where the statement has no such condition.

    Operators with `IfExists` or a set prefix are others: they hold when the key is absent, so they narrow nothing.
    """
    found = [c for c in statement.conditions if c.operator.lower() == operator.lower() and c.key == key.lower()]
    return known((value for each in found for value in each.values), field) if found else None


def speaks_of(statement: Statement, action: str, field: Field) -> bool:
    """Whether a statement covers an action in any spelling; an answer that is not known is recorded, and counts as no."""
    covered = statement.covers_action(action)
    if isinstance(covered, Undecided):
        field.undecided(field.path)
        return False
    return covered


def place(statement: Statement) -> str:
    """How a message names a statement: by its Sid, else by its place."""
    return f"statement {statement.sid or statement.index}"


def has_wildcard(text: str) -> bool:
    """Whether a text is a pattern; a policy variable counts as one."""
    return is_pattern(text) or "${" in text
