"""Child processes of one control plane: started, logged, watched, ended, and written down.

Owns the pids of one folder (`processes.json`): a supervisor that was killed leaves them behind, and the next one must
end exactly those before it starts its own. Leaves out command lines (`commands.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner_platform_sandbox.processes import ProcessId, end, memory
from runner_platform_sandbox.state import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATIENCE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL. An API server with a watcher takes a minute to end by itself; etcd keeps everything."""

_LEFTOVER_SECONDS = 2.0
"""The same for what nobody waits for any more."""

_LOG_BYTES = 8 * 1024 * 1024
_TAIL_LINES = 6


@dataclass(frozen=True, kw_only=True)
class ProcessInfo:
    """One process, for a table."""

    name: str
    pid: int
    started: float
    """Seconds since the epoch."""
    ports: dict[str, int] = field(default_factory=dict)
    """Loopback ports it listens on, by use."""
    memory: int
    """Resident bytes."""


class Children:
    """The processes of one folder.

    Args:
        folder: Holds `processes.json`, `logs/` and `home/`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = folder / "processes.json"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._identities: dict[str, ProcessId] = {}
        self._ports: dict[str, dict[str, int]] = {}

    def start(self, name: str, command: Sequence[str], ports: Mapping[str, int] | None = None) -> None:
        """Start a process unless it runs; its output goes to `logs/<name>.log`."""
        if self.runs(name):
            return
        log = self._open_log(name)
        try:
            # A process group of its own: Ctrl-C in a terminal must reach the supervisor only, which ends them in order.
            # The session stays the supervisor's: that is how a later start recognises what a killed one left.
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        finally:
            os.close(log)
        self._processes[name] = process
        self._identities[name] = ProcessId.of(process.pid) or ProcessId(pid=process.pid, started=time.time())
        self._ports[name] = dict(ports or {})
        self._write()

    def runs(self, name: str) -> bool:
        """Whether this process was started here and lives."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def exit_code(self, name: str) -> int | None:
        """Return how a process ended: its code, minus the signal's number, None while it runs or never started."""
        process = self._processes.get(name)
        return None if process is None else process.poll()

    def stop(self, *names: str) -> None:
        """End processes together: SIGTERM to all, 5 seconds, SIGKILL to those left."""
        chosen = [self._processes[name] for name in names if self.runs(name)]
        for process in chosen:
            process.terminate()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for process in chosen:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.01, deadline - time.monotonic()))
        for process in chosen:
            if process.poll() is None:
                process.kill()
                process.wait()
        for name in names:
            self._processes.pop(name, None)
            self._identities.pop(name, None)
        self._write()

    def end_leftovers(self) -> list[str]:
        """End what an earlier supervisor started in this folder and could not end; returns the names."""
        try:
            recorded = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):
            return []
        mine = {process.pid for process in self._processes.values()}
        left = [entry for entry in recorded if entry["pid"] not in mine]
        # Clients first, as in an orderly stop: they are written last.
        return [
            entry["name"]
            for entry in reversed(left)
            if end(ProcessId(pid=entry["pid"], started=entry["started"]), patience=_LEFTOVER_SECONDS)
        ]

    def table(self) -> list[ProcessInfo]:
        """Return the live processes."""
        return [
            ProcessInfo(
                name=name,
                pid=identity.pid,
                started=identity.started,
                ports=self._ports[name],
                memory=memory([identity]),
            )
            for name, identity in self._identities.items()
            if self.runs(name)
        ]

    def log_tail(self, name: str) -> str:
        """Return the last lines that a process wrote, for an error message."""
        try:
            lines = (self._folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])

    def _open_log(self, name: str) -> int:
        file = self._folder / "logs" / f"{name}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        too_long = file.exists() and file.stat().st_size > _LOG_BYTES
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if too_long else os.O_APPEND)
        return os.open(file, flags | os.O_CLOEXEC, 0o600)

    def _environment(self) -> dict[str, str]:
        home = self._folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        # GOGC trades a little CPU for about a fifth of the memory of five idle Go processes.
        environment = {"HOME": str(home), "PATH": os.environ.get("PATH", os.defpath), "GOGC": "40"}
        if "RUNNER_PLATFORM_SANDBOX" in os.environ:
            environment["RUNNER_PLATFORM_SANDBOX"] = os.environ["RUNNER_PLATFORM_SANDBOX"]
        return environment

    def _write(self) -> None:
        entries = [
            {"name": name, "pid": identity.pid, "started": identity.started}
            for name, identity in self._identities.items()
        ]
        replace(self._record, json.dumps(entries, indent=1))
