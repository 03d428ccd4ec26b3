"""The command `check`: settings agree, every program runs under mocks, the policies are evaluated, the access matrix is written.

The packs boot while the programs run, one process for every stack. A deployed stack is evaluated by the same rules, from the engine's
state.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from access.resource import deployed
from config import foundation, load
from config.errors import SettingsError
from runner_platform import stacks
from runner_platform.check import mock_run
from runner_platform.check.notices import notices
from runner_platform.check.policy_pack import POLICIES, evaluate, pack_for
from runner_platform.reports import files
from runner_platform.reports import findings as finding_reports
from runner_platform.review import access_matrix, access_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from access.resource import Resource
    from runner_platform.check.mock_run import MockRun
    from runner_platform.check.policy_pack import PackProcess
    from runner_platform.reports.findings import Finding
    from runner_platform.review.access_matrix import Side


@dataclass(frozen=True, kw_only=True)
class StackCheck:
    """The result for one stack."""

    stack: str
    headline: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether no finding fails the check."""
        return not any(finding.fails for finding in self.findings)


def check_programs(
    names: Sequence[str] | None, policies: Path | None, reports: Path | None, say: Callable[[str], None]
) -> Iterator[StackCheck]:
    """Check stacks from their files.

    Args:
        names: the stacks; None for all that have a file.
        policies: folder of the policy pack; None for this checkout's.
        reports: folder for the reports; None for the project's `reports/`.
        say: gets one line for every phase.

    Raises:
        SettingsError: with every problem of the first invalid stack.
        WrongUseError: a stack has no file.
        FailedError: the pack could not be run, or a report could not be written.
    """
    names = [stacks.known(stack) for stack in names] if names else stacks.names()
    say("reading the settings of all stacks")
    stacks.agree(names)
    with ExitStack() as running:
        packs = {stack: running.enter_context(pack_for(stack, policies=policies or POLICIES)) for stack in names}
        runs: dict[str, MockRun] = {}
        for stack in names:
            say(f"{stack}: running the program under mocks")
            runs[stack] = mock_run.run_program(stack)
        say("all stacks: deriving who may assume which role")
        side = _side(runs)
        for stack in names:
            say(f"{stack}: evaluating the policies")
            resources = runs[stack].resources
            findings = _evaluated(stack, packs[stack], resources, reports)
            headline = f"{stack}: settings valid, the program runs and registers {len(resources)} resources"
            yield StackCheck(
                stack=stack,
                headline=f"{headline}, {_count(findings)}",
                findings=findings,
                notes=[*_access_notes(stack, side, reports), *_notices(stack)],
            )


def _side(runs: Mapping[str, MockRun]) -> Side | SettingsError:
    """The access of all stacks, or the settings error of a stack that this check does not cover."""
    try:
        return access_matrix.here({stack: run.resources for stack, run in runs.items()})
    except SettingsError as error:
        return error


def _access_notes(stack: str, side: Side | SettingsError, reports: Path | None) -> list[str]:
    """Write a stack's access matrix; return a note if it is not as declared. The policies decide whether that fails the check."""
    if isinstance(side, SettingsError):
        text = str(side).replace("\n", "\n    ")
        return [f"no access matrix, because it needs valid settings of all stacks: {text}"]
    matrix = access_matrix.of_stack(stack, side)
    folder = access_report.write(matrix, reports)
    return [] if matrix.fine else [f"access, {access_report.verdict(matrix)}: {folder / access_report.MARKDOWN}"]


def _notices(stack: str) -> list[str]:
    return [] if stack == foundation.STACK else list(notices(load.of_stack(stack), datetime.now(UTC).date()))


def check_deployed(stack: str, policies: Path | None, reports: Path | None, say: Callable[[str], None]) -> StackCheck:
    """Evaluate the policies on a deployed stack.

    Args:
        stack: name of the stack.
        policies: folder of the policy pack; None for this checkout's.
        reports: folder for the reports; None for the project's `reports/`.
        say: gets one line for every phase.

    Raises:
        WrongUseError: the stack has no file.
        FailedError: the state cannot be read, the pack could not be run, or a report could not be written.
    """
    stacks.known(stack)
    say(f"{stack}: reading the deployed state")
    resources = deployed(stacks.deployment(stack))
    say(f"{stack}: evaluating the policies")
    with pack_for(stack, policies=policies or POLICIES) as pack:
        findings = _evaluated(stack, pack, resources, reports)
    headline = f"{stack}: {len(resources)} resources deployed, {_count(findings)}"
    return StackCheck(stack=stack, headline=headline, findings=findings)


def _count(findings: Sequence[Finding]) -> str:
    if not findings:
        return "no policy finding"
    return f"{len(findings)} policy finding{'s' if len(findings) > 1 else ''}"


def _evaluated(stack: str, pack: PackProcess, resources: Sequence[Resource], reports: Path | None) -> list[Finding]:
    findings = evaluate(pack, resources)
    files.write(reports, stack, finding_reports.files(stack, findings, pack.rules()))
    return findings
