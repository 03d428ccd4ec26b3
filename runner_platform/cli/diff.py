"""`runner-platform diff` and `note`: what a branch changes, and that as one note of its merge request.

Owns arguments and output. `diff` runs the branch's own code and gets no token; `note` reads files only, so it is the one that may
be given a token, and is run from reviewed code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path  # noqa: TC003  # typer reads the annotations when it runs
from typing import Annotated

import typer

from runner_platform.terminal import progress


def diff(
    ref: Annotated[str, typer.Argument(metavar="REF", help="What to compare with: a branch, a tag, a commit.")],
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Only this stack.")] = None,
    reports: Annotated[
        Path | None,
        typer.Option(
            help="Write terraform.json, changes.md, summary.md, access.json and access.md to a folder per stack here."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show what this branch changes against REF, from two mock runs: no engine, no cloud, no credentials."""
    from runner_platform.review import comparison, comparison_report  # noqa: PLC0415  # the SDKs take a second

    progress(f"running the programs of all stacks under mocks, here and at {ref}")
    result = comparison.compare(ref, stack)
    if reports is not None:
        for folder in comparison_report.write(result, reports):
            typer.echo(f"written: {folder}", err=True)
    if as_json:
        typer.echo(json.dumps(comparison_report.document(result), indent=2))
        return
    for line in comparison_report.lines(result):
        typer.echo(line)


def note(
    reports: Annotated[Path, typer.Argument(metavar="REPORTS", help="The folder that `diff --reports` has written.")],
) -> None:
    """Post the reports as one note of this job's merge request, or update it; token in RUNNER_PLATFORM_NOTE_TOKEN."""
    from runner_platform.review import note as posting  # noqa: PLC0415  # the exec plugin must start fast

    token = os.environ.get(posting.TOKEN_VARIABLE)
    if not token:
        typer.echo(f"{posting.TOKEN_VARIABLE} is not set: nothing is posted; the reports are in {reports}", err=True)
        return
    run = posting.target(os.environ)
    typer.echo(f"target: merge request {run.merge_request} of project {run.project} at {run.url}", err=True)
    typer.echo(f"note {posting.publish(run, token, posting.body(reports, run))}")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(diff)
    app.command()(note)
