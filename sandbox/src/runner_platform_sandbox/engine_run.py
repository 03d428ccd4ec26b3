"""Runs deployments for `make up`: each is a process of `runner-platform up`, the driver that people and pipelines use too.

Owns those processes: a session of their own, SIGINT forwarded, their identity on disk so that what a killed run left behind can be ended,
and reading the events that they write. Leaves out what is deployed (`runner_platform_sandbox.deploy`); locks, repairs and signals of the engine are the
driver's (`docs/operate/driver.md`).
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
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from runner_platform_sandbox.paths import Paths

POLL_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 5.0
LAST_WORDS_SECONDS: Final = 30.0
"""How long a driver without its `make up` gets to finish what it has begun."""
TURN: Final = "60s"
"""How long a deployment waits for another one that holds its stack."""
DRIVER: Final = (sys.executable, "-m", "runner_platform")
FOUND: Final = "found: "
"""Begins what the driver says of an earlier run's remains."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How the driver is called: with one environment, in one folder."""

    paths: Paths
    environment: Mapping[str, str]
    """Complete environment of the driver."""
    folder: Path
    """The repository."""
    program: Sequence[str] = DRIVER
    """Command line of `runner-platform`."""


@dataclass
class Events:
    """What a driver's events say so far."""

    message: str = ""
    """What is being done, in one line."""
    changed: int = 0
    """Finished operations that changed something."""
    found: list[str] = field(default_factory=list)
    """What an earlier run had left."""
    result: dict[str, Any] = field(default_factory=dict)
    """How it ended; empty while it runs, and where it was killed."""

    def add(self, event: dict[str, Any]) -> None:
        """Take one event into account; unknown ones are nothing."""
        if event["event"] == "progress":
            self.message, self.changed = event["message"], event["changed"]
        elif event["event"] == "note" and event["message"].startswith(FOUND):
            self.found.append(event["message"].removeprefix(FOUND))
        elif event["event"] == "result":
            self.result = event


class Follower:
    """Reads the driver's document, an array with one event a line, as it grows.

    Args:
        file: The document; it may not exist yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._rest = b""

    def read(self, events: Events) -> None:
        """Take in what was written since the last call; a line that is not whole yet waits for the next."""
        try:
            with self._file.open("rb") as document:
                document.seek(self._offset)
                new = document.read()
        except FileNotFoundError:
            return
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            if line.strip(b"[,]"):
                events.add(json.loads(line.lstrip(b"[,")))


class Run:
    """One deployment.

    Args:
        engine: How the driver is called.
        stack: The stack's name; also names the files `pulumi-<stack>.events` and `.txt`.
    """

    def __init__(self, engine: Engine, stack: str) -> None:
        document = engine.paths.logs / f"pulumi-{stack}.events"
        self.text = document.with_suffix(".txt")
        """What the driver says to people."""
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
        _remember(engine.paths, stack, self.process.pid)

    def poll(self) -> bool:
        """Take in what has happened; returns whether it still runs."""
        running = self.process.poll() is None
        self._follower.read(self.events)
        return running


def follow(runs: Mapping[str, Run], watch: Callable[[str, Events], None]) -> None:
    """Follow runs side by side until all have ended.

    Args:
        runs: By stack.
        watch: Is called several times a second with a stack's name and what is known of it.
    """
    with _interrupts([run.process for run in runs.values()]):
        while True:
            running = [run.poll() for run in runs.values()]
            for name, run in runs.items():
                watch(name, run.events)
            if not any(running):
                return
            time.sleep(POLL_SECONDS)


def end_leftovers(paths: Paths) -> list[int]:
    """End what is left of earlier runs: drivers live on when their `make up` is killed.

    Returns:
        Ids of the processes that were ended.
    """
    ended: list[int] = []
    for record in sorted(_records(paths).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            recorded = json.loads(record.read_text())
            ended += _end(paths, ProcessId(pid=int(recorded["pid"]), started=float(recorded["started"])))
        record.unlink(missing_ok=True)
    return ended


def _end(paths: Paths, leader: ProcessId) -> list[int]:
    left = processes.in_session(leader.pid, paths.root)
    driver = leader.find()
    if driver is not None:  # only `make up` was killed: the engine can still write down what it is making
        driver.send_signal(signal.SIGINT)
        psutil.wait_procs([driver], timeout=LAST_WORDS_SECONDS)
        processes.end(leader, patience=PATIENCE_SECONDS)
    for process in left:
        processes.end(process, patience=PATIENCE_SECONDS)
    return [process.pid for process in left]


def _remember(paths: Paths, name: str, pid: int) -> None:
    known = ProcessId.of(pid)
    if known is not None:
        state.replace(_records(paths) / f"{name}.json", json.dumps({"pid": known.pid, "started": known.started}))


def _records(paths: Paths) -> Path:
    return paths.root / "engines"


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
