"""A preview as GitLab's merge request and job pages show it: counts, findings, the list of changes, and the summary that is read first.

Made of a failed preview, too, since a policy that refuses something is what a reviewer must see; there it holds what the engine told
until then, and says so. Leaves out the form of each file (`runner_platform.reports`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from config.errors import SettingsError
from runner_platform.check.mock_run import rehearse
from runner_platform.check.shown import registered
from runner_platform.driver import changes, policy_findings, source, state
from runner_platform.driver.events import label
from runner_platform.errors import FailedError
from runner_platform.reports import changes as full
from runner_platform.reports import files as reports
from runner_platform.reports import findings as reporting
from runner_platform.reports import junit, summary, terraform
from runner_platform.reports.change import counts
from runner_platform.reports.markdown import code, cut
from runner_platform.review import access_files, access_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runner_platform.check.findings import Finding
    from runner_platform.check.shown import Shown
    from runner_platform.driver.session import Session

MOST: Final = 30
"""Findings, or pending operations, that a summary names."""
VALUES: Final = "Made by the engine against the deployed state; values are left out, since they may be secret."
CUT_SHORT: Final = "The preview failed: what is listed is what the engine told until then."


def write(session: Session, folder: Path | None, failure: str = "", plan: Path | None = None) -> None:
    """Write all reports of a preview, and say where.

    Args:
        session: the run, ended.
        folder: None for the project's `reports/`.
        failure: why it failed; empty where it did not.
        plan: the plan that was saved.

    Raises:
        FailedError: they cannot be made; only said where the preview has failed anyway.
    """
    stack = session.project.stack
    try:
        program = rehearse(stack) if session.project.here else None
        shown = registered(program.registrations) if program else []
        place = reports.write(folder, stack, files(session, failure, plan, shown))
        if program:
            access_files.write(access_matrix.of_stack(stack, access_matrix.here({stack: program})), folder)
    except (FailedError, SettingsError) as error:
        if not failure:
            raise
        session.say(f"reports are not complete: {error}")
        return
    session.say(f"reports in {place}")


def files(
    session: Session, failure: str = "", plan: Path | None = None, program: Sequence[Shown] = ()
) -> dict[str, str | None]:
    """Contents by file name; None for what a failed preview cannot say.

    Args:
        session: the run, ended.
        failure: why it failed; empty where it did not.
        plan: the plan that was saved.
        program: the program's resources from a mock run, which knows where it makes each.

    Raises:
        FailedError: the policy pack cannot be asked for its rules.
    """
    stack = session.project.stack
    found = changes.of_steps(session.progress.steps)
    rules = policy_findings.rules_of(session.project)
    findings = policy_findings.of_events(stack, session.progress.violations, rules, program)
    written = summary.Summary(
        stack=stack,
        changes=found,
        of=_of(session),
        verdict=f"preview failed, {counts(found)} until then" if failure else "",
        sections=[_policies(findings), _pending(session), _errors(session)],
        footer=[VALUES, *([CUT_SHORT] if failure else [_next(session, plan)])],
    )
    return {
        terraform.FILE: None if failure else terraform.document(counts(found)),
        full.FILE: full.document(stack, found, [VALUES, *([CUT_SHORT] if failure else [])]),
        summary.FILE: summary.document(written),
        **_judged(stack, findings, rules.names, failure),
    }


def _judged(stack: str, findings: Sequence[Finding], names: list[tuple[str, str]], failure: str) -> dict[str, str]:
    """Findings in GitLab's formats. After a failure only rules that spoke are listed: nobody knows whether the others were asked."""
    suite = f"preview of {stack}"
    run = junit.document(
        suite,
        [junit.Case(name="the engine plans it", failure=failure.partition("\n")[0], kind="preview", details=failure)],
    )
    if not names:
        return {junit.FILE: run}
    spoke = {each.rule for each in findings}
    made = reporting.files(stack, findings, [each for each in names if not failure or each[0] in spoke])
    return {**made, reporting.JUNIT: junit.joined(run, made[reporting.JUNIT])}


def _of(session: Session) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    try:
        commit = f"of {source.of(session.project.folder).name} "
    except FailedError:
        commit = ""  # no checkout
    return f"Preview {commit}against the deployed state, {now}. {session.project.target()[:1].upper()}{session.project.target()[1:]}."


def _policies(findings: Sequence[Finding]) -> summary.Section:
    worst = sorted(findings, key=lambda each: (each.deferred, not each.fails))
    lines = [
        f"- {each.level if not each.deferred else 'deferred'} {each.rule} {code(each.name)}: "
        f"{code(label(each.urn)) if each.urn else 'the whole stack'}: {code(cut(each.message.partition(chr(10))[0]))}"
        for each in worst[:MOST]
    ]
    wrong = sum(each.fails for each in findings)
    return summary.Section(
        title=f"Policies: {wrong} refuse, {len(findings) - wrong} advise or wait",
        lines=_with_rest(lines, len(findings)),
    )


def _pending(session: Session) -> summary.Section:
    known = state.read(session.project)
    pending = known.pending if known else []
    lines = [f"- {each['type']} {code(label(each['resource']['urn']))}" for each in pending[:MOST]]
    return summary.Section(
        title="Left by a killed run; `up` looks for what it made, first", lines=_with_rest(lines, len(pending))
    )


def _errors(session: Session) -> summary.Section:
    said = [each for each in dict.fromkeys(session.progress.errors) if each != "preview failed"]
    lines = [f"- {code(cut(each))}" for each in said[:MOST]]
    return summary.Section(title="What the engine said", lines=_with_rest(lines, len(said)))


def _with_rest(lines: list[str], count: int) -> list[str]:
    return [*lines, f"- and {count - len(lines)} more"] if count > len(lines) else lines


def _next(session: Session, plan: Path | None) -> str:
    held = f" --plan {plan}" if plan else ""
    return f"To do it: {code(f'runner-platform up --stack {session.project.stack}{held}')}."
