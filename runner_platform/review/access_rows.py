"""A matrix as rows for people: what each principal becomes in each account, those who reach the same in one row.

Owns the grouping that keeps a table and a picture small. Leaves out how they are drawn (`access_report`, `access_picture`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from access.decision import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from access.matrix import Cell
    from runner_platform.review.access_matrix import Matrix

MOST_NAMES = 2
"""Roles of one account that a cell names; more are counted."""
UNSURE = "?"
"""Behind a role that could not be decided."""
STRANGERS = ("sa:", "root:", "gitlab:stranger", "issuer:")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Principals that reach the same."""

    principals: tuple[str, ...]
    users: str
    """Who may be this principal, as far as GitLab decides it."""
    reach: Mapping[str, Sequence[Cell]]
    """Cells that are not refused, by account."""

    def text(self, account: str) -> str:
        """What the principals become in an account."""
        cells = self.reach.get(account, ())
        if len(cells) > MOST_NAMES:
            return f"{len(cells)} roles{UNSURE if any(each.decision is Decision.UNDECIDED for each in cells) else ''}"
        return ", ".join(name_of(each.role) + (UNSURE if each.decision is Decision.UNDECIDED else "") for each in cells)


def name_of(role: str) -> str:
    """Name of a role, from its ARN."""
    return role.rpartition("/")[2]


def rows(matrix: Matrix, users: Mapping[str, str]) -> list[Row]:
    """Rows of the principals that reach something, classes of this stack first; of these all, whatever they reach."""
    of_principal: dict[str, list[Cell]] = defaultdict(list)
    for cell in matrix.cells:
        if cell.decision is not Decision.DENIED:
            of_principal[cell.principal].append(cell)
    own = [f"job:{matrix.stack}/{name}" for name in users]
    order = [*own, *sorted((each for each in of_principal if each not in own), key=_rank)]
    groups: dict[tuple[str, tuple[Cell, ...] | frozenset[tuple[str, Decision]]], list[str]] = defaultdict(list)
    for principal in order:
        its = of_principal[principal]
        alike = frozenset((each.role, each.decision) for each in its)
        groups[_kind(principal, matrix.stack), tuple(its) if principal in own else alike].append(principal)
    return [
        Row(principals=tuple(its), users=_users(its, matrix.stack, users), reach=_by_account(of_principal[its[0]]))
        for its in groups.values()
    ]


def refused(matrix: Matrix) -> dict[str, int]:
    """How many principals of each kind reach nothing at all."""
    reaching = {cell.principal for cell in matrix.cells if cell.decision is not Decision.DENIED}
    found: dict[str, int] = defaultdict(int)
    for principal in sorted({cell.principal for cell in matrix.cells} - reaching):
        found[_called(principal)] += 1
    return dict(found)


def is_stranger(principal: str) -> bool:
    """Whether nobody should be this principal and reach anything."""
    return principal.startswith(STRANGERS)


def _called(principal: str) -> str:
    kind, _, rest = principal.partition(":")
    if kind in ("job", "manager"):
        return f"{kind}s of {rest.partition('/')[0]}"
    names = {"sa": "other service accounts", "root": "accounts", "node": "nodes", "issuer": "other issuers"}
    return names.get(kind, "projects of GitLab" if kind == "gitlab" else principal)


def _rank(principal: str) -> tuple[int, str]:
    kinds = ("job:", "gitlab:", "manager:", "node:", "pipeline", "deployer", "reader", "arn:")
    return next((i for i, kind in enumerate(kinds) if principal.startswith(kind)), len(kinds)), principal


def _kind(principal: str, stack: str) -> str:
    return principal if principal.startswith((f"job:{stack}/", "gitlab:")) else "others"


def _users(principals: Iterable[str], stack: str, users: Mapping[str, str]) -> str:
    found = [users.get(each.removeprefix(f"job:{stack}/"), "") for each in principals if each.startswith("job:")]
    return "; ".join(dict.fromkeys(each for each in found if each))


def _by_account(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = defaultdict(list)
    for each in cells:
        found[each.account].append(each)
    return dict(found)
