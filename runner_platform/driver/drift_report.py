"""Drift for people and for GitLab: the files of every other report, and Markdown that can be pasted into an issue.

Changes are told as what it takes to set things right: what is gone is created, what differs is updated. Leaves out who may become which
role now (`runner_platform.driver.drift_access`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from runner_platform.driver.drift import Kind
from runner_platform.driver.events import type_of
from runner_platform.driver.lost_runners import RUNNER
from runner_platform.reports import changes as full
from runner_platform.reports import findings as reporting
from runner_platform.reports import junit, summary, terraform
from runner_platform.reports.change import Change, Property, counts
from runner_platform.reports.change import Kind as Happens
from runner_platform.reports.markdown import cell, code, cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner_platform.driver.drift import Difference, Drift

FILE: Final = "drift.md"
MOST: Final = 30
"""Differences of one kind that a summary names."""
TITLES: Final = {
    Kind.WEAKENS: "Weakens the platform",
    Kind.GONE: "Gone",
    Kind.COSMETIC: "Differs, and opens nothing",
}
MEANS: Final = "What is listed is what sets it right: what is gone is created, what differs is updated. Values are left out, since they may be secret."


def files(stack: str, drift: Drift) -> dict[str, str]:
    """Contents by file name."""
    found = drift.differences
    needed = list(changes(found))
    cases = junit.document(f"drift of {stack}", list(_cases(found)))
    judged = reporting.files(stack, drift.findings, drift.rules) if drift.rules else {}
    return {
        FILE: markdown(stack, found),
        full.FILE: full.document(stack, needed, [MEANS]),
        summary.FILE: summary.document(_summary(stack, found, needed)),
        terraform.FILE: terraform.document(counts(needed)),
        **judged,
        junit.FILE: junit.joined(cases, judged[reporting.JUNIT]) if judged else cases,
    }


def sentence(stack: str, found: Sequence[Difference]) -> str:
    """The verdict."""
    return f"{stack}: {_verdict(found)}"


def _verdict(found: Sequence[Difference]) -> str:
    if not found:
        return "no drift"
    count = {kind: sum(each.kind is kind for each in found) for kind in Kind}
    return (
        f"{count[Kind.WEAKENS]} weaken the platform, {count[Kind.GONE]} are gone, "
        f"{count[Kind.COSMETIC]} differ and open nothing"
    )


def markdown(stack: str, found: Sequence[Difference]) -> str:
    """An issue's text: verdict, what is wrong, what to do."""
    lines = [f"## Drift of stack {stack}", "", f"**{sentence(stack, found)}**", ""]
    for kind, title in TITLES.items():
        of_kind = [each for each in found if each.kind is kind]
        if not of_kind:
            continue
        lines += [f"### {title}", "", "| resource | account | properties | why |", "|---|---|---|---|"]
        for each in of_kind:
            properties = ", ".join(cell(name) for name in each.properties)
            why = "<br>".join(cell(reason) for reason in each.reasons)
            lines.append(f"| {cell(each.name)} | {each.account} | {properties} | {why} |")
        lines.append("")
    if found:
        lines += [_remedy(stack), ""]
    return "\n".join(lines)


def _remedy(stack: str) -> str:
    return (
        f"To undo all of it: {code(f'runner-platform refresh --stack {stack}')}, then {code(f'runner-platform up --stack {stack}')}. "
        "To keep a change: write it into the program or the stack file first. "
        "Who made it: CloudTrail of the account, GitLab's audit events for runners."
    )


def changes(found: Sequence[Difference]) -> Iterator[Change]:
    """What sets it right; a resource that is only weakened by another's change needs none of its own."""
    for each in found:
        if each.urn and not each.properties and each.kind is not Kind.GONE:
            continue
        yield Change(
            kind=Happens.CREATE if each.kind is Kind.GONE else Happens.UPDATE,
            urn=each.urn,
            type=type_of(each.urn) if each.urn else RUNNER,
            name=each.urn.rpartition("::")[2] or each.name,
            account=each.account or None,
            properties=tuple(Property(path=path) for path in each.properties),
            warnings=tuple(cut(reason.partition("\n")[0]) for reason in each.reasons),
        )


def _summary(stack: str, found: Sequence[Difference], needed: Sequence[Change]) -> summary.Summary:
    return summary.Summary(
        stack=stack,
        changes=needed,
        of=f"What was changed behind the program's back, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        verdict=_verdict(found),
        sections=[
            summary.Section(title=title, lines=_lines([each for each in found if each.kind is kind]))
            for kind, title in TITLES.items()
        ],
        footer=[_remedy(stack)] if found else [],
    )


def _lines(found: Sequence[Difference]) -> list[str]:
    lines = [
        f"- {code(each.name)}{f' in {code(each.account)}' if each.account else ''}"
        + (f": {', '.join(code(name) for name in each.properties)}" if each.properties else "")
        for each in found[:MOST]
    ]
    return [*lines, f"- and {len(found) - MOST} more in {code(FILE)}"] if len(found) > MOST else lines


def _cases(found: Sequence[Difference]) -> Iterator[junit.Case]:
    """One case per difference; what is cosmetic is skipped, not failed."""
    for index, each in enumerate(found):
        text = "; ".join(each.reasons) or f"differs in {', '.join(each.properties) or 'what only the cloud knows'}"
        name = f"{each.name} ({index + 1})"
        if each.kind is Kind.COSMETIC:
            yield junit.Case(name=name, skipped=text)
        else:
            message = "it is gone" if each.kind is Kind.GONE else text
            yield junit.Case(name=name, failure=message, kind=each.kind.value, details=f"{each.urn}\n{text}")
    if not found:
        yield junit.Case(name="everything is as it was deployed")
