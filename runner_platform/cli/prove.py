"""`runner-platform prove`: arguments, output and exit code. What it means is in `runner_platform.prove`."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runner_platform.errors import CommandError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Iterator

Stack = Annotated[str, typer.Option("--stack", "-s", help="dev, prod, or another stack that has a stack file.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prove")(prove)


def prove(
    stack: Stack,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every SDK by every way, not one SDK by the ways that differ.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Try who gets in, with real tokens and real SDKs; exit code 1 where one cell is not as the settings say."""
    from runner_platform.prove import proof, show  # noqa: PLC0415  # the SDKs take a second to import

    with _interruptible(), show.watching(f"proving {stack}") as watcher:
        found = proof.prove(stack, watcher, everything=everything)
    if as_json:
        json.dump([cell.document() for cell in found.cells], sys.stdout, indent=2)
        sys.stdout.write("\n")
    if not as_json or not found.fine:
        show.show(found, stderr=as_json)
    _remember(stack, fine=found.fine)
    raise typer.Exit(int(not found.fine))


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends a proof as Ctrl-C does: tokens and Jobs are removed on the way out."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; what was made for the proof is removed") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _remember(stack: str, *, fine: bool) -> None:
    """Write the verdict beside the state, where a promotion looks for it; a reader may not, and a proof is one all the same."""
    from runner_platform.driver import project, promotion  # noqa: PLC0415  # the SDKs take a second to import

    try:
        promotion.proven(project.of(stack), fine=fine)
    except CommandError as error:
        typer.echo(f"the proof is not recorded for a promotion: {error}", err=True)
