"""Processes as the sandbox knows them: never by name, always by id and start time.

Owns the identity of a process and its orderly end. Leaves out starting them: each part knows its own command line.
A process id alone proves nothing after a reboot or a long night, since the kernel hands ids out again; with the start
time it names one process for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import psutil

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths


START_TOLERANCE = 0.05
"""Seconds; start times are computed from clock ticks and survive a round trip through JSON, but not to the last bit."""


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """One process, for ever."""

    pid: int
    started: float
    """Seconds since the epoch, as `psutil.Process.create_time` gives them."""

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of the process that has this id now, None when there is none."""
        try:
            return cls(pid=pid, started=psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    @classmethod
    def mine(cls) -> ProcessId:
        """The identity of this process."""
        return cls(pid=os.getpid(), started=psutil.Process().create_time())

    def find(self) -> psutil.Process | None:
        """The live process, None when it has ended, is a zombie, or its id belongs to another one by now."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < START_TOLERANCE
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return self.find() is not None


def family(process: ProcessId) -> list[ProcessId]:
    """A live process and everything below it, parents first; empty when it has ended."""
    found = process.find()
    if found is None:
        return []
    members = [found]
    with contextlib.suppress(psutil.Error):
        members += found.children(recursive=True)
    return [known for member in members if (known := ProcessId.of(member.pid)) is not None]


def end(process: ProcessId, *, patience: float, tree: bool = True) -> bool:
    """End one process: SIGTERM, `patience` seconds, then SIGKILL; with `tree` also what it leaves behind.

    Args:
        process: Who; a process with the same id and another start time is left alone.
        patience: Seconds between the two signals.
        tree: Whether children that outlive their parent are ended too.

    Returns:
        Whether there was something to end.
    """
    members = family(process) if tree else [process]
    found = process.find()
    if found is None:
        return False
    _signal(process, signal.SIGTERM)
    _wait([process], patience)
    left = [member for member in members if member.alive]
    for member in left:
        _signal(member, signal.SIGKILL)
    _wait(left, patience)
    return True


def in_session(session: int, root: Path) -> list[ProcessId]:
    """Processes of a session that were started for the sandbox at `root`.

    The session's id alone could have been handed out again, so each member must also carry the sandbox's root in the
    environment that it was started with.
    """
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session and process.environ().get("RUNNER_PLATFORM_SANDBOX") == str(root):
                members.append(ProcessId(pid=process.pid, started=process.create_time()))
    return members


def memory(processes: Iterable[ProcessId]) -> int:
    """Resident bytes of the given processes together; ended ones count as nothing."""
    return _total(processes, lambda process: int(process.memory_info().rss))


def shared_memory(processes: Iterable[ProcessId]) -> int:
    """Bytes in memory of the given processes together, each shared page counted once (proportional set size)."""
    return _total(processes, lambda process: int(process.memory_full_info().pss))


def _total(processes: Iterable[ProcessId], measure: Callable[[psutil.Process], int]) -> int:
    total = 0
    for known in processes:
        process = known.find()
        if process is not None:
            with contextlib.suppress(psutil.Error):
                total += measure(process)
    return total


def _signal(process: ProcessId, number: signal.Signals) -> None:
    found = process.find()
    if found is not None:
        with contextlib.suppress(psutil.Error):
            found.send_signal(number)


def _wait(processes: list[ProcessId], patience: float) -> None:
    live = [found for known in processes if (found := known.find()) is not None]
    psutil.wait_procs(live, timeout=patience)


_SHOWN_LINES: Final = 8
_POLL_SECONDS: Final = 0.05
_INHERITED: Final = ("PATH", "LANG", "TMPDIR", "RUNNER_PLATFORM_SANDBOX")


class ServerProcess:
    """One server; a subclass says how it is started and when it answers."""

    name: ClassVar[str]
    """In sentences, such as `the AWS server`."""
    log_name: ClassVar[str]
    """File in `paths.logs`."""
    ready_seconds: ClassVar[float]
    """How long it may take to answer."""
    stop_seconds: ClassVar[float]
    """How long it may take to end by itself."""
    error: ClassVar[type[SandboxError]] = SandboxError
    """What is raised when it does not start."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None when the server was not started by this object."""
        return None if self._process is None else self._process.pid

    @property
    def ended(self) -> int | None:
        """Exit status, minus the number of the signal that ended it; None while it runs or was never started."""
        return None if self._process is None else self._process.poll()

    def alive(self) -> bool:
        """Whether the process that was started here still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask the server to end, and kill it when it does not; its state is on disk either way."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def _launch(
        self,
        paths: Paths,
        command: Sequence[str],
        folder: Path,
        variables: Mapping[str, str],
        answers: Callable[[], bool],
    ) -> None:
        """Start the server where it does not run, and return when it answers.

        Args:
            paths: The sandbox; the server's HOME and log are there, and nothing of the person's is passed on.
            command: Program and arguments.
            folder: Working directory; made if absent.
            variables: What the server's environment holds besides.
            answers: Whether this very server answers: a stranger on its port is not it.

        Raises:
            SandboxError: It ended, or did not answer in time; with the end of its log.
        """
        if self.alive():
            return
        for needed in (folder, paths.logs, paths.home):
            needed.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        log = paths.logs / self.log_name
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**kept, "HOME": str(paths.home), "PYTHONUNBUFFERED": "1", **variables},
                cwd=folder,
            )
        self._wait(log, answers)

    def _wait(self, log: Path, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.ready_seconds
        while time.monotonic() < deadline:
            if not self.alive():
                raise self.error(f"{self.name} ended at once; its log {log} ends with:\n{_end_of(log)}")
            if answers():
                return
            time.sleep(_POLL_SECONDS)
        self.stop()
        raise self.error(f"{self.name} gave no answer within {self.ready_seconds:.0f} s; see {log}:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:])
