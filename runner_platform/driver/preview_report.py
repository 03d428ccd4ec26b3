"""The reports of a preview for GitLab's merge request and job pages: counts, findings, changes, and the summary to read first.

A failed preview has reports too, since a policy's refusal is what a reviewer must see. They hold the engine's events until the failure, and
say so. Values stay with the engine; the reports hold names of properties only. The form of each file is in `runner_platform.reports`.

Findings come from the engine's events, which know values that a mock run does not know. Events carry no severity, so the policy pack itself is
asked for it; nothing is evaluated again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pulumi.runtime import proto

from config.errors import SettingsError
from runner_platform.check.diagnostics import Places, finding
from runner_platform.check.mock_run import run_program
from runner_platform.check.policy_pack import pack_for
from runner_platform.driver import stack_state
from runner_platform.driver.engine_progress import label
from runner_platform.driver.update_plans import source_of
from runner_platform.errors import FailedError
from runner_platform.reports import changes as changes_report
from runner_platform.reports import files as report_files
from runner_platform.reports import findings as findings_report
from runner_platform.reports import junit, summary, terraform
from runner_platform.reports.change import Change, Kind, Property, counts
from runner_platform.reports.findings import MANDATORY
from runner_platform.reports.markdown import code, cut
from runner_platform.review import access_matrix, access_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from access.resource import Resource
    from runner_platform.driver.project import Project
    from runner_platform.driver.run import Run
    from runner_platform.reports.findings import Finding

MOST: Final = 30
"""Findings, or pending operations, that a summary names."""
VALUES_NOTE: Final = "Made by the engine against the deployed state; values are left out, since they may be secret."
FAILURE_NOTE: Final = "The preview failed: what is listed is what the engine told until then."
KINDS: Final = {
    "create": Kind.CREATE,
    "update": Kind.UPDATE,
    "delete": Kind.DELETE,
    "replace": Kind.REPLACE,
    "create-replacement": Kind.REPLACE,
    "delete-replaced": Kind.REPLACE,
    "import": Kind.UPDATE,
    "import-replacement": Kind.REPLACE,
}
"""By the engine's operation. A replacement has up to three steps and is one change."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of the policy packs that the engine runs; empty for other projects than the platform's."""

    names: list[tuple[str, str]] = field(default_factory=list)
    """Id and name of each rule."""
    severities: dict[str, Any] = field(default_factory=dict)
    """`PolicySeverity` of the protocol, by rule name."""
    settings: dict[str, list[str]] = field(default_factory=dict)
    """Paths of the settings that a rule evaluates, by rule name."""


def write(run: Run, folder: Path | None, failure: str = "", plan: Path | None = None) -> None:
    """Write all reports of a preview, and print their folder.

    Args:
        run: the preview, ended.
        folder: folder of the reports; None for the project's `reports/`.
        failure: the preview's error; empty if it succeeded.
        plan: the plan that was saved.

    Raises:
        FailedError: the reports cannot be made; only printed if the preview failed anyway.
    """
    stack = run.project.stack
    try:
        program = run_program(stack) if run.project.is_this_checkout else None
        resources = program.resources if program else []
        stack_folder = report_files.write(folder, stack, contents(run, failure, plan, resources))
        if program:
            access_report.write(access_matrix.of_stack(stack, access_matrix.here({stack: program.resources})), folder)
    except (FailedError, SettingsError) as error:
        if not failure:
            raise
        run.say(f"reports are not complete: {error}")
        return
    run.say(f"reports in {stack_folder}")


def contents(
    run: Run, failure: str = "", plan: Path | None = None, resources: Sequence[Resource] = ()
) -> dict[str, str | None]:
    """Return the reports by file name, with None for those without content after a failure.

    Args:
        run: the preview, ended.
        failure: the preview's error; empty if it succeeded.
        plan: the plan that was saved.
        resources: resources of the program's mock run, with the places in the source that make them.

    Raises:
        FailedError: the policy pack cannot be asked for its rules.
    """
    stack = run.project.stack
    changes = changes_of(run.progress.steps)
    rules = read_rules(run.project)
    findings = findings_of(stack, run.progress.violations, rules, resources)
    text = summary.Summary(
        stack=stack,
        changes=changes,
        of=_origin(run),
        verdict=f"preview failed, {counts(changes)} until then" if failure else "",
        sections=[_findings_section(findings), _pending_section(run), _errors_section(run)],
        footer=[VALUES_NOTE, *([FAILURE_NOTE] if failure else [_next_command(run, plan)])],
    )
    return {
        terraform.FILE: None if failure else terraform.document(counts(changes)),
        changes_report.FILE: changes_report.document(
            stack, changes, [VALUES_NOTE, *([FAILURE_NOTE] if failure else [])]
        ),
        summary.FILE: summary.document(text),
        **_finding_files(stack, findings, rules.names, failure),
    }


def _finding_files(
    stack: str, findings: Sequence[Finding], names: list[tuple[str, str]], failure: str
) -> dict[str, str]:
    """Return findings in GitLab's formats. After a failure only rules with findings are listed, since others may not have run."""
    case = junit.Case(name="the engine plans it", failure=failure.partition("\n")[0], kind="preview", details=failure)
    preview = junit.document(f"preview of {stack}", [case])
    if not names:
        return {junit.FILE: preview}
    with_findings = {finding.rule for finding in findings}
    rules = [rule for rule in names if not failure or rule[0] in with_findings]
    documents = findings_report.files(stack, findings, rules)
    return {**documents, findings_report.JUNIT: junit.joined(preview, documents[findings_report.JUNIT])}


