"""`runner-platform check`: settings, programs and policies, from the files alone, or the policies on a deployed stack.

Owns arguments, output and exit codes; the work is in `runner_platform.review.stack_check`.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

from runner_platform.errors import WrongUseError
from runner_platform.review import stack_check
from runner_platform.terminal import progress

if TYPE_CHECKING:
    from runner_platform.review.stack_check import StackCheck


def check(
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Only this stack.")] = None,
    deployed: Annotated[
        bool,
        typer.Option(
            "--deployed",
            help="Evaluate the policies on the deployed state instead: needs the engine and the backend's credentials.",
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
            help="Folder for codequality.json, junit.xml, access.json and access.md, one subfolder per stack; without it the project's reports/."
        ),
    ] = None,
) -> None:
    """Check settings, run the programs under mocks, evaluate every policy: no engine, no cloud, no credentials."""
    if deployed and stack is None:
        raise WrongUseError("--deployed needs --stack: name the stack to evaluate")
    if deployed and stack is not None:
        typer.echo(f"target: stack {stack} in the backend that the engine is logged in to", err=True)
        results = iter([stack_check.check_deployed(stack, policies, reports, progress)])
    else:
        results = stack_check.check_programs([stack] if stack else None, policies, reports, progress)
    fine = True
    for result in results:
        _print(result)
        fine = fine and result.fine
    raise typer.Exit(0 if fine else 1)


def _print(result: StackCheck) -> None:
    typer.echo(result.headline)
    for finding in result.findings:
        typer.echo(f"  {str(finding).replace(chr(10), chr(10) + '  ')}")
    for note in result.notes:
        typer.echo(f"  note: {note}")
