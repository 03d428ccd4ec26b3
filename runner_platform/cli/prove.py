"""`runner-platform prove`: arguments, output and exit code. The work is in `runner_platform.prove`."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runner_platform.driver import project, promotion
from runner_platform.errors import CommandError, InterruptedRunError, WrongUseError
from runner_platform.prove import output, pipelines
from runner_platform.prove import proof as proofs

if TYPE_CHECKING:
    from collections.abc import Iterator


class By(StrEnum):
    """What makes the attempts."""

    PROCESS = "process"
    PIPELINE = "pipeline"


Stack = Annotated[str, typer.Option("--stack", "-s", help="dev, prod, or another stack that has a stack file.")]


def prove(
    stack: Stack,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Try every SDK in every way, not boto3 in two ways alone.")
    ] = False,
    by: Annotated[
        By, typer.Option(help="`pipeline`: GitLab gives each attempt as a job to the stack's runners.")
    ] = By.PROCESS,
    project: Annotated[
        str,
        typer.Option(help="With `--by pipeline`: project of the platform's group that runs the jobs of group runners."),
    ] = "",
    stranger: Annotated[
        list[str] | None,
        typer.Option(help="With `--by pipeline`: a project outside of the group, such as a fork. Repeat it for more."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Try every role with real tokens and real SDKs; exit code 1 if one result differs from the settings."""
    if by is By.PIPELINE and everything:
        raise WrongUseError("`--by pipeline` tries the AWS CLI alone; leave `--all` out")
    if by is By.PROCESS and (project or stranger):
        raise WrongUseError("`--project` and `--stranger` belong to `--by pipeline`; add it, or leave them out")
    with _interruptible(), output.watching(f"proving {stack}") as watcher:
        if by is By.PIPELINE:
            proof = pipelines.prove(stack, watcher, project=project, strangers=stranger or ())
        else:
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
        raise InterruptedRunError("interrupted; tokens, Jobs and branches of the proof are removed") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _remember(stack: str, *, fine: bool) -> None:
    """Write the verdict beside the state, where a promotion reads it. Without write access the proof is valid, but not recorded."""
    try:
        promotion.record_proof(project.find(stack), passed=fine)
    except CommandError as error:
        typer.echo(f"the proof is not recorded for a promotion: {error}", err=True)