def _origin(run: Run) -> str:
    """Describe the commit, time and target of the preview."""
    time = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    try:
        commit = f"of {source_of(run.project.folder).name} "
    except FailedError:
        commit = ""  # no checkout
    target = run.project.target()
    return f"Preview {commit}against the deployed state, {time}. {target[:1].upper()}{target[1:]}."


def _findings_section(findings: Sequence[Finding]) -> summary.Section:
    worst = sorted(findings, key=lambda finding: (finding.deferred, not finding.fails))
    refusals = sum(finding.fails for finding in findings)
    return summary.Section(
        title=f"Policies: {refusals} refuse, {len(findings) - refusals} advise or wait",
        lines=_with_remainder([_finding_line(finding) for finding in worst[:MOST]], len(findings)),
    )


def _finding_line(finding: Finding) -> str:
    level = "deferred" if finding.deferred else finding.level
    resource = code(label(finding.urn)) if finding.urn else "the whole stack"
    message = code(cut(finding.message.partition("\n")[0]))
    return f"- {level} {finding.rule} {code(finding.name)}: {resource}: {message}"


def _pending_section(run: Run) -> summary.Section:
    checkpoint = stack_state.read(run.project)
    pending = checkpoint.pending if checkpoint else []
    lines = [f"- {operation['type']} {code(label(operation['resource']['urn']))}" for operation in pending[:MOST]]
    return summary.Section(
        title="Left by a killed run; `up` looks for what it made, first", lines=_with_remainder(lines, len(pending))
    )


def _errors_section(run: Run) -> summary.Section:
    errors = [error for error in dict.fromkeys(run.progress.errors) if error != "preview failed"]
    lines = [f"- {code(cut(error))}" for error in errors[:MOST]]
    return summary.Section(title="What the engine said", lines=_with_remainder(lines, len(errors)))


def _with_remainder(lines: list[str], count: int) -> list[str]:
    return [*lines, f"- and {count - len(lines)} more"] if count > len(lines) else lines


def _next_command(run: Run, plan: Path | None) -> str:
    option = f" --plan {plan}" if plan else ""
    return f"To do it: {code(f'runner-platform up --stack {run.project.stack}{option}')}."


def changes_of(steps: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Return one change per resource, in the engine's order.

    Args:
        steps: `Progress.steps`.
    """
    changes: dict[str, Change] = {}
    for step in steps:
        kind = KINDS.get(step["operation"])
        previous = changes.get(step["urn"])
        if kind is None or (previous is not None and previous.properties):
            continue
        changes[step["urn"]] = Change(
            kind=kind,
            urn=step["urn"],
            type=step["type"],
            name=step["urn"].rpartition("::")[2],
            account=step["account"],
            properties=tuple(
                Property(path=path, forces_replacement=path in step["reasons"])
                for path in sorted({*step["properties"], *step["reasons"]})
            ),
        )
    return list(changes.values())


def read_rules(project: Project) -> Rules:
    """Read the rules of the policy packs that the engine runs.

    Raises:
        FailedError: a pack cannot be started.
    """
    rules = Rules()
    for folder in project.policies:
        with pack_for(project.stack, policies=Path(folder)) as pack:
            rules.names.extend(pack.rules())
            rules.severities.update({policy.name: policy.severity for policy in pack.info().policies})
            rules.settings.update(pack.settings())
    return rules


def findings_of(
    stack: str, violations: Iterable[Mapping[str, str]], rules: Rules, resources: Iterable[Resource] = ()
) -> list[Finding]:
    """Return findings in the engine's order.

    Args:
        stack: the stack's name.
        violations: `Progress.violations`.
        rules: rules of the stack's policy packs.
        resources: resources of the program's mock run, with the places in the source that make them.
    """
    if not rules.names:
        return []
    places = Places(stack, list(resources), rules.settings)
    return [_finding(violation, rules, places) for violation in violations]


def _finding(violation: Mapping[str, str], rules: Rules, places: Places) -> Finding:
    diagnostic = proto.AnalyzeDiagnostic(
        policyName=violation["policy"],
        message=violation["message"],
        enforcementLevel=proto.MANDATORY if violation["level"] == MANDATORY else proto.ADVISORY,
        urn=violation["urn"],
        severity=rules.severities.get(violation["policy"], proto.POLICY_SEVERITY_UNSPECIFIED),
    )
    return finding(diagnostic, places)
