"""`runner-platform preview | up | refresh | drift | destroy | outputs | unlock | audit`: deployments, from a terminal or a GitLab job.

Owns arguments, output and exit codes; the work is in `runner_platform.driver`.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.errors import SettingsError
from runner_platform.driver import audit as audits
from runner_platform.driver import deployment, locks, preview_report, project, run, teardown
from runner_platform.driver import drift as drifts
from runner_platform.driver.run import Patience
from runner_platform.driver.screen import Screen
from runner_platform.errors import CommandError, FailedError, InterruptedRunError, LockedError, WrongUseError
from runner_platform.reports import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform.driver.deployment import Result
    from runner_platform.driver.run import Run

Stack = Annotated[
    str, typer.Option("--stack", "-s", help="foundation, dev, prod, or another stack that has a stack file.")
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, everything else on standard error.")
]
Folder = Annotated[
    Path | None, typer.Option("--folder", help="Folder of another project than the platform's.", hidden=True)
]
Reports = Annotated[Path | None, typer.Option(help="Folder of the reports, instead of reports/.")]
Wait = Annotated[str, typer.Option(help="How long to wait for a live run that holds the stack: 90s, 10m, 1h.")]
Stop = Annotated[str, typer.Option(help="How long the resource in hand may take after SIGTERM or Ctrl-C.")]

_UNITS = {"s": 1, "m": 60, "h": 3600}


def preview(
    stack: Stack,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Save an update plan here, with a file beside it that binds the plan to this state and commit."
        ),
    ] = None,
    reports: Reports = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Show the changes that `up` would make; takes no lock."""
    with _run("preview", stack, folder, as_json=as_json, patience=_patience()) as command:
        try:
            result = deployment.preview(command.run, plan=plan)
        except FailedError as error:
            preview_report.write(command.run, reports, failure=str(error))
            raise
        preview_report.write(command.run, reports, plan=plan)
        command.print_result(result)


