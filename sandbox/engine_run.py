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
MEMORY_EVERY: Final = 4
"""Memory is measured at every n-th poll; it costs more than reading events."""
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
    progress: Progress
    peak_memory: int
    """Highest sum of resident bytes of the engine and all that it started."""
    interrupted: bool
    """Whether a person asked it to stop."""


def run(
    engine: Engine, arguments: Sequence[str], project: Path, log: Path, watch: Callable[[Progress], None]
) -> Outcome:
    """Run a long command, following its events.

    Args:
        engine: How to call it.
        arguments: Of `pulumi`.
        project: The working folder.
        log: Base name of two files: `<log>.events` and `<log>.txt` (what the engine prints).
        watch: Is called several times a second with what is known.
    """
    events, text = log.with_suffix(".events"), log.with_suffix(".txt")
    events.unlink(missing_ok=True)
    with text.open("wb") as output:
        process = subprocess.Popen(
            [engine.program, *arguments, "--non-interactive", "--color", "never", "--event-log", str(events)],
            cwd=project,
            env={**engine.environment, "PULUMI_DEBUG_COMMANDS": "true"},  # what makes --event-log available
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _remember(engine.paths, process.pid)
    progress, follower, peak = Progress(), Follower(events), 0
    with _interrupts(process) as interrupted:
        polls = 0
        while not _ended(process):
            follower.read(progress)
            if polls % MEMORY_EVERY == 0:
                peak = max(peak, _memory(process.pid))
            polls += 1
            watch(progress)
        follower.read(progress)
        watch(progress)
    end_leftovers(engine.paths)
    return Outcome(exit_code=process.returncode, progress=progress, peak_memory=peak, interrupted=interrupted.is_set())


def end_leftovers(paths: Paths) -> list[int]:
    """End what is left of the last engine run: a killed engine leaves program and providers behind.

    Returns:
        Ids of the processes that were ended.
    """
    try:
        recorded = json.loads(_record(paths).read_text())
        leader = ProcessId(pid=int(recorded["pid"]), started=float(recorded["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return []
    left = processes.in_session(leader.pid, paths.root)
    engine = leader.find()
    if engine is not None:  # only `make up` was killed: the engine can still write down what it is making
        engine.send_signal(signal.SIGINT)
        psutil.wait_procs([engine], timeout=LAST_WORDS_SECONDS)
        processes.end(leader, patience=PATIENCE_SECONDS)
    for process in left:
        processes.end(process, patience=PATIENCE_SECONDS)
    _record(paths).unlink(missing_ok=True)
    return [process.pid for process in left]


def _remember(paths: Paths, pid: int) -> None:
    known = ProcessId.of(pid)
    if known is not None:
        state.replace(_record(paths), json.dumps({"pid": known.pid, "started": known.started}))


def _record(paths: Paths) -> Path:
    return paths.root / "engine.json"


def _ended(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(POLL_SECONDS)
    return process.returncode is not None


def _memory(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        known = [ProcessId.of(member.pid) for member in [root, *root.children(recursive=True)]]
        return processes.memory([member for member in known if member is not None])
    return 0


@contextlib.contextmanager
def _interrupts(process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Pass SIGINT and SIGTERM on to the engine: the first lets it save its state, the second makes it stop at once."""
    interrupted = threading.Event()

    def forward(number: int, _: FrameType | None) -> None:
        del number
        interrupted.set()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
