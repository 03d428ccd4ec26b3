"""Processes of the sandbox: identity, orderly end, memory, and servers as child processes.

A process is known by its id and start time, never by its name: the kernel hands ids out again, so an id alone proves
nothing after a reboot or a long night.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import psutil

from runner_platform_sandbox import disk
from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths

START_TOLERANCE: Final = 0.05
"""Seconds. Start times come from clock ticks and lose a little of their precision in JSON."""
_LOG_LINES: Final = 8
_POLL_SECONDS: Final = 0.05
_INHERITED: Final = ("PATH", "LANG", "TMPDIR", "RUNNER_PLATFORM_SANDBOX")


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """One process: its id and its start time."""

    pid: int
    started: float
    """Seconds since the epoch, as `psutil.Process.create_time` gives them."""

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the identity of the process with this id, or None if no process has it."""
        try:
            return cls(pid=pid, started=psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    @classmethod
    def mine(cls) -> ProcessId:
        """Return the identity of this process."""
        return cls(pid=os.getpid(), started=psutil.Process().create_time())

    def find(self) -> psutil.Process | None:
        """Return the live process, or None if it ended, is a zombie, or another process has the id by now."""
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


def write_record(file: Path, process: ProcessId) -> None:
    """Write down a process, so that a later command can end it if this one is killed."""
    disk.replace(file, json.dumps(asdict(process)))


def read_record(file: Path) -> ProcessId | None:
    """Return a process that was written down, or None if the file is absent or not one."""
    try:
        recorded = json.loads(file.read_text())
        return ProcessId(pid=int(recorded["pid"]), started=float(recorded["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def family(process: ProcessId) -> list[ProcessId]:
    """Return a live process and its descendants, parents first; an empty list if it ended."""
    parent = process.find()
    if parent is None:
        return []
    members = [parent]
    with contextlib.suppress(psutil.Error):
        members += parent.children(recursive=True)
    return [identity for member in members if (identity := ProcessId.of(member.pid)) is not None]


def end(process: ProcessId, *, patience: float, tree: bool = True) -> bool:
    """End a process: SIGTERM, a wait, then SIGKILL.

    Args:
        process: The process. Another process with the same id and a different start time is left alone.
        patience: Seconds between the two signals.
        tree: Whether to kill descendants that outlive the process, too.

    Returns:
        Whether the process was running.
    """
    members = family(process) if tree else [process]
    if not process.alive:
        return False
    _signal(process, signal.SIGTERM)
    _wait([process], patience)
    survivors = [member for member in members if member.alive]
    for member in survivors:
        _signal(member, signal.SIGKILL)
    _wait(survivors, patience)
    return True


def in_session(session: int, root: Path) -> list[ProcessId]:
    """Return the processes of a session that belong to the sandbox at `root`.

    The session's id alone could have been handed out again. A member must also have the sandbox's root in the
    environment that it was started with.
    """
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session and process.environ().get("RUNNER_PLATFORM_SANDBOX") == str(root):
                members.append(ProcessId(pid=process.pid, started=process.create_time()))
    return members


def memory(processes: Iterable[ProcessId]) -> int:
    """Return the resident bytes of the live processes, added up."""
    return _total(processes, lambda process: int(process.memory_info().rss))


def shared_memory(processes: Iterable[ProcessId]) -> int:
    """Return the bytes that the live processes have in memory; a shared page counts once (proportional set size)."""
    return _total(processes, lambda process: int(process.memory_full_info().pss))


def _total(processes: Iterable[ProcessId], measure: Callable[[psutil.Process], int]) -> int:
    total = 0
    for identity in processes:
        process = identity.find()
        if process is not None:
            with contextlib.suppress(psutil.Error):
                total += measure(process)
    return total


def _signal(identity: ProcessId, number: signal.Signals) -> None:
    process = identity.find()
    if process is not None:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _wait(identities: list[ProcessId], patience: float) -> None:
    live = [process for identity in identities if (process := identity.find()) is not None]
    psutil.wait_procs(live, timeout=patience)


class ServerProcess:
    """A server of the sandbox as a child process. A subclass adds the command line and the readiness check."""

    name: ClassVar[str]
    """As it appears in a sentence, such as `the AWS server`."""
    log_name: ClassVar[str]
    """File in `paths.logs`."""
    ready_seconds: ClassVar[float]
    """Longest wait for the first answer."""
    stop_seconds: ClassVar[float]
    """Longest wait for an orderly end."""
    error: ClassVar[type[SandboxError]] = SandboxError
    """Raised if the server does not start."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None if this object started no server."""
        return None if self._process is None else self._process.pid

    @property
    def ended(self) -> int | None:
        """Exit status (minus the signal's number after a signal), or None while the server runs."""
        return None if self._process is None else self._process.poll()

    def alive(self) -> bool:
        """Whether the process that was started here still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask the server to end, and kill it if it does not. Its state is on disk either way."""
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
        """Start the server unless it runs, and return once it answers.

        Args:
            paths: The sandbox. It holds the server's HOME and log; the person's settings are not passed on.
            command: Program and arguments.
            folder: Working directory; made if absent.
            variables: Further environment variables.
            answers: Whether this very server answers, not another one on its port.

        Raises:
            SandboxError: The server ended or did not answer in time; the message has the end of its log.
        """
        if self.alive():
            return
        for directory in (folder, paths.logs, paths.home):
            directory.mkdir(parents=True, exist_ok=True)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        log = paths.logs / self.log_name
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, "HOME": str(paths.home), "PYTHONUNBUFFERED": "1", **variables},
                cwd=folder,
            )
        self._wait(log, answers)

    def _wait(self, log: Path, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.ready_seconds
        while time.monotonic() < deadline:
            if not self.alive():
                raise self.error(f"{self.name} ended at once\n{_log_end(log)}")
            if answers():
                return
            time.sleep(_POLL_SECONDS)
        self.stop()
        raise self.error(f"{self.name} did not answer within {self.ready_seconds:.0f} s\n{_log_end(log)}")


def _log_end(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join([f"the end of {log}:", *lines])
