"""A comparison in words: for the terminal, as JSON, and as the files that GitLab shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from runner_platform.reports import changes as full
from runner_platform.reports import files, summary, terraform
from runner_platform.reports.change import Kind, counted
from runner_platform.reports.markdown import code
from runner_platform.review import access_report
from runner_platform.review.comparison import UNSEEN
from runner_platform.review.costs import PRICE_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runner_platform.reports.change import Change
    from runner_platform.review.comparison import Comparison, StackDiff
    from runner_platform.review.costs import Cost

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
                "stack": diff.stack,
                "counts": asdict(diff.counts),
                "changes": [_change(change) for change in diff.changes],
                "costs": [asdict(cost) for cost in diff.costs],
                "access": [{**asdict(change), "gains": change.gains} for change in diff.access],
            }
            for diff in comparison.stacks
        ],
    }


def _change(change: Change) -> dict[str, Any]:
    return {**asdict(change), "kind": change.kind.value, "loss": change.loss, "counted": counted(change)}


def write(comparison: Comparison, folder: Path | None) -> list[Path]:
    """Write `terraform.json`, `changes.md`, `summary.md`, `access.json` and `access.md` of every stack; return their folders.

    Raises:
        FailedError: a folder cannot be written.
    """
    for diff in comparison.stacks:
        if diff.matrix is not None:
            access_report.write(diff.matrix, folder, diff.access, comparison.against.removeprefix("against "))
    return [
        files.write(
            folder,
            diff.stack,
            {
                terraform.FILE: terraform.document(diff.counts),
                full.FILE: full.document(diff.stack, diff.changes, [*comparison.notes, UNSEEN]),
                summary.FILE: summary.document(summarised(comparison, diff)),
            },
        )
        for diff in comparison.stacks
    ]


def summarised(comparison: Comparison, diff: StackDiff) -> summary.Summary:
    """The summary of a stack for the merge request page."""
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
    gains = sum(change.gains for change in diff.access)
    return f"Access: {gains} gained, {len(diff.access) - gains} lost"


def _access_lines(diff: StackDiff) -> list[str]:
    listed = [f"- {code(sentence)}" for sentence in access_report.changed(diff.access[:MOST_ACCESS])]
    more = len(diff.access) - len(listed)
    return [
        *listed,
        *([f"- and {more} more: `runner-platform access --stack {diff.stack} --diff`"] if more > 0 else []),
    ]


def cost_lines(costs: Sequence[Cost]) -> list[str]:
    """A line for every configured quantity that changes; the last line names the source of the prices."""
    cost_texts = [_cost(cost) for cost in costs]
    priced = any(cost.amount is not None for cost in costs)
    return [*cost_texts, f"Prices: {PRICE_SOURCES}."] if priced else cost_texts


def _cost(cost: Cost) -> str:
    before, after = (_number(value) for value in (cost.old, cost.new))
    unit = f" {cost.unit}" if cost.unit else ""
    amount = (
        "" if cost.amount is None else f": {'+' if cost.amount > 0 else '-'}${abs(cost.amount):,.2f} per {cost.per}"
    )
    return f"{cost.name}: {before} → {after}{unit}{amount}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison for a terminal: the counts, then every change on one line with its warnings."""
    yield f"What this branch changes {comparison.against}"
    for diff in comparison.stacks:
        yield f"  {diff.stack}: {diff.counts}"
    for diff in comparison.stacks:
        listed = [change for change in diff.changes if not change.is_component]
        if listed or diff.costs or diff.access:
            yield f"\n{diff.stack}"
        for change in listed:
            yield from _change_lines(change)
        yield from (f"  access: {line}" for line in access_report.changed(diff.access))
        yield from (f"  costs: {line}" for line in cost_lines(diff.costs))
    yield ""
    yield from comparison.notes
    yield UNSEEN


def _change_lines(change: Change) -> Iterator[str]:
    where = f" in {change.account}" if change.account else ""
    yield f"  {full.SIGNS[change.kind]:>3} {change.type} {change.name}{where}"
    if change.loss:
        yield f"      ! {change.loss}"
    yield from (f"      ! {text}" for text in change.warnings)
    if change.kind in {Kind.UPDATE, Kind.REPLACE}:
        for difference in change.properties[: full.MOST_PROPERTIES]:
            forced = "  (replaces it)" if difference.forces_replacement else ""
            yield f"      {difference.path}: {_old_and_new(difference.old, difference.new)}{forced}"


def _old_and_new(old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return f"+ {new}" if old is None else f"- {old}"
    return f"{old} → {new}"
