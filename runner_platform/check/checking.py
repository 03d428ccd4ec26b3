"""What `check` does: settings of all stacks agree, each program runs under mocks, the policies judge what it registers, and who reaches what is told.

The packs boot while the programs run, one process for each stack. What is deployed is judged by the same rules, read from the engine's state.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from config import foundation, load
from config.errors import SettingsError
from runner_platform import stacks as engine
from runner_platform.check.inspect import agree, known
from runner_platform.check.notices import notices
from runner_platform.reports import files
from runner_platform.reports import findings as reporting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runner_platform.check.findings import Finding
    from runner_platform.check.mock_run import Rehearsal
    from runner_platform.check.pack_process import PackProcess
    from runner_platform.check.shown import Shown
    from runner_platform.review.access_matrix import Side


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What there is to say about one stack."""

    stack: str
    headline: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether nothing mandatory was found and everything was decided."""
        return not any(each.fails for each in self.findings)


def program(stacks: Sequence[str] | None, policies: Path | None, reports: Path | None) -> Iterator[Checked]:
    """Check stacks from their files, all that have one where none is named.

    Raises:
        SettingsError: with every problem of the first stack that has some.
        WrongUseError: a stack has no file.
        FailedError: the pack could not be run, or a report could not be written.
    """
    from runner_platform.check.judge import POLICIES, pack_for  # noqa: PLC0415  # the SDKs take a second to import
    from runner_platform.check.mock_run import rehearse  # noqa: PLC0415  # same
    from runner_platform.check.shown import registered  # noqa: PLC0415  # same

    names = [known(stack) for stack in stacks] if stacks else [foundation.STACK, *load.stacks()]
    agree(names)
    with ExitStack() as running:
        packs = {stack: running.enter_context(pack_for(stack, policies=policies or POLICIES)) for stack in names}
        rehearsals = {stack: rehearse(stack) for stack in names}
        reach = _reach(rehearsals)
        for stack in names:
            made = rehearsals[stack].registrations
            found = _judged(stack, packs[stack], registered(made), reports)
            verdict = _verdict(found)
            yield Checked(
                stack=stack,
                headline=f"{stack}: settings valid, the program runs and registers {len(made)} resources, {verdict}",
                findings=found,
                notes=[*_access(stack, reach, reports), *_notices(stack)],
            )


def _reach(rehearsals: Mapping[str, Rehearsal]) -> Side | SettingsError:
    """Who reaches what, which is a matter of all stacks; or what is wrong with one that was not asked about."""
    from runner_platform.review import access_matrix  # noqa: PLC0415  # the reasoner is not needed for what is deployed

    try:
        return access_matrix.here(rehearsals)
    except SettingsError as error:
        return error


def _access(stack: str, reach: Side | SettingsError, reports: Path | None) -> list[str]:
    """Write who reaches what in a stack; what of it is worth a note. The policies judge it, one stack at a time."""
    from runner_platform.review import (  # noqa: PLC0415  # the reasoner is not needed for what is deployed
        access_files,  # same
        access_matrix,
        access_report,
    )

    if isinstance(reach, SettingsError):
        text = str(reach).replace("\n", "\n    ")
        return [f"who reaches what is not told, because it is a matter of all stacks: {text}"]
    matrix = access_matrix.of_stack(stack, reach)
    place = access_files.write(matrix, reports)
    return [] if matrix.fine else [f"access, {access_report.verdict(matrix)}: {place / access_files.MARKDOWN}"]


def _notices(stack: str) -> list[str]:
    return [] if stack == foundation.STACK else list(notices(load.of_stack(stack), datetime.now(UTC).date()))


def deployed(stack: str, policies: Path | None, reports: Path | None) -> Checked:
    """Judge what is deployed of a stack.

    Raises:
        WrongUseError: the stack has no file.
        FailedError: the state cannot be read, the pack could not be run, or a report could not be written.
    """
    from runner_platform.check.judge import POLICIES, pack_for  # noqa: PLC0415  # the SDKs take a second to import
    from runner_platform.check.shown import deployed as resources_of  # noqa: PLC0415  # same

    shown = resources_of(engine.deployment(known(stack)))
    with pack_for(stack, policies=policies or POLICIES) as pack:
        found = _judged(stack, pack, shown, reports)
    verdict = _verdict(found)
    return Checked(stack=stack, headline=f"{stack}: {len(shown)} resources deployed, {verdict}", findings=found)


def _verdict(found: list[Finding]) -> str:
    if not found:
        return "no policy finding"
    return f"{len(found)} policy finding{'s' if len(found) > 1 else ''}"


def _judged(stack: str, pack: PackProcess, shown: list[Shown], reports: Path | None) -> list[Finding]:
    from runner_platform.check.judge import judged_by  # noqa: PLC0415  # the SDKs take a second to import

    found = judged_by(pack, shown)
    files.write(reports, stack, reporting.files(stack, found, pack.rules()))
    return found
