"""A comparison in words: for the terminal, as JSON, and as the files that GitLab shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from runner_platform.reports import changes as full
from runner_platform.reports import files, summary, terraform
from runner_platform.reports.change import counted
from runner_platform.reports.markdown import code
from runner_platform.review import access_files, access_report
from runner_platform.review.diff import UNSEEN
from runner_platform.review.diff_costs import SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runner_platform.reports.change import Change
    from runner_platform.review.diff import Comparison, StackDiff
    from runner_platform.review.diff_costs import Cost

MOST_ACCESS = 20
"""Gains and losses that a summary lists; gains come first."""


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON: `{ref, commit, notes, unseen, stacks: [{stack, counts, changes, costs, access}]}`."""
    return {
        "ref": comparison.ref,
        "commit": comparison.commit,
        "notes": list(comparison.notes),
        "unseen": UNSEEN,
        "stacks": [
            {
                "stack": each.stack,
                "counts": asdict(each.counts),
                "changes": [_change(change) for change in each.changes],
                "costs": [asdict(cost) for cost in each.costs],
                "access": [{**asdict(change), "gains": change.gains} for change in each.access],
            }
            for each in comparison.stacks
        ],
    }


def _change(change: Change) -> dict[str, Any]:
    return {**asdict(change), "kind": change.kind.value, "loss": change.loss, "counted": counted(change)}


def write(comparison: Comparison, folder: Path | None) -> list[Path]:
    """Write `terraform.json`, `changes.md`, `summary.md`, `access.json` and `access.md` of every stack; returns their folders.

    Raises:
        FailedError: a folder cannot be written.
    """
    for each in comparison.stacks:
        if each.matrix is not None:
            access_files.write(each.matrix, folder, each.access, comparison.against.removeprefix("against "))
    return [
        files.write(
            folder,
            each.stack,
            {
                terraform.FILE: terraform.document(each.counts),
                full.FILE: full.document(each.stack, each.changes, [*comparison.notes, UNSEEN]),
                summary.FILE: summary.document(summarised(comparison, each)),
            },
        )
        for each in comparison.stacks
    ]


def summarised(comparison: Comparison, diff: StackDiff) -> summary.Summary:
    """What the merge request page says of a stack."""
    return summary.Summary(
        stack=diff.stack,
        changes=diff.changes,
        of=f"What this branch changes {code(comparison.against)}, without any credentials.",
        sections=[
            summary.Section(title=_access_title(diff), lines=_access_lines(diff)),
            summary.Section(title="Configured costs", lines=[f"- {line}" for line in cost_lines(diff.costs)]),
        ],
        footer=[*comparison.notes, UNSEEN],
    )


def _access_title(diff: StackDiff) -> str:
    gains = sum(each.gains for each in diff.access)
    return f"Access: {gains} gained, {len(diff.access) - gains} lost"


def _access_lines(diff: StackDiff) -> list[str]:
    shown = [f"- {code(each)}" for each in access_report.changed(diff.access[:MOST_ACCESS])]
    more = len(diff.access) - len(shown)
    return [*shown, *([f"- and {more} more: `runner-platform access --stack {diff.stack} --diff`"] if more > 0 else [])]


def cost_lines(costs: Sequence[Cost]) -> list[str]:
    """A line per configured quantity that changes; the last one says where the prices are from."""
    lines = [_cost(each) for each in costs]
    return [*lines, f"Prices: {SOURCES}."] if any(each.amount is not None for each in costs) else lines


def _cost(cost: Cost) -> str:
    was, becomes = (_number(each) for each in (cost.old, cost.new))
    unit = f" {cost.unit}" if cost.unit else ""
    amount = (
        "" if cost.amount is None else f": {'+' if cost.amount > 0 else '-'}${abs(cost.amount):,.2f} per {cost.per}"
    )
    return f"{cost.name}: {was} → {becomes}{unit}{amount}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison for a terminal: counts first, then every change in one line with what a reviewer must not miss."""
    yield f"What this branch changes {comparison.against}"
    for each in comparison.stacks:
        yield f"  {each.stack}: {each.counts}"
    for each in comparison.stacks:
        shown = [change for change in each.changes if not change.is_component]
        if shown or each.costs or each.access:
            yield f"\n{each.stack}"
        for change in shown:
            yield from _told(change)
        yield from (f"  access: {line}" for line in access_report.changed(each.access))
        yield from (f"  costs: {line}" for line in cost_lines(each.costs))
    yield ""
    yield from comparison.notes
    yield UNSEEN


def _told(change: Change) -> Iterator[str]:
    where = f" in {change.account}" if change.account else ""
    yield f"  {full.SIGNS[change.kind]:>3} {change.type} {change.name}{where}"
    if change.loss:
        yield f"      ! {change.loss}"
    yield from (f"      ! {text}" for text in change.warnings)
    if change.kind.value in {"update", "replace"}:
        for each in change.properties[: full.MOST_PROPERTIES]:
            forced = "  (replaces it)" if each.forces_replacement else ""
            yield f"      {each.path}: {_sides(each.old, each.new)}{forced}"


def _sides(old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return f"+ {new}" if old is None else f"- {old}"
    return f"{old} → {new}"
