"""`runner-platform preview | up | refresh | drift | destroy | outputs | unlock | audit`: deployments, from a terminal or a GitLab job.

Owns arguments, output and exit codes. Leaves out what the words mean (`runner_platform.driver`).
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
from runner_platform.errors import CommandError, FailedError, InterruptedRunError, LockedError, WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform.driver.display import Screen
    from runner_platform.driver.operations import Result
    from runner_platform.driver.project import Project
    from runner_platform.driver.session import Patience, Session

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
        Path | None, typer.Option(help="Save an update plan here, and beside it what it is bound to.")
    ] = None,
    reports: Reports = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Show what `up` would change; changes nothing and takes no lock."""
    from runner_platform.driver import operations, preview_report  # noqa: PLC0415  # see runner_platform.cli.main

    with _run("preview", stack, folder, as_json=as_json, patience=_patience()) as run:
        try:
            found = operations.preview(run.session, plan=plan)
        except FailedError as error:
            preview_report.write(run.session, reports, failure=str(error))
            raise
        preview_report.write(run.session, reports, plan=plan)
        run.ended(found)


def up(
    stack: Stack,
    create: Annotated[
        bool, typer.Option("--create", help="First deployment: make the stack; never where it existed.")
    ] = False,
    plan: Annotated[
        Path | None, typer.Option(help="Do exactly what this plan says, or refuse and say what moved.")
    ] = None,
    promoted_from: Annotated[
        str | None, typer.Option(help="Refuse unless this stack runs the same program, and its access is proven.")
    ] = None,
    wait: Wait = "10m",
    stop: Stop = "20m",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Deploy a stack: wait for its turn, mend what a killed run left, and bring it to what its program says."""
    from runner_platform.driver import operations, project  # noqa: PLC0415  # see runner_platform.cli.main

    origin = project.of(promoted_from, folder) if promoted_from else None
    with _run("up", stack, folder, as_json=as_json, patience=_patience(wait, stop)) as run:
        run.ended(operations.up(run.session, create=create, plan=plan, origin=origin))


def refresh(stack: Stack, wait: Wait = "10m", stop: Stop = "20m", folder: Folder = None, as_json: Json = False) -> None:
    """Read every resource of a stack back into its state."""
    from runner_platform.driver import operations  # noqa: PLC0415  # see runner_platform.cli.main

    with _run("refresh", stack, folder, as_json=as_json, patience=_patience(wait, stop)) as run:
        run.ended(operations.refresh(run.session))


def destroy(
    stack: Stack,
    *,
    drain: Annotated[
        bool,
        typer.Option("--drain/--now", help="Wait for jobs that run, at most the longest of their class; or do not."),
    ] = True,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; nobody is asked where there is no terminal.")] = False,
    wait: Wait = "10m",
    stop: Stop = "20m",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Take a stack down: pause its runners in GitLab, let jobs end, delete everything but what is kept on purpose."""
    from runner_platform.driver import destroying  # noqa: PLC0415  # see runner_platform.cli.main

    with _run("destroy", stack, folder, as_json=as_json, patience=_patience(wait, stop)) as run:
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Delete everything of stack {stack}?", abort=True, err=True)
        run.ended(destroying.destroy(run.session, drain=drain))


def outputs(stack: Stack, folder: Folder = None, as_json: Json = False) -> None:
    """Print a stack's outputs; secrets are not shown."""
    from runner_platform.driver import operations, project, session  # noqa: PLC0415  # see runner_platform.cli.main
    from runner_platform.driver.display import Screen  # noqa: PLC0415  # same

    found = project.of(stack, folder)
    typer.echo(found.target(), err=True)
    with session.begun(found, "outputs", Screen(as_json=False), _patience()) as begun:
        values = operations.outputs(begun)
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    for name, value in values.items():
        typer.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")


def unlock(
    stack: Stack,
    lock: Annotated[
        str | None, typer.Option(help="Id of a lock that nothing proves dead and that you know to be.")
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Say who holds a stack, and remove locks that are proven dead. Exit code 4 where a live run holds it."""
    from runner_platform.driver import project  # noqa: PLC0415  # see runner_platform.cli.main
    from runner_platform.driver import unlock as unlocking  # noqa: PLC0415  # same

    found = project.of(stack, folder)
    typer.echo(found.target(), err=True)
    judged = unlocking.unlock(found, lock)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in judged], indent=2))
    for each in () if as_json else judged:
        typer.echo(each.sentence)
    if not judged and not as_json:
        typer.echo(f"nobody holds stack {stack}")
    left = [each for each in judged if not each.removed]
    raise typer.Exit((4 if any(each.fate == "alive" for each in left) else 1) if left else 0)


def drift(
    stack: Stack,
    reports: Reports = None,
    wait: Wait = "10m",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Say what was changed behind the program's back; exit code 1 where that weakens a policy or something is gone."""
    from runner_platform.driver import drift as drifting  # noqa: PLC0415  # see runner_platform.cli.main
    from runner_platform.driver import drift_access, drift_report, project, session  # noqa: PLC0415  # same
    from runner_platform.driver.display import Screen  # noqa: PLC0415  # same
    from runner_platform.reports import files  # noqa: PLC0415  # same

    found = project.of(stack, folder)
    screen = Screen(as_json=False, stderr=as_json)
    screen.say(found.target())
    with session.begun(found, "drift", screen, _patience(wait)) as begun:
        drifted = drifting.drift(begun)
    place = files.write(reports, stack, drift_report.files(stack, drifted))
    gains = drift_access.write(stack, drifted.live, reports) if found.here and drifted.live else []
    if as_json:
        typer.echo(json.dumps([{**asdict(each), "kind": each.kind.value} for each in drifted.differences], indent=2))
    for each in drifted.differences:
        why = "; ".join(reason.partition("\n")[0] for reason in each.reasons or each.properties)
        screen.say(f"{each.kind.value}: {each.name}{f' in {each.account}' if each.account else ''}: {why}")
    for gain in gains:
        screen.say(f"gained by it: {gain}")
    screen.say(f"{drift_report.sentence(stack, drifted.differences)}; reports in {place}")
    raise typer.Exit(0 if drifted.fine else 1)


def audit(stack: Stack, as_json: Json = False) -> None:
    """After a destroy: what of a stack still exists, over every account and GitLab; exit code 1 where something should not."""
    from runner_platform.driver import audit as auditing  # noqa: PLC0415  # see runner_platform.cli.main
    from runner_platform.driver import project  # noqa: PLC0415  # same

    found = project.of(stack)
    typer.echo(found.target(), err=True)
    left = auditing.audit(found)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in left], indent=2))
    for each in () if as_json else left:
        typer.echo(f"{each.account or '-':8} {each.kind:20} {each.id}")
        typer.echo(f"         {f'stays: {each.stays}' if each.stays else f'remove it: {each.command}'}")
    wrong = [each for each in left if not each.stays]
    typer.echo(f"{len(left) - len(wrong)} things stay on purpose, {len(wrong)} should be gone", err=True)
    raise typer.Exit(int(bool(wrong)))


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (preview, up, refresh, drift, destroy, outputs, unlock, audit):
        app.command()(command)


