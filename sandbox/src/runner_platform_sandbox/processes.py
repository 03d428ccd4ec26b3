"""Processes as the sandbox knows them: never by name, always by id and start time.

Owns the identity of a process and its orderly end. Leaves out starting them: each part knows its own command line.
A process id alone proves nothing after a reboot or a long night, since the kernel hands ids out again; with the start
time it names one process for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

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
