"""Drift: changes behind the program's back, whether one opens something, and the reports about it.

`find` reads every resource back with a refresh that writes nothing, and evaluates the live values with the mandatory policies. A finding about
the live stack that the recorded stack does not have weakens the platform. Any other change is cosmetic, unless the resource is gone. Runners
in GitLab count too (`runner_platform.live_runners`).

The reports are the files of every other report, Markdown for an issue, and the access matrix. Changes are reported as what it takes to set
things right: a resource that is gone is created, one that differs is updated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from access.resource import deployed
from runner_platform.check.policy_pack import evaluate, pack_for
from runner_platform.driver import deployment, stack_state
from runner_platform.driver.engine_progress import label, type_of
from runner_platform.driver.repair import RUNNER
from runner_platform.reports import changes as changes_report
from runner_platform.reports import findings as findings_report
from runner_platform.reports import junit, summary, terraform
from runner_platform.reports.change import Change, Kind, Property, counts
from runner_platform.reports.markdown import cell, code, cut
from runner_platform.review import access_matrix, access_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runner_platform.driver.project import Project
    from runner_platform.driver.run import Run
    from runner_platform.reports.findings import Finding

FILE: Final = "drift.md"
MOST: Final = 30
"""Changes with one effect that a summary names."""
REMEDY_NOTE: Final = "What is listed is what sets it right: what is gone is created, what differs is updated. Values are left out, since they may be secret."


class Effect(Enum):
    """The effect of a change on the platform."""

    WEAKENS = "weakens"
    """The live values violate a mandatory policy, or a runner's settings."""
    GONE = "gone"
    """The resource does not exist any more."""
    COSMETIC = "cosmetic"


TITLES: Final = {
    Effect.WEAKENS: "Weakens the platform",
    Effect.GONE: "Gone",
    Effect.COSMETIC: "Differs, and opens nothing",
}


@dataclass(frozen=True, kw_only=True)
class DriftedResource:
    """One resource that is not as it was deployed."""

    urn: str
    """Empty for a runner's settings in GitLab."""
    name: str
    account: str
    kind: Effect
    properties: list[str]
    """Names, never values."""
    reasons: list[str] = field(default_factory=list)
    """Findings of policies about the live values."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The difference between a deployed stack and its live resources."""

    resources: list[DriftedResource]
    findings: list[Finding] = field(default_factory=list)
    """All findings about the live stack, also those that it had when it was deployed."""
    rules: list[tuple[str, str]] = field(default_factory=list)
    """Id and name of every rule; empty for other projects than the platform's."""
    live: dict[str, Any] | None = None
    """The deployment with live values, never printed; None for other projects than the platform's."""

    @property
    def fine(self) -> bool:
        """Whether the drift is cosmetic."""
        return all(resource.kind is Effect.COSMETIC for resource in self.resources)


def find(run: Run) -> Drift:
    """Compare a deployed stack with the live resources, without changing them.

    Raises:
        FailedError: the state is missing, the engine failed, or the policies could not be run.
        LockedError: a live run holds the stack.
    """
    stack_state.require(run.project)
    run.wait_for_lock()
    # Not `preview_refresh`: engines before 3.229 lock for it, and the reader's role may not.
    run.drive(lambda on_event: run.stack.preview(on_event=on_event, refresh=True))
    progress = run.progress
    drift = _evaluate_live(run, progress.live) if run.project.is_platform else Drift(resources=[])
    new_findings = _new_findings(run, drift) if progress.live else []
    # The first step of a URN is the refresh's; a later one would undo it.
    steps = {step["urn"]: step for step in reversed(progress.steps)}
    resources = [_drifted(steps[urn], live, new_findings) for urn, live in progress.live.items()]
    changed = {resource.urn for resource in resources}
    resources += [
        DriftedResource(
            urn=finding.urn,
            name=label(finding.urn),
            account="",
            kind=Effect.WEAKENS,
            properties=[],
            reasons=[finding.message],
        )
        for finding in new_findings
        if finding.urn not in changed
    ]
    return replace(drift, resources=[*resources, *_drifted_runners(run)])


