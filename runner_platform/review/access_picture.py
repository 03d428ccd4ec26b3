"""The chains of a matrix as a picture: Mermaid text that GitLab renders, grouped by trust level so that it stays small.

Source: https://docs.gitlab.com/user/markdown/#mermaid
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from access.decision import Decision
from runner_platform.review.access_rows import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from access.inventory import Inventory
    from access.matrix import Cell
    from runner_platform.review.access_matrix import Matrix

MOST_UNEXPECTED = 10
"""Unexpected chains that are drawn; the list under the table has them all."""


def picture(matrix: Matrix) -> str:
    """A flow chart: classes by level, the roles that their jobs become, and in red what nobody declared."""
    runners = matrix.side.stacks[matrix.stack].runners if matrix.stack in matrix.side.stacks else {}
    wrong = [each.cell for each in matrix.differences if each.cell.decision is not Decision.DENIED]
    places = {(each.principal, each.role) for each in wrong}
    lines, drawn = ["flowchart LR"], _Drawn()
    for level in sorted({runner.level for runner in runners.values()}):
        alike: dict[frozenset[tuple[str, str]], list[str]] = defaultdict(list)
        for name in (name for name, runner in runners.items() if runner.level is level):
            its = [each for each in matrix.cells if each.principal == f"job:{matrix.stack}/{name}"]
            alike[frozenset(_ends(each for each in its if (each.principal, each.role) not in places))].append(name)
        lines.append(f'  subgraph {drawn.id(f"level {level}")}["{level} jobs"]')
        lines += [f'    {drawn.id(" ".join(names))}["{_plain(", ".join(names))}"]' for names in alike.values()]
        lines.append("  end")
        for ends, names in alike.items():
            for account, role in sorted(ends):
                lines.append(f"  {drawn.id(' '.join(names))} --> {drawn.node(role, account)}")
    lines += [line for cell in wrong[:MOST_UNEXPECTED] for line in _unexpected(cell, drawn, matrix.side.facts)]
    lines += [f"  style {each} stroke:#c00,stroke-width:2px" for each in sorted(drawn.red)]
    return "\n".join(lines)


def _ends(cells: Iterable[Cell]) -> list[tuple[str, str]]:
    """Account and name of the roles that end a chain: the class's own role is on the way."""
    return [
        (each.account, name_of(each.role))
        for each in cells
        if each.decision is Decision.ALLOWED and len(each.chain) > 1
    ]


def _unexpected(cell: Cell, drawn: _Drawn, facts: Inventory) -> list[str]:
    start = drawn.id(cell.principal)
    drawn.red.add(start)
    places = [(name_of(arn), facts.account_name(arn.split(":")[4])) for arn in cell.chain]
    way = [f'{start}["{_plain(cell.principal)}"]', *(drawn.node(*place) for place in places)]
    return [f"  {one} -.-> {other}" for one, other in pairwise(way)]


class _Drawn:
    """Identifiers of what is drawn, short and the same each time."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self.red: set[str] = set()

    def id(self, what: str) -> str:
        return self._ids.setdefault(what, f"n{len(self._ids)}")

    def node(self, role: str, account: str) -> str:
        return f'{self.id(f"{role} {account}")}["{_plain(role)}<br/>{_plain(account)}"]'


def _plain(text: str) -> str:
    # Names may come from a branch that nobody has reviewed: nothing in a label may end it or be markup.
    return re.sub(r"[^\w .,:/()*-]", "_", text)
