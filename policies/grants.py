"""Who holds which permissions in a stack: roles by ARN, and the statements that they carry.

Built once for all rules of stacks. Deny statements and boundaries are left out on purpose: these rules ask what a document hands out, and one
that leans on a denial elsewhere is too fragile for a protected class. What follows from everything together is `access`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.names import BOUNDARY_POLICY, DEPLOYER_ROLE, role_arn
from policies.documents import grants
from policies.rule import Option
from policies.tokens import POLICY, ROLE, ROLE_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.documents import Statement
    from policies.rule import Case
    from policies.stack import Stack
    from policies.values import Field

POWERFUL = Option.names("names of roles and policies that are bounded otherwise", [DEPLOYER_ROLE, BOUNDARY_POLICY])
"""Of the rules that ask what a document hands out: rule P09 holds these two to the reviewed documents."""


@dataclass(frozen=True)
class Grant:
    """One statement that a role carries."""

    holder: str
    """Name of the role, or of the managed policy that holds it."""
    account: str
    case: Case
    field: Field
    statement: Statement

    @property
    def urn(self) -> str:
        """URN of the resource that holds the document."""
        return self.case.urn


def grants_of(stack: Stack) -> Iterator[Grant]:
    """Every statement that allows something, of roles and of managed policies."""
    for case in stack.of(ROLE_POLICY, ROLE, POLICY):
        key = "role" if case.type == ROLE_POLICY else "name"
        holder = case[key].text("") or ""
        for field, statement in grants(case):
            yield Grant(holder, case.seen.account, case, field, statement)


def roles_by_arn(stack: Stack) -> dict[str, Case]:
    """Roles of the stack by ARN."""
    partition = stack.surroundings.settings.organization.partition
    found = {}
    for role in stack.of(ROLE):
        name, path = role["name"].text(), role["path"].text("/")
        if name is not None and path is not None:
            found[role_arn(partition, role.seen.account, path, name)] = role
    return found
