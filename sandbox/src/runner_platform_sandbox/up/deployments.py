"""Runs deployments for `make up`: each is a process of `runner-platform up`, the driver that people and pipelines use too.

Owns those processes: a session of their own, SIGINT forwarded, their identity on disk so that what a killed run left behind can be ended,
and reading the events that they write. Leaves out what is deployed (`runner_platform_sandbox.up.deployments`); locks, repairs and signals of the engine are the
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
    follow(runs, watch)
    end_leftovers(engine.paths)
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
