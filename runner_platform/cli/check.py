"""`runner-platform check`: settings, programs and policies, from the files alone, or policies on what is deployed.

Owns arguments, output and exit codes. Leaves out what is checked (`runner_platform.check.checking`).
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

from runner_platform.errors import WrongUseError

if TYPE_CHECKING:
    from runner_platform.check.checking import Checked


def check(
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Only this stack.")] = None,
    deployed: Annotated[
        bool,
        typer.Option(
            "--deployed", help="Judge the deployed state instead: needs the engine and the backend's credentials."
        ),
    ] = False,
    policies: Annotated[
        Path | None,
        typer.Option(
            envvar="RUNNER_PLATFORM_POLICIES",
            help="Folder of the policy pack, with its exceptions and thresholds: in a merge request that of the target branch.",
        ),
    ] = None,
    reports: Annotated[
        Path | None,
        typer.Option(
            help="Where codequality.json, junit.xml, access.json and access.md go, a folder per stack; reports/ of the project without it."
        ),
    ] = None,
) -> None:
    """Settings are valid, the programs run under mocks, every policy decides: no engine, no cloud, no credentials."""
    from runner_platform.check import checking  # noqa: PLC0415  # the exec plugin must start fast

    if deployed and stack is None:
        raise WrongUseError("--deployed needs --stack: name what to judge")
    if deployed and stack is not None:
        typer.echo(f"target: stack {stack} in the backend that the engine is logged in to", err=True)
        results = iter([checking.deployed(stack, policies, reports)])
    else:
        results = checking.program([stack] if stack else None, policies, reports)
    fine = True
    for each in results:
        _show(each)
        fine = fine and each.fine
    raise typer.Exit(0 if fine else 1)


def _show(checked: Checked) -> None:
    typer.echo(checked.headline)
    for finding in checked.findings:
        typer.echo(f"  {str(finding).replace(chr(10), chr(10) + '  ')}")
    for note in checked.notes:
        typer.echo(f"  note: {note}")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(check)
