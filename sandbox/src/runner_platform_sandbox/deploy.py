"""Deploys the three stacks, each with the driver that people and pipelines use.

Owns the stacks and their order, and what is said when one fails. Leaves out the driver's processes (`runner_platform_sandbox.engine_run`) and what the
driver does: making a missing stack, waiting for locks, mending what a killed run left.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox import engine_run, state
from runner_platform_sandbox.engine_run import Run
from runner_platform_sandbox.errors import INTERRUPTED, LOCKED, SandboxError
from runner_platform_sandbox.organization import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from runner_platform_sandbox.engine_run import Engine, Events
    from runner_platform_sandbox.paths import Paths

SETTLE_SECONDS: Final = 1.0
"""The supervisor looks twice a second, so a death of this instant may not be written yet."""
_CODES: Final = {"interrupted": INTERRUPTED, "locked": LOCKED}


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack and the folder of its project."""

    name: str
    folder: Path


def stages(project: Path = PROJECT) -> list[list[Stack]]:
    """All stacks in the order in which they need each other; those of one stage are deployed side by side."""
    return [
        [Stack(name="foundation", folder=project / "foundation")],
        [Stack(name="dev", folder=project), Stack(name="prod", folder=project)],
    ]


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One stack after a successful `up`."""

    stack: str
    resources: int
    """Resources in the stack's state, the engine's own (stack, providers) included."""
    changes: dict[str, int]
    """Number of resources by operation, without those that stayed as they were."""
    seconds: float
    accounts: list[str]
    """Ids of the AWS accounts that it has resources in."""


def deploy(
    engine: Engine, stage: Sequence[Stack], watch: Callable[[str, Events], None], say: Callable[[str], None]
) -> list[Deployed]:
    """Bring stacks to what their programs say, side by side.

    Args:
        engine: How the driver is called.
        stage: Stacks that do not need each other; made when they do not exist.
        watch: Is called several times a second with a stack's name and what is known of it.
        say: Takes sentences that a person should read, such as what a killed run had left.

    Raises:
        SandboxError: A deployment failed (1), was interrupted with its state saved (3), or somebody else's live run holds a stack
            (4). All have ended then.
    """
    began = time.time()
    runs = {stack.name: Run(engine, stack.name) for stack in stage}
    engine_run.follow(runs, watch)
    engine_run.end_leftovers(engine.paths)
    for name, run in runs.items():
        for text in run.events.found:
            say(f"{name}: {text}")
    failed = {name: run for name, run in runs.items() if run.process.returncode}
    for code in (INTERRUPTED, LOCKED):
        stopped = [name for name, run in failed.items() if _CODES.get(run.events.result.get("result", "")) == code]
        if stopped:
            raise SandboxError(
                "\n".join(runs[name].events.result["message"] for name in stopped),
                "`make up` goes on from there",
                exit_code=code,
            )
    _require_none(engine, [_failure(name, run) for name, run in failed.items()], began)
    return [_deployed(name, run) for name, run in runs.items()]


def _deployed(stack: str, run: Run) -> Deployed:
    result = run.events.result
    return Deployed(
        stack=stack,
        resources=result["resources"],
        changes=result["changes"],
        seconds=result["seconds"],
        accounts=result["accounts"],
    )


def _failure(stack: str, run: Run) -> str:
    """What went wrong with one stack."""
    result, code = run.events.result, run.process.returncode
    if result:
        said = str(result["message"])
    else:
        ended = f"was ended by signal {-code}" if code < 0 else "ended without a word"
        said = f"deploying {stack} failed: the driver {ended}\n  {_last_lines(run.text)}"
    return f"{said}\n  all that was said: {run.text}"


def _require_none(engine: Engine, failures: list[str], since: float) -> None:
    if not failures:
        return
    time.sleep(SETTLE_SECONDS)
    noted = happened(engine.paths, since)
    if noted:
        failures = [*failures, "\n".join(["meanwhile in the sandbox:", *(f"  {text}" for text in noted)])]
    raise SandboxError("\n".join(failures), "`make up` goes on from what was made")


def happened(paths: Paths, since: float) -> list[str]:
    """What the supervisor noted since then (seconds since the epoch): a server that died is a likely cause of failures."""
    current = state.read(paths)
    if current is None:
        return []
    texts = [event.text for event in current.events if event.time >= since]
    if not current.running:
        texts.append("the supervisor is gone, and nothing of the sandbox is watched any more")
    return [*texts, *([current.failure] if current.failure and current.failure not in texts else [])]


def _last_lines(file: Path, count: int = 15) -> str:
    try:
        return "\n  ".join(file.read_text(errors="replace").strip().splitlines()[-count:])
    except OSError:
        return "it said nothing"
