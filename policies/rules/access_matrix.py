"""The rule that follows all trusts and permissions together: who reaches what is what the settings say, nothing more and nothing less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access.answers import Answer
from access.matrix import declared, derived, differences
from config.settings import Settings
from policies.grants import roles_by_arn
from policies.rule import WHOSE, stack_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.matrix import Difference
    from policies.stack import Stack


@stack_rule(
    "T10",
    "iam-role-reach-matches-the-matrix",
    demands="who becomes which role, by any chain, is exactly what accounts and classes in the settings say",
    stops="A01, A03, A12, A18, A19: a chain of roles, accounts and pods ends where nobody declared it",
    remedy="Change accounts or runners in the stack file if the access is meant; else mend the trust at the end of the chain.",
    settings=WHOSE,
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def matrix_is_as_declared(stack: Stack) -> Iterator[tuple[str, str]]:
    """Differences between the declared matrix and the one that the documents amount to, with the shortest chain."""
    settings = stack.surroundings.settings
    expected = declared([settings]) if isinstance(settings, Settings) else declared([], settings)
    urns = {arn: role.urn for arn, role in roles_by_arn(stack).items()}
    open_cells: list[Difference] = []
    for difference in differences(expected, derived(stack.index.world)):
        if difference.cell.answer is Answer.UNDECIDED:
            open_cells.append(difference)
        else:
            yield urns.get(difference.cell.role, ""), str(difference)
    if open_cells:
        stack.undecide("", f"the access matrix in {len(open_cells)} cells, such as {_cell(open_cells[0])}")


def _cell(difference: Difference) -> str:
    return f"{difference.cell.principal} to {difference.cell.role.rpartition('/')[2]}"
