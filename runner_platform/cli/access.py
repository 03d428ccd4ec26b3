"""`runner-platform access`: who may become which role, and by which chain.

Owns arguments, output and the exit code: 1 where the documents say something else than the settings declare. Leaves out the reasoning
(`access`), the mock runs (`runner_platform.review.access_matrix`) and the words (`runner_platform.review.access_report`).
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner_platform.review.access_diff import Change
    from runner_platform.review.access_matrix import Matrix


def access(
    stack: Annotated[str, typer.Option("--stack", "-s", help="foundation, dev, prod, or another stack.")],
    diff: Annotated[
        str | None, typer.Option("--diff", metavar="REF", help="Who gains and who loses against a branch or commit.")
    ] = None,
    reports: Annotated[
        Path | None, typer.Option(help="Write access.json and access.md to a folder per stack here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show who may become which role, from mock runs of all stacks: no engine, no cloud, no credentials."""
    from runner_platform.review import access_diff, access_matrix, access_report, access_users  # noqa: PLC0415  # start fast
    from runner_platform.review import access_files as writing  # noqa: PLC0415  # same

    matrix = access_matrix.of_stack(stack)
    settings = matrix.side.stacks.get(stack)
    users = access_users.users(settings, lambda text: typer.echo(text, err=True)) if settings else {}
    changes = access_diff.changes(access_matrix.at(diff).of(stack), matrix.cells) if diff is not None else None
    if reports is not None:
        written = writing.write(matrix, reports, changes, diff or "", users)
        typer.echo(f"written: {written}", err=True)
    if as_json:
        typer.echo(json.dumps(_document(matrix, changes), indent=2))
    else:
        _show(matrix, users, changes)
    for problem in access_report.problems(matrix):
        typer.echo(problem, err=True)
    raise typer.Exit(0 if matrix.fine else 1)


def _document(matrix: Matrix, changes: Sequence[Change] | None) -> object:
    from dataclasses import asdict  # noqa: PLC0415  # start fast

    from runner_platform.review import access_report  # noqa: PLC0415  # same

    if changes is None:
        return access_report.document(matrix.cells)
    return {
        "gained": [asdict(each) for each in changes if each.gains],
        "lost": [asdict(each) for each in changes if not each.gains],
    }


def _show(matrix: Matrix, users: Mapping[str, str], changes: Sequence[Change] | None) -> None:
    from rich.table import Table  # noqa: PLC0415  # start fast
    from rich.text import Text  # noqa: PLC0415  # same

    from runner_platform.review import access_report  # noqa: PLC0415  # same
    from runner_platform.terminal import console  # noqa: PLC0415  # same

    for line in access_report.changed(changes or ()):
        typer.echo(line)
    if changes is not None and not changes:
        typer.echo("nobody gains, nobody loses")
    table = Table()
    for title in access_report.header(matrix):
        table.add_column(title, overflow="fold")
    for row in access_report.lines(matrix, users):
        table.add_row(*(Text(text) for text in row))
    console().print(table)
    typer.echo(access_report.verdict(matrix))


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(access)