class _Run:
    """One command on a stack, and how it ends."""

    def __init__(self, project: Project, screen: Screen, session: Session) -> None:
        self.project, self.screen, self.session = project, screen, session

    def ended(self, result: Result) -> None:
        """It ended well."""
        self.screen.say(result.sentence)
        self.screen.emit({"event": "result", "result": "succeeded", **asdict(result)})


@contextlib.contextmanager
def _run(operation: str, stack: str, folder: Path | None, *, as_json: bool, patience: Patience) -> Iterator[_Run]:
    """Print the target, begin, and put the end into the document whatever it is."""
    from runner_platform.driver import project, session  # noqa: PLC0415  # see runner_platform.cli.main
    from runner_platform.driver.display import Screen  # noqa: PLC0415  # same

    found = project.of(stack, folder)
    screen = Screen(as_json=as_json)
    try:
        screen.say(found.target())
        with _explained(), session.begun(found, operation, screen, patience) as begun:
            yield _Run(found, screen, begun)
    except (CommandError, SettingsError) as error:
        screen.emit(
            {"event": "result", "result": _word(error), "operation": operation, "stack": stack, "message": str(error)}
        )
        raise
    finally:
        screen.close()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """A full disk, or a folder that is gone, in a sentence."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise FailedError(f"this machine: {error.strerror or error}{where}; what was made is in the state") from None


def _word(error: Exception) -> str:
    words = {InterruptedRunError: "interrupted", LockedError: "locked"}
    return next((word for kind, word in words.items() if isinstance(error, kind)), "failed")


def _patience(wait: str = "0s", stop: str = "20m") -> Patience:
    from runner_platform.driver.session import Patience  # noqa: PLC0415  # see runner_platform.cli.main

    return Patience(turn=_seconds(wait, "--wait"), stop=_seconds(stop, "--stop"))


def _seconds(text: str, option: str) -> float:
    found = re.fullmatch(r"(\d+)(s|m|h)", text)
    if not found:
        raise WrongUseError(f"{option} {text!r} is no duration; write 90s, 10m or 1h")
    return float(int(found[1]) * _UNITS[found[2]])
