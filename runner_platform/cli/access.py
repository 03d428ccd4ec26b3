"""`runner-platform access`: the roles that every principal may become, and by which chain.

Owns arguments, output and the exit code: 1 if the documents say something else than the settings declare. The reasoning is in `access`,
the mock runs are in `runner_platform.review.access_matrix`, the words in `runner_platform.review.access_report`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003  # typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from runner_platform.review import access_matrix, access_report
from runner_platform.terminal import console, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner_platform.review.access_matrix import AccessChange, Matrix


def access(
    stack: Annotated[str, typer.Option("--stack", "-s", help="foundation, dev, prod, or another stack.")],
    diff: Annotated[
        str | None, typer.Option("--diff", metavar="REF", help="Gains and losses against a branch or commit.")
    ] = None,
    reports: Annotated[
        Path | None, typer.Option(help="Write access.json and access.md to a subfolder per stack of this folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show the roles that every principal may become, from mock runs of all stacks: no engine, no cloud, no credentials."""
    progress("running the programs of all stacks under mocks, and deriving who may assume which role")
    matrix = access_matrix.of_stack(stack)
    settings = matrix.side.stacks.get(stack)
    users = access_report.users_of(settings, lambda text: typer.echo(text, err=True)) if settings else {}
    changes = None
    if diff is not None:
        progress(f"the same at {diff}, in a worktree of its own")
        changes = access_matrix.changes(access_matrix.at(diff).of(stack), matrix.cells)
    if reports is not None:
        folder = access_report.write(matrix, reports, changes, diff or "", users)
        typer.echo(f"written: {folder}", err=True)
    if as_json:
        typer.echo(json.dumps(_document(matrix, changes), indent=2))
    else:
        _print(matrix, users, changes)
    for problem in access_report.problems(matrix):
        typer.echo(problem, err=True)
    raise typer.Exit(0 if matrix.fine else 1)


def _document(matrix: Matrix, changes: Sequence[AccessChange] | None) -> object:
    if changes is None:
        return access_report.document(matrix.cells)
    return {
        "gained": [asdict(change) for change in changes if change.gains],
        "lost": [asdict(change) for change in changes if not change.gains],
    }


def _print(matrix: Matrix, users: Mapping[str, str], changes: Sequence[AccessChange] | None) -> None:
    for sentence in access_report.changed(changes or ()):
        typer.echo(sentence)
    if changes is not None and not changes:
        typer.echo("nobody gains, nobody loses")
    table = Table(box=box.SIMPLE_HEAD, show_lines=True, pad_edge=False)
    table.add_column("principal", overflow="fold")
    table.add_column("level", no_wrap=True)
    table.add_column("may become, by account", overflow="fold")
    for row in access_report.terminal_rows(matrix, users):
        table.add_row(*(Text(text) for text in row))
    console().print(table)
    typer.echo(access_report.verdict(matrix))
