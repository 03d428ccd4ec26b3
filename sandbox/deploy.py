"""Deploys the three stacks with the real engine.

Owns the stacks and their order, making a stack that is missing, one `pulumi up` and what is said when it fails.
Leaves out the engine's process (`sandbox.engine_run`) and what a killed run left in a stack (`sandbox.recovery`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox import engine_run, engine_state, recovery, state
from sandbox.engine_log import UNCHANGED
from sandbox.engine_run import Run
from sandbox.errors import INTERRUPTED, SandboxError
from sandbox.organization import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sandbox.engine_log import Progress
    from sandbox.engine_run import Engine, Outcome
    from sandbox.paths import Paths

SHOWN_ERRORS: Final = 10
SETTLE_SECONDS: Final = 1.0
"""The supervisor looks twice a second, so a death of this instant may not be written yet."""
UP: Final = ("up", "--yes", "--skip-preview", "--suppress-outputs", "--suppress-progress")


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
    engine: Engine, stage: Sequence[Stack], watch: Callable[[str, Progress], None], say: Callable[[str], None]
) -> list[Deployed]:
    """Bring stacks to what their programs say, side by side.

    Args:
        engine: How the engine is called.
        stage: Stacks that do not need each other; made when they do not exist.
        watch: Is called several times a second with a stack's name and the engine's progress.
        say: Takes sentences that a person should read, such as what a killed run had left.

    Raises:
        SandboxError: A deployment failed (1), was interrupted with its state saved (3), or somebody else's live run
            holds a stack (4). All have ended then.
    """
    began = time.time()
    for stack in stage:
        _ensure_exists(engine, stack)
        recovery.recover(engine, stack.name, stack.folder, say)
    runs = {stack.name: Run(engine, [*UP, "--stack", stack.name], stack.folder, stack.name) for stack in stage}
    outcomes = engine_run.follow(runs, watch)
    engine_run.end_leftovers(engine.paths)
    if any(outcome.interrupted for outcome in outcomes.values()):
        raise SandboxError(
            f"interrupted while deploying {' and '.join(runs)}; what was made is in the state",
            "`make up` goes on from there",
            exit_code=INTERRUPTED,
        )
    failures = [_failure(stack, outcomes[stack.name], runs[stack.name].text) for stack in stage]
    _require_none(engine, [text for text in failures if text], began)
    return [_deployed(engine, stack, outcomes[stack.name]) for stack in stage]


def _ensure_exists(engine: Engine, stack: Stack) -> None:
    """Make the stack in the backend. The committed stack file holds the salt already, so the engine leaves it alone."""
    project = engine_state.project_name(stack.folder)
    if engine_state.read(engine.paths.backend, project, stack.name) is None:
        engine.query(["stack", "init", stack.name, "--no-select"], stack.folder)


def _deployed(engine: Engine, stack: Stack, outcome: Outcome) -> Deployed:
    known = engine_state.read(engine.paths.backend, engine_state.project_name(stack.folder), stack.name)
    changes = {name: count for name, count in (outcome.progress.summary or {}).items() if name != UNCHANGED}
    return Deployed(
        stack=stack.name,
        resources=len(known.resources) if known else 0,
        changes=changes,
        seconds=outcome.seconds,
        accounts=known.accounts() if known else [],
    )


def _failure(stack: Stack, outcome: Outcome, text: Path) -> str:
    """What went wrong with one stack; empty when nothing did."""
    if outcome.exit_code == 0:
        return ""
    errors = outcome.progress.errors or [_last_lines(text)]
    lines = [f"deploying {stack.name} failed:"]
    if outcome.exit_code < 0:
        lines.append(f"  the engine was ended by signal {-outcome.exit_code}")
    lines += [f"  {each}" for each in dict.fromkeys(errors[:SHOWN_ERRORS])]
    return "\n".join([*lines, f"  all that the engine said: {text}"])


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
        return "the engine said nothing"
