"""A matrix for people: lines for a terminal, Markdown for a merge request, cells for machines.

Owns the words. Leaves out the drawing (`access_picture`), the grouping (`access_rows`) and the files (`runner_platform.review.access_files`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from access.decision import Decision
from runner_platform.reports.markdown import cell as table_cell
from runner_platform.reports.markdown import code, details
from runner_platform.review.access_picture import picture
from runner_platform.review.access_rows import Row, is_stranger, refused, rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from access.matrix import Cell
    from runner_platform.review.access_diff import Change
    from runner_platform.review.access_matrix import Matrix

NOTHING = "-"
MOST_CHANGES = 100
"""Changes that a report lists one by one."""


def document(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Cells for machines: `{principal, account, role, answer, chain}`, and `reason` where an answer is UNDECIDED."""
    return [
        {
            "principal": each.principal,
            "account": each.account,
            "role": each.role,
            "answer": each.decision.value,
            "chain": list(each.chain),
            **({"reason": each.reason} if each.decision is Decision.UNDECIDED else {}),
        }
        for each in cells
    ]


def verdict(matrix: Matrix) -> str:
    """One sentence."""
    if matrix.fine:
        allowed = sum(each.decision is Decision.ALLOWED for each in matrix.cells)
        return f"{matrix.stack}: as the settings declare it: {allowed} of {len(matrix.cells)} cells are allowed, nothing is undecided"
    return f"{matrix.stack}: {len(matrix.differences)} cells are not as declared, {len(matrix.flows)} ways lead from open to protected"


def header(matrix: Matrix) -> list[str]:
    """Titles of the table's columns."""
    return ["principal", "used by", *matrix.side.facts.accounts]


def lines(matrix: Matrix, users: Mapping[str, str]) -> list[list[str]]:
    """The table's rows."""
    found = [_line(row, matrix) for row in rows(matrix, users)]
    return [*found, [_refused(matrix), "", *(NOTHING for _ in matrix.side.facts.accounts)]]


def _line(row: Row, matrix: Matrix) -> list[str]:
    mark = "! " if any(map(is_stranger, row.principals)) and _unexpected(row, matrix) else ""
    reach = [row.text(account) or NOTHING for account in matrix.side.facts.accounts]
    return [f"{mark}{', '.join(row.principals)}", row.users or NOTHING, *reach]


def _unexpected(row: Row, matrix: Matrix) -> bool:
    return any(each.cell.principal in row.principals for each in matrix.differences)


def _refused(matrix: Matrix) -> str:
    return "nobody else: " + ", ".join(f"{count} {kind}" for kind, count in refused(matrix).items())


def problems(matrix: Matrix) -> list[str]:
    """A sentence for each cell that is not as declared, and for each way from open to protected."""
    found = [str(each) for each in matrix.differences]
    for each in matrix.flows:
        how = f" by {' -> '.join(each.chain)}" if each.chain else ""
        why = f" ({each.reason})" if each.reason else ""
        found.append(
            f"{each.writer} writes {each.kind} that {each.consumer} takes in, {each.pattern}: {each.decision}{how}{why}"
        )
    return found


def changed(changes: Sequence[Change]) -> list[str]:
    """A sentence for each gain and loss."""
    return [
        f"{each.principal} {'gains' if each.gains else 'loses'} {each.role} ({each.before} to {each.after})"
        + (f" by {' -> '.join(each.chain)}" if each.chain else "")
        for each in changes
    ]


def markdown(
    matrix: Matrix, users: Mapping[str, str], changes: Sequence[Change] | None = None, against: str = ""
) -> str:
    """The report of a merge request.

    Args:
        matrix: of the branch.
        users: who may use each class.
        changes: gains and losses; None where there is nothing to compare with.
        against: what it was compared with.
    """
    parts = [f"### Access: {verdict(matrix)}\n"]
    if changes is not None:
        gains = sum(each.gains for each in changes)
        parts.append(f"**{gains} gained, {len(changes) - gains} lost against {code(against)}**\n")
        parts += [f"- {code(each)}" for each in changed(changes)[:MOST_CHANGES]]
        parts += [f"- and {len(changes) - MOST_CHANGES} more"] if len(changes) > MOST_CHANGES else []
        parts.append("")
    wrong = problems(matrix)
    if wrong:
        parts += ["**Not as declared**\n", *(f"- {code(each)}" for each in wrong[:MOST_CHANGES]), ""]
        parts += [f"- and {len(wrong) - MOST_CHANGES} more\n"] if len(wrong) > MOST_CHANGES else []
    table = [
        header(matrix),
        ["---"] * len(header(matrix)),
        *([_shown(text) for text in line] for line in lines(matrix, users)),
    ]
    parts += [*(f"| {' | '.join(line)} |" for line in table), ""]
    parts.append(details("The chains", f"```mermaid\n{picture(matrix)}\n```"))
    return "\n".join(parts)


def _shown(text: str) -> str:
    return table_cell(text) if text not in ("", NOTHING) else text
