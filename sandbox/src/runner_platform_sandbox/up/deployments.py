"""Deployments of `make up`: the three stacks in their order, each by a process of `runner-platform up`.

People and pipelines use the same driver (docs/operate/driver.md); it makes a missing stack, waits for locks and mends the
state after a killed run. A driver gets a session of its own, and its identity is written to disk, so that a later run
can end the processes of a killed one. SIGINT is passed on.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psutil

from runner_platform_sandbox import processes, state
from runner_platform_sandbox.errors import INTERRUPTED, LOCKED, SandboxError
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from runner_platform_sandbox.paths import Paths

POLL_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 5.0
LAST_WORDS_SECONDS: Final = 30.0
"""How long a driver whose `make up` was killed gets to finish the operations it has begun."""
TURN: Final = "60s"
"""How long a deployment waits for another that holds its stack."""
SETTLE_SECONDS: Final = 1.0
"""The supervisor looks twice a second, so it may not have noted a death of this instant yet."""
DRIVER: Final = (sys.executable, "-m", "runner_platform")
LEFTOVER_PREFIX: Final = "found: "
"""Begins a note of the driver about the remains of a killed run."""
_CODES: Final = {"interrupted": INTERRUPTED, "locked": LOCKED}


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack and the folder of its project."""

    name: str
    folder: Path


def stages(project: Path = PROJECT) -> list[list[Stack]]:
    """Return all stacks in the order of their dependencies; those of one stage are deployed side by side."""
    return [
        [Stack(name="foundation", folder=project / "foundation")],
        [Stack(name="dev", folder=project), Stack(name="prod", folder=project)],
    ]


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One stack after a successful `up`."""

    stack: str
    resources: int
    """Resources in the stack's state, including the engine's own (stack, providers)."""
    changes: dict[str, int]
    """Number of changed resources by operation."""
    seconds: float
    accounts: list[str]
    """Ids of the AWS accounts with resources of the stack."""

    @property
    def changes_text(self) -> str:
        """The changes in words, such as `3 create, 1 update`."""
        return ", ".join(f"{count} {operation}" for operation, count in self.changes.items()) or "no changes"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How to call the driver."""

    paths: Paths
    environment: Mapping[str, str]
    """Complete environment of the driver."""
    folder: Path
    """The repository."""
    program: Sequence[str] = DRIVER
    """Command line of `runner-platform`."""


@dataclass
class Events:
    """The events of a driver so far."""

    message: str = ""
    """The present activity, in one line."""
    changed: int = 0
    """Finished operations that changed a resource."""
    leftovers: list[str] = field(default_factory=list)
    """Remains of a killed run."""
    result: dict[str, Any] = field(default_factory=dict)
    """The end; empty while the driver runs, and after it was killed."""

    def add(self, event: dict[str, Any]) -> None:
        """Add one event; an unknown event is ignored."""
        if event["event"] == "progress":
            self.message, self.changed = event["message"], event["changed"]
        elif event["event"] == "note" and event["message"].startswith(LEFTOVER_PREFIX):
            self.leftovers.append(event["message"].removeprefix(LEFTOVER_PREFIX))
        elif event["event"] == "result":
            self.result = event


