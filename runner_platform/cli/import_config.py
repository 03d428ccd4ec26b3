"""`runner-platform import`: a GitLab runner's `config.toml` as runner classes, with an answer for each key (`runner_platform.import_config`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from runner_platform.errors import FailedError, WrongUseError
from runner_platform.import_config import text
from runner_platform.import_config.imported import imported
from runner_platform.import_config.reading import UnreadableConfigError, read
from runner_platform.terminal import console

if TYPE_CHECKING:
    from runner_platform.import_config.imported import Imported, Row

STANDARD_INPUT = "-"
INTRODUCTION = """\
# Below config: of Pulumi.<stack>.yaml, then runner-platform check. Tags, protection and the maximum job timeout of a runner stand in
# GitLab and not in config.toml: compare them. Without tags: a class has its name as tag."""


def import_config(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A runner's config.toml; - reads standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Print the classes that would replace a GitLab runner, and what becomes of each key of its config.toml. Prints no secret, changes nothing.

    Without copying the file: ssh HOST sudo cat /etc/gitlab-runner/config.toml | runner-platform import -
    """
    try:
        result = imported(read(_content(file)))
    except UnreadableConfigError as error:
        raise FailedError(f"{_name(file)} {error}") from None
    if as_json:
        typer.echo(json.dumps(text.document(result), indent=2))
    else:
        _print(result)


def _name(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file


def _content(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
    except OSError as error:
        raise WrongUseError(
            f"cannot read {file}: {error.strerror}; name a runner's config.toml, or - for standard input"
        ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FailedError(f"{_name(file)} is not UTF-8, so the runner cannot read it either; convert it") from None


def _print(result: Imported) -> None:
    classes = text.stack_file(result)
    if classes:
        typer.echo(INTRODUCTION)
        typer.echo(classes)
    for runner in result.runners:
        if runner.runner_class is None:
            typer.echo(f"{text.title(runner)}: no class. {runner.reason}\n")
        _print_rows(f"{text.title(runner)}: keys that no setting of the class has", text.remaining(runner.rows))
    _print_rows("keys outside of [[runners]]", text.remaining(result.rows))


def _print_rows(heading: str, rows: list[Row]) -> None:
    if not rows:
        return
    typer.echo(heading)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("key", "value", "kind", "here"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in (row.key, row.value, row.kind.value, row.answer)))
    console().print(table)
