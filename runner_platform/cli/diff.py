"""`runner-platform diff` and `note`: compare a branch with another commit, and post the reports to its merge request.

`diff` runs the branch's own code and gets no token. `note` only reads files, so it may get a token, and it is run from reviewed code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path  # noqa: TC003  # typer reads the annotations when it runs
from typing import Annotated

import typer

from runner_platform.review import comparison, comparison_report
from runner_platform.review import note as merge_request_note
from runner_platform.terminal import progress


def diff(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The other side: a branch, a tag, a commit.")],
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
    token = os.environ.get(merge_request_note.TOKEN_VARIABLE)
    if not token:
        typer.echo(
            f"{merge_request_note.TOKEN_VARIABLE} is not set: nothing is posted; the reports are in {reports}", err=True
        )
        return
    run = merge_request_note.target(os.environ)
    typer.echo(f"target: merge request {run.merge_request} of project {run.project} at {run.url}", err=True)
    typer.echo(f"note {merge_request_note.publish(run, token, merge_request_note.body(reports, run))}")