class Follower:
    """Reads the driver's growing JSON document, an array with one event a line.

    Args:
        file: The document; it may not exist yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._unfinished = b""

    def read(self, events: Events) -> None:
        """Add the events since the last call; an unfinished line waits for the next call."""
        try:
            with self._file.open("rb") as document:
                document.seek(self._offset)
                new = document.read()
        except FileNotFoundError:
            return
        self._offset += len(new)
        *lines, self._unfinished = (self._unfinished + new).split(b"\n")
        for line in lines:
            if line.strip(b"[,]"):
                events.add(json.loads(line.lstrip(b"[,")))


class Run:
    """One deployment.

    Args:
        engine: How to call the driver.
        stack: The stack's name; also names the files `pulumi-<stack>.events` and `.txt`.
    """

    def __init__(self, engine: Engine, stack: str) -> None:
        document = engine.paths.logs / f"pulumi-{stack}.events"
        self.text = document.with_suffix(".txt")
        """The driver's output for people."""
        self.events = Events()
        self._follower = Follower(document)
        with document.open("wb") as output, self.text.open("wb") as text:
            self.process = subprocess.Popen(
                [*engine.program, "up", "--stack", stack, "--create", "--wait", TURN, "--json"],
                cwd=engine.folder,
                env=dict(engine.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=text,
                start_new_session=True,
            )
        _record(engine.paths, stack, self.process.pid)

    def poll(self) -> bool:
        """Read new events; returns whether the driver still runs."""
        running = self.process.poll() is None
        self._follower.read(self.events)
        return running


def deploy(
    engine: Engine, stage: Sequence[Stack], watch: Callable[[str, Events], None], say: Callable[[str], None]
) -> list[Deployed]:
    """Deploy stacks side by side.

    Args:
        engine: How to call the driver.
        stage: Stacks that do not need each other; made if they do not exist.
        watch: Is called several times a second with a stack's name and its events so far.
        say: Takes sentences for a person, such as the remains of a killed run.

    Raises:
        SandboxError: A deployment failed (1), was interrupted with its state saved (3), or a live run holds a stack (4).
            Every driver has ended then.
    """
    began = time.time()
    runs = {stack.name: Run(engine, stack.name) for stack in stage}
    follow(runs, watch)
    end_leftovers(engine.paths)
    for name, run in runs.items():
        for text in run.events.leftovers:
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


def follow(runs: Mapping[str, Run], watch: Callable[[str, Events], None]) -> None:
    """Follow runs side by side until all have ended.

    Args:
        runs: By stack.
        watch: Is called several times a second with a stack's name and its events so far.
    """
    with _interrupts([run.process for run in runs.values()]):
        while True:
            running = [run.poll() for run in runs.values()]
            for name, run in runs.items():
                watch(name, run.events)
            if not any(running):
                return
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _interrupts(running: Sequence[subprocess.Popen[bytes]]) -> Iterator[threading.Event]:
    """Pass SIGINT and SIGTERM on to the drivers, which let their engines save the state."""
    interrupted = threading.Event()

    def forward(number: int, _: FrameType | None) -> None:
        del number
        interrupted.set()
        for process in running:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    """Return the reason of one stack's failure, and where to read more."""
    result, code = run.events.result, run.process.returncode
    if result:
        reason = str(result["message"])
    else:
        how = f"was ended by signal {-code}" if code < 0 else "ended without a result"
        reason = f"deploying {stack} failed: the driver {how}\n  {_last_lines(run.text)}"
    return f"{reason}\n  whole output: {run.text}"


def _require_none(engine: Engine, failures: list[str], since: float) -> None:
    if not failures:
        return
    time.sleep(SETTLE_SECONDS)
    notes = supervisor_notes(engine.paths, since)
    if notes:
        failures = [*failures, "\n".join(["meanwhile in the sandbox:", *(f"  {text}" for text in notes)])]
    raise SandboxError("\n".join(failures), "`make up` goes on from there")


def supervisor_notes(paths: Paths, since: float) -> list[str]:
    """Return the supervisor's notes of the time since then: a server that died is a likely cause of a failure.

    Args:
        paths: The sandbox.
        since: Seconds since the epoch.
    """
    current = state.read(paths)
    if current is None:
        return []
    texts = [event.text for event in current.events if event.time >= since]
    if not current.running:
        texts.append("the supervisor is gone: nothing restarts the servers any more")
    return [*texts, *([current.failure] if current.failure and current.failure not in texts else [])]


def _last_lines(file: Path, count: int = 15) -> str:
    try:
        return "\n  ".join(file.read_text(errors="replace").strip().splitlines()[-count:])
    except OSError:
        return "it wrote no output"


def end_leftovers(paths: Paths) -> list[int]:
    """End the drivers of earlier runs, which live on when their `make up` is killed.

    Returns:
        Ids of the ended processes.
    """
    ended: list[int] = []
    for record in sorted(_records(paths).glob("*.json")):
        driver = processes.read_record(record)
        if driver is not None:
            ended += _end(paths, driver)
        record.unlink(missing_ok=True)
    return ended


def _end(paths: Paths, leader: ProcessId) -> list[int]:
    members = processes.in_session(leader.pid, paths.root)
    driver = leader.find()
    if (
        driver is not None
    ):  # only `make up` was killed: the engine can still write the resources it is making to the state
        driver.send_signal(signal.SIGINT)
        psutil.wait_procs([driver], timeout=LAST_WORDS_SECONDS)
        processes.end(leader, patience=PATIENCE_SECONDS)
    for process in members:
        processes.end(process, patience=PATIENCE_SECONDS)
    return [process.pid for process in members]


def _record(paths: Paths, name: str, pid: int) -> None:
    identity = ProcessId.of(pid)
    if identity is not None:
        processes.write_record(_records(paths) / f"{name}.json", identity)


def _records(paths: Paths) -> Path:
    return paths.root / "engines"
