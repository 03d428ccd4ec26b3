"""Deploys the three stacks with the real engine.

Owns the stacks and their order, making a stack that is missing, one `pulumi up` and what is said when it fails.
Leaves out the engine's process (`sandbox.engine_run`) and what a killed run left in a stack (`sandbox.recovery`).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox import engine_run, recovery, state
from sandbox.errors import INTERRUPTED, SandboxError
from sandbox.organization import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.engine_log import Progress
    from sandbox.engine_run import Engine, Outcome

SHOWN_ERRORS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack and the folder of its project."""

    name: str
    folder: Path


def stacks(project: Path = PROJECT) -> list[Stack]:
    """All stacks, in the order in which they need each other."""
    return [
        Stack(name="foundation", folder=project / "foundation"),
        Stack(name="dev", folder=project),
        Stack(name="prod", folder=project),
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
    peak_memory: int
    """Highest sum of resident bytes of the engine and all that it started."""


def deploy(engine: Engine, stack: Stack, watch: Callable[[Progress], None], say: Callable[[str], None]) -> Deployed:
    """Bring one stack to what its program says.

    Args:
        engine: How the engine is called.
        stack: Which one; made when it does not exist.
        watch: Is called several times a second with the engine's progress.
        say: Takes sentences that a person should read, such as what a killed run had left.

    Raises:
        SandboxError: The deployment failed (1), was interrupted with its state saved (3), or somebody else's live
            run holds the stack (4).
    """
    began, wall = time.monotonic(), time.time()
    _ensure_exists(engine, stack)
    recovery.recover(engine, stack.name, stack.folder, say)
    log = engine.paths.logs / f"pulumi-{stack.name}"
    arguments = ["up", "--stack", stack.name, "--yes", "--skip-preview", "--suppress-outputs", "--suppress-progress"]
    outcome = engine_run.run(engine, arguments, stack.folder, log, watch)
    _require_success(engine, stack, outcome, log, wall)
    summary = outcome.progress.summary or {}
    return Deployed(
        stack=stack.name,
        resources=sum(count for operation, count in summary.items() if operation != "delete"),
        changes={operation: count for operation, count in summary.items() if operation != "same"},
        seconds=time.monotonic() - began,
        peak_memory=outcome.peak_memory,
    )


def _ensure_exists(engine: Engine, stack: Stack) -> None:
    """Make the stack in the backend. The committed stack file holds the salt already, so the engine leaves it alone."""
    known = json.loads(engine.query(["stack", "ls", "--json"], stack.folder))
    if all(entry["name"] != stack.name for entry in known):
        engine.query(["stack", "init", stack.name, "--no-select"], stack.folder)


def _require_success(engine: Engine, stack: Stack, outcome: Outcome, log: Path, since: float) -> None:
    if outcome.interrupted:
        raise SandboxError(
            f"interrupted while deploying {stack.name}; what was made is in its state",
            "`make up` goes on from there",
            exit_code=INTERRUPTED,
        )
    if outcome.exit_code == 0:
        return
    errors = outcome.progress.errors or [_last_lines(log.with_suffix(".txt"))]
    shown = "\n".join(f"  {text}" for text in dict.fromkeys(errors[:SHOWN_ERRORS]))
    lines = [f"deploying {stack.name} failed:", shown]
    if outcome.exit_code < 0:
        lines.insert(1, f"  the engine was ended by signal {-outcome.exit_code}")
    happened = _events(engine, since)
    if happened:
        lines += ["meanwhile in the sandbox:", *(f"  {text}" for text in happened)]
    raise SandboxError(
        "\n".join(lines), f"`make up` goes on from what was made; all that the engine said: {log.with_suffix('.txt')}"
    )


def _events(engine: Engine, since: float) -> list[str]:
    """What the supervisor noted since then: a server that died is the likely cause of a failure.

    The supervisor looks twice a second, so a death of this instant may not be written yet.
    """
    time.sleep(1)
    current = state.read(engine.paths)
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
        return "the engine said nothing"
