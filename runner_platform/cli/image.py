"""`runner-platform image`: what the runner image is built from. Owns arguments and output; `runner_platform.image_context` does the work."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotation when the command line is made
from typing import Annotated

import typer

app = typer.Typer(help="The runner image: write what it is built from.", no_args_is_help=True)


@app.callback()
def image() -> None:
    """Keep `render` a command of its own, for one command alone would become the group."""


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there yet.")],
    stack: Annotated[str, typer.Option("--stack", "-s", help="Whose classes' AWS configs are baked.")],
) -> None:
    """Write the complete build context of a stack's runner image: no cloud, no credentials, the same bytes each time."""
    from runner_platform import image_context as context  # noqa: PLC0415  # commands import what they need when they run
    from runner_platform import stacks  # noqa: PLC0415  # see above

    written = context.write(stacks.settings_of(stack), folder)
    typer.echo(f"{len(written)} files in {folder}; docs/operate/runner-image.md tells how to build them")