def up(
    stack: Stack,
    create: Annotated[
        bool, typer.Option("--create", help="First deployment: make the stack; never where it existed.")
    ] = False,
    plan: Annotated[
        Path | None, typer.Option(help="Apply exactly this plan; refuse, with the reason, if state or program moved.")
    ] = None,
    promoted_from: Annotated[
        str | None, typer.Option(help="Refuse unless this stack runs the same program, and its access is proven.")
    ] = None,
    wait: Wait = "10m",
    stop: Stop = "20m",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Deploy a stack: wait for live runs, repair the state after a killed run, then apply the program."""
    origin = project.find(promoted_from, folder) if promoted_from else None
    with _run("up", stack, folder, as_json=as_json, patience=_patience(wait, stop)) as command:
        command.print_result(deployment.up(command.run, create=create, plan=plan, origin=origin))


def refresh(stack: Stack, wait: Wait = "10m", stop: Stop = "20m", folder: Folder = None, as_json: Json = False) -> None:
    """Read every resource of a stack back into its state."""
    with _run("refresh", stack, folder, as_json=as_json, patience=_patience(wait, stop)) as command:
        command.print_result(deployment.refresh(command.run))


def destroy(
    stack: Stack,
    *,
    drain: Annotated[
        bool,
        typer.Option("--drain/--now", help="Wait for jobs that run, at most the longest of their class; or do not."),
    ] = True,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; without a terminal nothing is asked anyway.")] = False,
    wait: Wait = "10m",
    stop: Stop = "20m",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Take a stack down: pause the runners in GitLab, let jobs end, delete all resources that are not kept on purpose."""
    with _run("destroy", stack, folder, as_json=as_json, patience=_patience(wait, stop)) as command:
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Delete everything of stack {stack}?", abort=True, err=True)
        command.print_result(teardown.destroy(command.run, drain=drain))


def outputs(stack: Stack, folder: Folder = None, as_json: Json = False) -> None:
    """Print a stack's outputs; secrets are not shown."""
    target = project.find(stack, folder)
    typer.echo(target.target(), err=True)
    with run.begin(target, "outputs", Screen(as_json=False), _patience()) as current:
        values = deployment.outputs(current)
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    for name, value in values.items():
        typer.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")


def unlock(
    stack: Stack,
    lock: Annotated[
        str | None, typer.Option(help="Id of a lock to remove although nothing proves that its run is dead.")
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Show the locks of a stack, and remove those that are proven dead; exit code 4 if a live run holds the stack."""
    target = project.find(stack, folder)
    typer.echo(target.target(), err=True)
    reports = locks.unlock(target, lock)
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in reports], indent=2))
    for report in () if as_json else reports:
        typer.echo(report.sentence)
    if not reports and not as_json:
        typer.echo(f"nobody holds stack {stack}")
    kept = [report for report in reports if not report.removed]
    raise typer.Exit((4 if any(report.fate == "alive" for report in kept) else 1) if kept else 0)


def drift(
    stack: Stack,
    reports: Reports = None,
    wait: Wait = "10m",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Show changes behind the program's back; exit code 1 if one violates a policy or a resource is gone."""
    target = project.find(stack, folder)
    screen = Screen(as_json=False, stderr=as_json)
    screen.say(target.target())
    with run.begin(target, "drift", screen, _patience(wait)) as current:
        result = drifts.find(current)
    stack_folder = files.write(reports, stack, drifts.report_files(stack, result))
    gains = drifts.write_access(stack, result.live, reports) if target.is_this_checkout and result.live else []
    if as_json:
        resources = [{**asdict(resource), "kind": resource.kind.value} for resource in result.resources]
        typer.echo(json.dumps(resources, indent=2))
    for resource in result.resources:
        why = "; ".join(reason.partition("\n")[0] for reason in resource.reasons or resource.properties)
        account = f" in {resource.account}" if resource.account else ""
        screen.say(f"{resource.kind.value}: {resource.name}{account}: {why}")
    for gain in gains:
        screen.say(f"gained by it: {gain}")
    screen.say(f"{stack}: {drifts.verdict(result.resources)}; reports in {stack_folder}")
    raise typer.Exit(0 if result.fine else 1)


def audit(stack: Stack, as_json: Json = False) -> None:
    """After a destroy, list leftovers of a stack in all accounts and GitLab; exit code 1 if one should be gone."""
    target = project.find(stack)
    typer.echo(target.target(), err=True)
    leftovers = audits.audit(target)
    if as_json:
        typer.echo(json.dumps([asdict(leftover) for leftover in leftovers], indent=2))
    for leftover in () if as_json else leftovers:
        typer.echo(f"{leftover.account or '-':8} {leftover.kind:20} {leftover.id}")
        typer.echo(f"         {f'stays: {leftover.stays}' if leftover.stays else f'remove it: {leftover.command}'}")
    wrong = [leftover for leftover in leftovers if not leftover.stays]
    typer.echo(f"{len(leftovers) - len(wrong)} things stay on purpose, {len(wrong)} should be gone", err=True)
    raise typer.Exit(int(bool(wrong)))


class _Command:
    """One command on a stack."""

    def __init__(self, screen: Screen, run: Run) -> None:
        self.screen, self.run = screen, run

    def print_result(self, result: Result) -> None:
        """Print the result of a run that succeeded."""
        self.screen.say(result.sentence)
        self.screen.emit({"event": "result", "result": "succeeded", **result.document()})


@contextlib.contextmanager
def _run(operation: str, stack: str, folder: Path | None, *, as_json: bool, patience: Patience) -> Iterator[_Command]:
    """Print the target, begin a run, and write its end into the document in any case."""
    target = project.find(stack, folder)
    screen = Screen(as_json=as_json)
    try:
        screen.say(target.target())
        with _explained(), run.begin(target, operation, screen, patience) as current:
            yield _Command(screen, current)
    except (CommandError, SettingsError) as error:
        screen.emit(
            {"event": "result", "result": _word(error), "operation": operation, "stack": stack, "message": str(error)}
        )
        raise
    finally:
        screen.close()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Explain a full disk, or a folder that is gone, in a sentence."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise FailedError(f"this machine: {error.strerror or error}{where}; what was made is in the state") from None


def _word(error: Exception) -> str:
    words = {InterruptedRunError: "interrupted", LockedError: "locked"}
    return next((word for kind, word in words.items() if isinstance(error, kind)), "failed")


def _patience(wait: str = "0s", stop: str = "20m") -> Patience:
    return Patience(lock=_seconds(wait, "--wait"), stop=_seconds(stop, "--stop"))


def _seconds(text: str, option: str) -> float:
    match = re.fullmatch(r"(\d+)(s|m|h)", text)
    if not match:
        raise WrongUseError(f"{option} {text!r} is no duration; write 90s, 10m or 1h")
    return float(int(match[1]) * _UNITS[match[2]])