def _drifted(
    step: Mapping[str, Any], live: Mapping[str, Any] | None, new_findings: Iterable[Finding]
) -> DriftedResource:
    reasons = [
        f"{finding.rule} {finding.name}: {finding.message}" for finding in new_findings if finding.urn == step["urn"]
    ]
    return DriftedResource(
        urn=step["urn"],
        name=label(step["urn"]),
        account=step["account"] or "",
        kind=Effect.GONE if live is None else Effect.WEAKENS if reasons else Effect.COSMETIC,
        properties=step["properties"],
        reasons=reasons,
    )


def _drifted_runners(run: Run) -> list[DriftedResource]:
    return [
        DriftedResource(
            urn="",
            name=f"runner of class {runner.runner_class}",
            account="",
            kind=Effect.WEAKENS,
            properties=[],
            reasons=list(runner.differences),
        )
        for runner in deployment.live_runners_of(run)
        if runner.differences
    ]


def _evaluate_live(run: Run, live: Mapping[str, Mapping[str, Any] | None]) -> Drift:
    live_deployment = with_live_values(_recorded(run), live)
    findings, rules = _evaluate(run.project, live_deployment)
    return Drift(resources=[], findings=findings, rules=rules, live=live_deployment)


def _new_findings(run: Run, drift: Drift) -> list[Finding]:
    """Return mandatory findings about the live stack that the recorded stack does not have."""
    if not any(finding.fails for finding in drift.findings):
        return []
    recorded, _ = _evaluate(run.project, _recorded(run))
    old = {(finding.rule, finding.urn, finding.message) for finding in recorded}
    return [
        finding
        for finding in drift.findings
        if finding.fails and (finding.rule, finding.urn, finding.message) not in old
    ]


def _evaluate(project: Project, stack_deployment: Mapping[str, Any]) -> tuple[list[Finding], list[tuple[str, str]]]:
    """Return the findings about a deployment, and the id and name of every rule."""
    findings: list[Finding] = []
    rules: list[tuple[str, str]] = []
    for folder in project.policies:
        with pack_for(project.stack, policies=Path(folder)) as pack:
            findings += evaluate(pack, deployed(stack_deployment))
            rules += pack.rules()
    return findings, rules


def _recorded(run: Run) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(run.query("stack", "export"))["deployment"]
    return recorded


