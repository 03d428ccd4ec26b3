"""`runner-platform image`: write the build context of the runner image (`runner_platform.image_context`)."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotation when the command line is made
from typing import Annotated

import typer

from runner_platform import image_context, stacks

app = typer.Typer(help="The runner image: write its build context.", no_args_is_help=True)


@app.callback()
def image() -> None:
    """Keep `render` a subcommand: Typer would turn a single command into the group."""


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    stack: Annotated[str, typer.Option("--stack", "-s", help="The stack whose classes' AWS configs the image holds.")],
) -> None:
    """Write the complete build context of a stack's runner image: no cloud, no credentials, the same bytes each time."""
    written = image_context.write(stacks.settings_of(stack), folder)
    typer.echo(f"{len(written)} files in {folder}; docs/operate/runner-image.md tells how to build them")
