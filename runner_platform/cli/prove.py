"""`runner-platform prove`: arguments, output and exit code. The work is in `runner_platform.prove`."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runner_platform.driver import project, promotion
from runner_platform.errors import CommandError, InterruptedRunError
from runner_platform.prove import output
from runner_platform.prove import proof as proofs

if TYPE_CHECKING:
    from collections.abc import Iterator

Stack = Annotated[str, typer.Option("--stack", "-s", help="dev, prod, or another stack that has a stack file.")]


def prove(
    stack: Stack,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Try every SDK in every way, not boto3 in two ways alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Try every role with real tokens and real SDKs; exit code 1 if one result differs from the settings."""
    with _interruptible(), output.watching(f"proving {stack}") as watcher:
        proof = proofs.prove(stack, watcher, everything=everything)
    if as_json:
        json.dump([result.document() for result in proof.results], sys.stdout, indent=2)
        sys.stdout.write("\n")
    if not as_json or not proof.ok:
        output.show(proof, stderr=as_json)
    _remember(stack, fine=proof.ok)
    raise typer.Exit(int(not proof.ok))


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a proof like Ctrl-C, so that its tokens and Jobs are removed."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; tokens and Jobs of the proof are removed") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _remember(stack: str, *, fine: bool) -> None:
    """Write the verdict beside the state, where a promotion reads it. Without write access the proof is valid, but not recorded."""
    try:
        promotion.record_proof(project.find(stack), passed=fine)
    except CommandError as error:
        typer.echo(f"the proof is not recorded for a promotion: {error}", err=True)
