"""`make up`: from a clone to three deployed stacks with proven access. Can be repeated and interrupted.

Run as `python -m runner_platform_sandbox.up [STACK ...]`; without arguments it deploys all stacks. Exit codes: 0 all
deployed and access proven, 1 failed, 3 interrupted with the state saved, 4 another command holds the sandbox.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from runner_platform_sandbox import environment, job_mode, lifecycle, lock, organization, state, terminal
from runner_platform_sandbox.errors import INTERRUPTED, SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.terminal import sayer, show_error
from runner_platform_sandbox.up import later, progress, proof, summary
from runner_platform_sandbox.up.deployments import (
    Deployed,
    Engine,
    Stack,
    deploy,
    end_leftovers,
    stages,
    supervisor_notes,
)
from runner_platform_sandbox.up.summary import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from rich.console import Console

    from runner_platform_sandbox.up.proof import Proof


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `make up`; returns its exit code."""
    all_stacks = [stack.name for stage in stages() for stack in stage]
    parser = argparse.ArgumentParser(
        prog="python -m runner_platform_sandbox.up", description="Start the sandbox and deploy into it."
    )
    parser.add_argument("stacks", nargs="*", metavar="STACK", help=", ".join(all_stacks))
    names = parser.parse_args(arguments).stacks
    unknown = [name for name in names if name not in all_stacks]
    if unknown:
        parser.error(f"unknown stack {unknown[0]!r}; choose from {', '.join(all_stacks)}")
    console = terminal.console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        paths = Paths.from_environment()
        with lock.held(paths), Meter(paths) as meter:
            _up(paths, names or all_stacks, console, meter)
        later.build(paths, console)
    except SandboxError as error:
        show_error(console, error)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("interrupted; `make up` goes on from here")
        return INTERRUPTED
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _up(paths: Paths, names: Sequence[str], console: Console, meter: Meter) -> None:
    began = time.time()
    ended = end_leftovers(paths)
    if ended:
        sayer(console)(f"ended {len(ended)} processes of a killed deployment")
    lifecycle.prepare(paths, console, meter.phase)
    engine = connect(paths)
    deployed: list[Deployed] = []
    for stage in stages():
        stacks = [stack for stack in stage if stack.name in names]
        if stacks:
            with meter.phase(" and ".join(stack.name for stack in stacks)):
                deployed += _deploy(engine, stacks, console)
    proofs = _prove(engine, [stack.stack for stack in deployed], console, meter)
    for text in supervisor_notes(paths, began):
        sayer(console)(f"meanwhile in the sandbox: {text}")
    current = state.read(paths)
    if current is not None:
        jobs = str(job_mode.job_mode())
        console.print(summary.render(current, organization.read(), deployed, meter, proofs, jobs), crop=False)
    proof.require_fine(proofs)


def _deploy(engine: Engine, stage: Sequence[Stack], console: Console) -> list[Deployed]:
    names = [stack.name for stack in stage]
    sayer(console)(f"deploying {' and '.join(names)}")
    say = sayer(console, "  ")
    with progress.following(console, names) as watch:
        deployed = deploy(engine, stage, watch, say)
    for stack in deployed:
        say(f"{stack.stack}: {stack.resources} resources, {stack.changes_text}, {stack.seconds:.0f} s")
    return deployed


def _prove(engine: Engine, deployed: Sequence[str], console: Console, meter: Meter) -> list[Proof]:
    names = [stack.name for stack in stages()[-1] if stack.name in deployed]  # the foundation has no runner classes
    if not names:
        return []
    sayer(console)(f"proving the access of {' and '.join(names)}")
    with meter.phase("proof"):
        return proof.prove(names, engine.environment, console)


def connect(paths: Paths) -> Engine:
    """Return the engine of a running sandbox.

    Raises:
        SandboxError: The sandbox does not run.
    """
    variables = {**environment.inherited(), **environment.variables(paths)}
    return Engine(paths=paths, environment=variables, folder=organization.PROJECT)


if __name__ == "__main__":
    sys.exit(main())