def with_live_values(recorded: Mapping[str, Any], live: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return a deployment with live values, without the resources that are gone."""
    resources = [
        {**entry, **(live.get(entry["urn"]) or {})}
        for entry in recorded.get("resources") or []
        if live.get(entry["urn"], {}) is not None
    ]
    return {**recorded, "resources": resources}


def report_files(stack: str, drift: Drift) -> dict[str, str]:
    """Return the contents of the reports by file name."""
    changes = list(_remedies(drift.resources))
    cases = junit.document(f"drift of {stack}", list(_cases(drift.resources)))
    finding_files = findings_report.files(stack, drift.findings, drift.rules) if drift.rules else {}
    return {
        FILE: markdown(stack, drift.resources),
        changes_report.FILE: changes_report.document(stack, changes, [REMEDY_NOTE]),
        summary.FILE: summary.document(_summary(stack, drift.resources, changes)),
        terraform.FILE: terraform.document(counts(changes)),
        **finding_files,
        junit.FILE: junit.joined(cases, finding_files[findings_report.JUNIT]) if finding_files else cases,
    }


def verdict(resources: Sequence[DriftedResource]) -> str:
    """Count the drifted resources by effect, in words."""
    if not resources:
        return "no drift"
    count = {effect: sum(resource.kind is effect for resource in resources) for effect in Effect}
    return (
        f"{count[Effect.WEAKENS]} weaken the platform, {count[Effect.GONE]} are gone, "
        f"{count[Effect.COSMETIC]} differ and open nothing"
    )


def markdown(stack: str, resources: Sequence[DriftedResource]) -> str:
    """Return the text of an issue: verdict, drifted resources, remedy."""
    lines = [f"## Drift of stack {stack}", "", f"**{stack}: {verdict(resources)}**", ""]
    for effect, title in TITLES.items():
        with_effect = [resource for resource in resources if resource.kind is effect]
        if not with_effect:
            continue
        lines += [f"### {title}", "", "| resource | account | properties | why |", "|---|---|---|---|"]
        for resource in with_effect:
            properties = ", ".join(cell(name) for name in resource.properties)
            why = "<br>".join(cell(reason) for reason in resource.reasons)
            lines.append(f"| {cell(resource.name)} | {resource.account} | {properties} | {why} |")
        lines.append("")
    if resources:
        lines += [_remedy(stack), ""]
    return "\n".join(lines)


def _remedy(stack: str) -> str:
    return (
        f"To undo all of it: {code(f'runner-platform refresh --stack {stack}')}, then {code(f'runner-platform up --stack {stack}')}. "
        "To keep a change: write it into the program or the stack file first. "
        "Who made it: CloudTrail of the account, GitLab's audit events for runners."
    )


def _remedies(resources: Sequence[DriftedResource]) -> Iterator[Change]:
    """Yield the changes to set the stack right. A resource weakened only by the change of another needs none."""
    for resource in resources:
        if resource.urn and not resource.properties and resource.kind is not Effect.GONE:
            continue
        yield Change(
            kind=Kind.CREATE if resource.kind is Effect.GONE else Kind.UPDATE,
            urn=resource.urn,
            type=type_of(resource.urn) if resource.urn else RUNNER,
            name=resource.urn.rpartition("::")[2] or resource.name,
            account=resource.account or None,
            properties=tuple(Property(path=path) for path in resource.properties),
            warnings=tuple(cut(reason.partition("\n")[0]) for reason in resource.reasons),
        )


def _summary(stack: str, resources: Sequence[DriftedResource], changes: Sequence[Change]) -> summary.Summary:
    return summary.Summary(
        stack=stack,
        changes=changes,
        of=f"What was changed behind the program's back, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        verdict=verdict(resources),
        sections=[
            summary.Section(
                title=title, lines=_summary_lines([resource for resource in resources if resource.kind is effect])
            )
            for effect, title in TITLES.items()
        ],
        footer=[_remedy(stack)] if resources else [],
    )


def _summary_lines(resources: Sequence[DriftedResource]) -> list[str]:
    lines = [
        f"- {code(resource.name)}{f' in {code(resource.account)}' if resource.account else ''}"
        + (f": {', '.join(code(name) for name in resource.properties)}" if resource.properties else "")
        for resource in resources[:MOST]
    ]
    return [*lines, f"- and {len(resources) - MOST} more in {code(FILE)}"] if len(resources) > MOST else lines


def _cases(resources: Sequence[DriftedResource]) -> Iterator[junit.Case]:
    """Yield one case per resource. Cosmetic drift is skipped, not failed."""
    for index, resource in enumerate(resources):
        properties = ", ".join(resource.properties) or "what only the cloud knows"
        text = "; ".join(resource.reasons) or f"differs in {properties}"
        name = f"{resource.name} ({index + 1})"
        if resource.kind is Effect.COSMETIC:
            yield junit.Case(name=name, skipped=text)
        else:
            message = "it is gone" if resource.kind is Effect.GONE else text
            yield junit.Case(name=name, failure=message, kind=resource.kind.value, details=f"{resource.urn}\n{text}")
    if not resources:
        yield junit.Case(name="everything is as it was deployed")


def write_access(stack: str, live: Mapping[str, Any], folder: Path | None) -> list[str]:
    """Write `access.json` and `access.md` of the live stack; return a sentence for each principal that gains a role.

    The live stack takes the place of its mock run. The other stacks and the foundation stay as their programs register them, since they
    share accounts with it.

    Args:
        stack: the stack's name.
        live: the deployment with live values.
        folder: folder of the reports; None for the project's `reports/`.

    Raises:
        SettingsError: a stack file cannot be used.
        FailedError: the folder cannot be written.
    """
    declared = access_matrix.of_stack(stack)
    current = access_matrix.of_stack(stack, access_matrix.here({stack: deployed(live)}))
    differences = access_matrix.changes(declared.cells, current.cells)
    access_report.write(current, folder, differences, "the program")
    return [f"{difference.principal} may become {difference.role}" for difference in differences if difference.gains]
