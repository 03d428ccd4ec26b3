"""Statements of policy documents, as rules read them, and the grants of a whole stack.

`access.policy_documents` reads every legal spelling. If a document cannot be read, each rule that needs it is UNDECIDED; rule T01 (trusts)
or P01 (permissions) also reports that it is not a policy document. Grants leave out Deny statements and boundaries on purpose: these rules
ask what a document hands out, because a grant that relies on a denial elsewhere is too fragile for a protected class. What all documents
allow together is computed in `access`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from access.decision import Undecided
from access.globs import is_pattern
from access.policy_documents import ALLOW, normalise
from config.names import BOUNDARY_POLICY, DEPLOYER_ROLE, role_arn
from policies.fields import holds_unknown
from policies.rule import Option
from policies.type_tokens import POLICY, ROLE, ROLE_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from access.policy_documents import Leaf, Statement
    from policies.fields import Field
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

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


def grants(case: CheckedResource) -> Iterator[tuple[Field, Statement]]:
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


POWERFUL = Option.names("names of roles and policies that are bounded otherwise", [DEPLOYER_ROLE, BOUNDARY_POLICY])
"""Of the rules that ask what a document hands out: rule P09 holds these two to the reviewed documents."""


@dataclass(frozen=True)
class Grant:
    """One statement that a role carries."""

    holder: str
    """Name of the role, or of the managed policy that holds it."""
    account: str
    case: CheckedResource
    field: Field
    statement: Statement

    @property
    def urn(self) -> str:
        """URN of the resource that holds the document."""
        return self.case.urn


def grants_of(stack: CheckedStack) -> Iterator[Grant]:
    """Every statement that allows something, of roles and of managed policies."""
    for case in stack.of(ROLE_POLICY, ROLE, POLICY):
        key = "role" if case.type == ROLE_POLICY else "name"
        holder = case[key].text("") or ""
        for field, statement in grants(case):
            yield Grant(holder, case.seen.account, case, field, statement)


def roles_by_arn(stack: CheckedStack) -> dict[str, CheckedResource]:
    """Roles of the stack by ARN."""
    partition = stack.surroundings.settings.organization.partition
    found = {}
    for role in stack.of(ROLE):
        name, path = role["name"].text(), role["path"].text("/")
        if name is not None and path is not None:
            found[role_arn(partition, role.seen.account, path, name)] = role
    return found
