"""Statements of policy documents, as rules read them, and the grants of a whole stack.

`access.policy_documents` reads every legal spelling. If a document cannot be read, each rule that needs it is UNDECIDED; rule T01 (trusts)
or P01 (permissions) also reports that it is not a policy document. Grants leave out Deny statements and boundaries on purpose: these rules
ask what a document hands out, because a grant that relies on a denial elsewhere is too fragile for a protected class. What all documents
allow together is computed in `access`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from access.actions import reached_by
from access.decision import Undecided
from access.globs import is_pattern
from access.policy_documents import ALLOW, normalise
from config.names import BOUNDARY_POLICY, DEPLOYER_ROLE, role_arn
from policies.fields import contains_unknown
from policies.rule import Option
from policies.type_tokens import POLICY, ROLE, ROLE_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from access.actions import Reach
    from access.policy_documents import Leaf, Statement
    from policies.fields import Field
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

TRUST = "assumeRolePolicy"
GRANTING = (ROLE_POLICY, POLICY, ROLE)
"""Types that contain permissions."""
POWERFUL = Option.names("names of roles and policies that are bounded otherwise", [DEPLOYER_ROLE, BOUNDARY_POLICY])
"""Holders that the rules about grants leave out: rule P09 compares these two with the reviewed documents."""


def unreadable(field: Field) -> str | None:
    """Return why a document cannot be read; None if it can be read or is unknown."""
    if field.absent or contains_unknown(field.value):
        return None
    document = normalise(field.value)
    return document.reason if isinstance(document, Undecided) else None


def statements(field: Field) -> tuple[Statement, ...]:
    """Return the statements of a document; record an unknown or unreadable document and return no statement."""
    if field.absent:
        return ()
    document = normalise(field.value)
    if isinstance(document, Undecided):
        field.undecide()
        return ()
    return document


def allow_statements(field: Field) -> Iterator[Statement]:
    """Yield the statements of a document that allow something."""
    return (statement for statement in statements(field) if statement.effect == ALLOW)


def granting_statements(resource: CheckedResource) -> Iterator[tuple[Field, Statement]]:
    """Yield `(document, statement)` for every Allow statement of a policy or of a role's inline policies."""
    documents = [resource["policy"]] if resource.type in (ROLE_POLICY, POLICY) else []
    if resource.type == ROLE:
        documents += [policy["policy"] for policy in resource["inlinePolicies"].items()]
    for document in documents:
        yield from ((document, statement) for statement in allow_statements(document))


def known_texts(leaves: Iterable[Leaf], field: Field) -> list[str]:
    """Return the texts of leaves; record unknown leaves and leave them out."""
    texts = []
    for leaf in leaves:
        if isinstance(leaf, str):
            texts.append(leaf)
        else:
            field.undecide()
    return texts


def principals_of(statement: Statement, kind: str, field: Field) -> list[str]:
    """Return the principals of a kind, such as `AWS`. An unknown principal may be of any kind, so it is recorded for all."""
    principals = (p.value for p in statement.principals if p.kind == kind or not isinstance(p.value, str))
    return known_texts(principals, field)


def condition_values(statement: Statement, operator: str, key: str, field: Field) -> list[str] | None:
    """Return the values under exactly this operator and key, or None if the statement has no such condition.

    Operators with `IfExists` or a set prefix do not count: they hold when the key is absent, so they narrow nothing.
    """
    conditions = [c for c in statement.conditions if c.operator.lower() == operator.lower() and c.key == key.lower()]
    values = (value for condition in conditions for value in condition.values)
    return known_texts(values, field) if conditions else None


def covers(statement: Statement, action: str, field: Field) -> bool:
    """Whether a statement covers an action, in any spelling. An undecided answer is recorded and counts as no."""
    covered = statement.covers_action(action)
    if isinstance(covered, Undecided):
        field.undecide()
        return False
    return covered


def reached_in(statement: Statement, field: Field) -> Mapping[Reach, list[str]]:
    """Return what the actions of a statement reach, with the actions; an unknown action is recorded."""
    known_texts((*statement.actions, *statement.not_actions), field)
    return reached_by(statement)


def name_of(statement: Statement) -> str:
    """Return the name of a statement in messages: the Sid, else the index."""
    return f"statement {statement.sid or statement.index}"


def has_wildcard(text: str) -> bool:
    """Whether a text is a pattern; a policy variable counts as one."""
    return is_pattern(text) or "${" in text


@dataclass(frozen=True)
class Grant:
    """One statement that a role or a managed policy carries."""

    holder: str
    """Name of the role, or of the managed policy."""
    account: str
    resource: CheckedResource
    """The resource with the document."""
    field: Field
    """The document."""
    statement: Statement

    @property
    def urn(self) -> str:
        """URN of the resource with the document."""
        return self.resource.urn

    @property
    def name(self) -> str:
        """Name of the statement in a message."""
        return name_of(self.statement)


def grants_of(stack: CheckedStack) -> Iterator[Grant]:
    """Yield every statement that allows something, of roles and of managed policies."""
    for resource in stack.of(ROLE_POLICY, ROLE, POLICY):
        key = "role" if resource.type == ROLE_POLICY else "name"
        holder = resource[key].text("") or ""
        for field, statement in granting_statements(resource):
            yield Grant(holder, resource.account, resource, field, statement)


def roles_by_arn(stack: CheckedStack) -> dict[str, CheckedResource]:
    """Return the roles of a stack by ARN."""
    partition = stack.run.settings.organization.partition
    roles = {}
    for role in stack.of(ROLE):
        name, path = role["name"].text(), role["path"].text("/")
        if name is not None and path is not None:
            roles[role_arn(partition, role.account, path, name)] = role
    return roles
