"""Runs the real Pulumi CLI for `make up`.

Owns the process: a session of its own, SIGINT forwarded, its identity on disk so that what a killed run left behind
can be ended. Leaves out what is deployed (`sandbox.deploy`) and what the events mean (`sandbox.engine_log`).
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil

from sandbox import processes, state
from sandbox.engine_log import Follower, Progress
from sandbox.errors import SandboxError
from sandbox.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from sandbox.paths import Paths

POLL_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 5.0
LAST_WORDS_SECONDS: Final = 30.0
"""How long an engine without its `make up` gets to finish what it has begun."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How the engine is called: for one project, with one environment."""

    paths: Paths
    program: str
    """Absolute path of `pulumi`."""
    environment: Mapping[str, str]
    """Complete environment of the engine."""

    def query(self, arguments: Sequence[str], project: Path, *, stdin: str | None = None) -> str:
        """Run a short command and return its standard output.

        Raises:
            SandboxError: It failed; holds what it wrote.
        """
        try:
            done = subprocess.run(
                [self.program, *arguments, "--non-interactive", "--color", "never"],
                cwd=project,
                env=dict(self.environment),
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                process_group=0,
            )
        except OSError as error:
            raise SandboxError(f"cannot run {self.program}: {error.strerror}", "run `make up` to set it up") from error
        if done.returncode != 0:
            raise SandboxError(f"pulumi {' '.join(arguments[:2])} failed in {project.name}: {done.stderr.strip()}")
        return done.stdout


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one engine run ended."""

    exit_code: int
    """Minus the signal's number when a signal ended it."""
    progress: Progress
    seconds: float
    interrupted: bool
    """Whether a person asked it to stop."""


class Run:
    """A long command of the engine, followed through its event log.

    Args:
        engine: How to call it.
        arguments: Of `pulumi`.
        project: The working folder.
        name: Unique among the runs of a moment; names the log files `pulumi-<name>.events` and `.txt`.
    """

    def __init__(self, engine: Engine, arguments: Sequence[str], project: Path, name: str) -> None:
        events = engine.paths.logs / f"pulumi-{name}.events"
        events.unlink(missing_ok=True)
        self.text = events.with_suffix(".txt")
        """What the engine prints."""
        self.progress = Progress()
        self._follower = Follower(events)
        self._began = time.monotonic()
        self._seconds = 0.0
        with self.text.open("wb") as output:
            self.process = subprocess.Popen(
                [engine.program, *arguments, "--non-interactive", "--color", "never", "--event-log", str(events)],
                cwd=project,
                env={**engine.environment, "PULUMI_DEBUG_COMMANDS": "true"},  # what makes --event-log available
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        _remember(engine.paths, name, self.process.pid)

    def poll(self) -> bool:
        """Take in what has happened; returns whether it still runs."""
        running = self.process.poll() is None
        self._follower.read(self.progress)
        if not running and not self._seconds:
            self._seconds = time.monotonic() - self._began
        return running

    def outcome(self, *, interrupted: bool) -> Outcome:
        """How it ended; valid once `poll` said so."""
        return Outcome(
            exit_code=self.process.returncode,
            progress=self.progress,
            seconds=self._seconds,
            interrupted=interrupted,
        )


def follow(runs: Mapping[str, Run], watch: Callable[[str, Progress], None]) -> dict[str, Outcome]:
    """Follow runs side by side until all have ended.

    Args:
        runs: By name.
        watch: Is called several times a second with a run's name and what is known of it.
    """
    with _interrupts([run.process for run in runs.values()]) as interrupted:
        while True:
            running = [run.poll() for run in runs.values()]
            for name, run in runs.items():
                watch(name, run.progress)
            if not any(running):
                break
            time.sleep(POLL_SECONDS)
        return {name: run.outcome(interrupted=interrupted.is_set()) for name, run in runs.items()}


def end_leftovers(paths: Paths) -> list[int]:
    """End what is left of earlier engine runs: a killed engine leaves program and providers behind.

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
    engine = leader.find()
    if engine is not None:  # only `make up` was killed: the engine can still write down what it is making
        engine.send_signal(signal.SIGINT)
        psutil.wait_procs([engine], timeout=LAST_WORDS_SECONDS)
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
    """Pass SIGINT and SIGTERM on to the engines: the first lets them save their state, the second stops them at once."""
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
