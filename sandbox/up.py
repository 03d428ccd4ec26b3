"""`make up`: from a clone to three deployed stacks, in one command that can be repeated and interrupted.

Owns the order of the phases, what is printed, and the exit code: 0 all deployed, 1 failed, 3 interrupted with the state
saved, 4 another command holds the sandbox. Run as `python -m sandbox.up [STACK ...]`, all stacks by default.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from sandbox import display, environment, lock, organization, state, summary
from sandbox.deploy import Deployed, Stack, deploy, stacks
from sandbox.engine_run import Engine, end_leftovers
from sandbox.errors import INTERRUPTED, SandboxError
from sandbox.meter import Meter
from sandbox.paths import Paths
from sandbox.prepare import prepared
from sandbox.terminal import sayer, show_error
from sandbox.tools.result import Tools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `make up`; returns its exit code."""
    known = stacks()
    parser = argparse.ArgumentParser(prog="python -m sandbox.up", description="Start the sandbox and deploy into it.")
    parser.add_argument("stacks", nargs="*", metavar="STACK", help=", ".join(stack.name for stack in known))
    names = parser.parse_args(arguments).stacks
    unknown = [name for name in names if name not in {stack.name for stack in known}]
    if unknown:
        parser.error(f"unknown stack {unknown[0]!r}; known are {', '.join(stack.name for stack in known)}")
    console = Console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        paths = Paths.from_environment()
        with lock.held(paths), Meter(paths) as meter:
            _up(paths, [stack for stack in known if not names or stack.name in names], console, meter)
    except SandboxError as error:
        show_error(console, error)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("interrupted; `make up` goes on from here")
        return INTERRUPTED
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _up(paths: Paths, chosen: Sequence[Stack], console: Console, meter: Meter) -> None:
    left = end_leftovers(paths)
    if left:
        sayer(console)(f"ended {len(left)} processes of a deployment that was killed")
    prepared(paths, console, meter.phase)
    engine = connect(paths)
    deployed, accounts = [], {}
    for stack in chosen:
        with meter.phase(stack.name):
            deployed.append(_deploy(engine, stack, console))
        accounts[stack.name] = used_accounts(engine, stack)
    current = state.read(paths)
    if current is not None:
        console.print(summary.render(current, organization.read(), deployed, accounts, meter))


def connect(paths: Paths) -> Engine:
    """The engine of a running sandbox.

    Raises:
        SandboxError: The sandbox does not run.
    """
    surroundings = {**environment.inherited(), **environment.variables(paths)}
    return Engine(paths=paths, program=str(Tools.find(paths).pulumi), environment=surroundings)


def used_accounts(engine: Engine, stack: Stack) -> list[str]:
    """Ids of the AWS accounts that a stack has resources in: those of its providers."""
    exported = json.loads(engine.query(["stack", "export", "--stack", stack.name], stack.folder))
    providers = [
        resource["inputs"]
        for resource in exported["deployment"].get("resources", [])
        if resource["type"] == "pulumi:providers:aws"
    ]
    found: list[str] = []
    for inputs in providers:
        allowed = inputs.get("allowedAccountIds", [])
        found += json.loads(allowed) if isinstance(allowed, str) else allowed
    return sorted(set(found))


def _deploy(engine: Engine, stack: Stack, console: Console) -> Deployed:
    console.print(f"deploying {stack.name}", highlight=False)

    say = sayer(console, "  ")
    with display.following(console, stack.name) as watch:
        done = deploy(engine, stack, watch, say)
    changes = ", ".join(f"{count} {operation}" for operation, count in done.changes.items()) or "no changes"
    say(f"{stack.name}: {done.resources} resources, {changes}, {done.seconds:.0f} s")
    return done


if __name__ == "__main__":
    sys.exit(main())
