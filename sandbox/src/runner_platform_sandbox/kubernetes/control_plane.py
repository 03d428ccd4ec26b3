"""One Kubernetes control plane: etcd, API server, controller manager, scheduler and kwok on loopback, in one folder.

Owns their order: up (storage, API server, its clients), down in reverse, since an API server with connected clients
takes a minute to end, and the restart of a dead one. `processes.json` in the folder records the process ids: a killed
supervisor leaves processes behind, and the next one ends exactly those before it starts its own.
Leaves out what runs inside the cluster (`cluster`) and the flags (`command_lines`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.disk import replace
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes import command_lines
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.command_lines import Binaries, ClusterSpec, Layout
from runner_platform_sandbox.kubernetes.keys import Keys
from runner_platform_sandbox.ports import HOST, holder, is_free
from runner_platform_sandbox.processes import ProcessId, end, memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATIENCE_SECONDS = 5.0
"""Seconds between SIGTERM and SIGKILL. An API server with a watcher takes a minute to end by itself; etcd loses nothing."""

_LEFTOVER_SECONDS = 2.0
"""Seconds between SIGTERM and SIGKILL for processes of an earlier supervisor."""

_LOG_BYTES = 8 * 1024 * 1024
_TAIL_LINES = 6


ETCD, API_SERVER = "etcd", "kube-apiserver"
CLIENTS = ("kube-controller-manager", "kube-scheduler", "kwok")
NAMES = (ETCD, API_SERVER, *CLIENTS)
READY_SECONDS = 180.0
_POLL_SECONDS = 0.1
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, kw_only=True)
class ProcessInfo:
    """One process, for a table."""

    name: str
    pid: int
    started: float
    """Seconds since the epoch."""
    ports: dict[str, int] = field(default_factory=dict)
    """Its loopback ports, by use."""
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
        """Start a process unless it runs; write its output to `logs/<name>.log`."""
        if self.runs(name):
            return
        log = self._open_log(name)
        try:
            # A separate process group: Ctrl-C in a terminal reaches only the supervisor, which ends the processes in order.
            # The session stays the supervisor's, so that a later start recognises processes of a killed supervisor.
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
        """Whether a process was started by this object and is alive."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def exit_code(self, name: str) -> int | None:
        """Return the exit code of a process (negative: a signal), or None if it runs or was not started."""
        process = self._processes.get(name)
        return None if process is None else process.poll()

    def stop(self, *names: str) -> None:
        """End processes together: SIGTERM to all, and SIGKILL after 5 seconds."""
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
        """End processes that an earlier supervisor left in this folder, and return their names."""
        try:
            recorded = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):
            return []
        running = {process.pid for process in self._processes.values()}
        leftovers = [entry for entry in recorded if entry["pid"] not in running]
        # Clients first, as in an orderly stop: they are recorded last.
        return [
            entry["name"]
            for entry in reversed(leftovers)
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
        """Return the last lines of a process's log, for an error message."""
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


class ControlPlane:
    """The five processes of one cluster.

    Args:
        folder: Keys, data, logs and `admin.kubeconfig`; created if absent, kept over restarts.
        spec: The cluster's settings in EKS.
        binaries: The programs.
    """

    def __init__(self, folder: Path, spec: ClusterSpec, binaries: Binaries) -> None:
        self.folder = folder
        self.spec = spec
        self._binaries = binaries
        self.keys = Keys(folder / "keys")
        self._children = Children(folder)
        self._lock = threading.RLock()
        self._started = False
        self._layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        """Files and ports; the first access chooses the ports and records them."""
        with self._lock:
            if self._layout is None:
                ports = self._ports()
                self._layout = Layout(
                    folder=self.folder, keys=self.keys, etcd_port=ports["etcd"], api_port=ports["api"]
                )
            return self._layout

    @property
    def endpoint(self) -> str:
        """URL of the API server."""
        return self.layout.endpoint

    @property
    def certificate_authority(self) -> str:
        """The authority to trust, PEM in base64, as in EKS."""
        self.keys.ensure()
        return base64.b64encode(self.keys.ca.read_bytes()).decode()

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig of an administrator with a certificate, without AWS."""
        return self.layout.kubeconfig("admin")

    def jwks(self) -> dict[str, Any]:
        """Return the public keys of the cluster's service account tokens."""
        self.keys.ensure()
        return self.keys.jwks()

    def client(self) -> KubeClient:
        """Open a client with the administrator's certificate."""
        return KubeClient.from_kubeconfig(self.admin_kubeconfig)

    def start(self, *, timeout: float = READY_SECONDS) -> list[str]:
        """Start dead processes, wait until the API server is ready, and return the names of the started ones.

        Args:
            timeout: Seconds to wait for etcd, and again for the API server.

        Raises:
            SandboxError: A recorded port is taken, or a process ended or did not become ready; the message ends with its log.
        """
        with self._lock:
            if not self._started:
                self._children.end_leftovers()
                self.keys.ensure()
                command_lines.write_files(self._binaries, self.layout, self.spec)
            self._started = True
            dead = self.dead()
            if ETCD in dead:
                self._start_server(ETCD, command_lines.etcd(self._binaries, self.layout), self.layout.etcd_port)
                self._wait(ETCD, lambda: _accepts(self.layout.etcd_port), timeout)
            if API_SERVER in dead:
                command = command_lines.api_server(self._binaries, self.layout, self.spec)
                self._start_server(API_SERVER, command, self.layout.api_port)
            with self.client() as client:
                self._wait(API_SERVER, client.ready, timeout)
            self._start_clients()
            return dead

    def stop(self) -> None:
        """End all processes, clients of the API server first; keep the folder."""
        with self._lock:
            self._started = False
            self._children.stop(*CLIENTS)
            self._children.stop(API_SERVER)
            self._children.stop(ETCD)
            self._children.end_leftovers()

    def dead(self) -> list[str]:
        """Return the names of dead processes; none after `stop`."""
        return [name for name in NAMES if self._started and not self._children.runs(name)]

    def alive(self) -> bool:
        """Whether all five processes run."""
        return self._started and not self.dead()

    def processes(self) -> list[ProcessInfo]:
        """Return the live processes with their ports and memory."""
        return self._children.table()

    def _start_clients(self) -> None:
        layout, binaries = self.layout, self._binaries
        self._children.start(CLIENTS[0], command_lines.controller_manager(binaries, layout))
        self._children.start(CLIENTS[1], command_lines.scheduler(binaries, layout))
        self._children.start(CLIENTS[2], command_lines.kwok(binaries, layout))

    def _start_server(self, name: str, command: list[str], port: int) -> None:
        if not is_free(port):
            raise SandboxError(
                f"port {port}, which {name} of cluster {self.spec.name} uses, is taken by {holder(port)}",
                "end that process, or `runner-platform sandbox reset` to start clean on other ports",
            )
        self._children.start(name, command, {name: port})

    def _wait(self, name: str, ready: Any, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not ready():
            code = self._children.exit_code(name)
            if code is not None or time.monotonic() > end:
                outcome = f"ended with {code}" if code is not None else f"was not ready after {timeout:.0f} s"
                raise SandboxError(
                    f"{name} of cluster {self.spec.name} {outcome}:\n{self._children.log_tail(name)}",
                    f"its whole log is {self.folder / 'logs' / name}.log",
                )
            time.sleep(_POLL_SECONDS)

    def _ports(self) -> dict[str, int]:
        file = self.folder / command_lines.PORTS
        try:
            recorded = json.loads(file.read_text())
            return {"etcd": int(recorded["etcd"]), "api": int(recorded["api"])}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            raise SandboxError(
                f"{file} is damaged: {error!r}", "`runner-platform sandbox reset` starts clean"
            ) from error
        # Below the kernel's range for outgoing connections, which could hold a recorded port at a restart.
        free = (port for port in random.SystemRandom().sample(_PORTS, len(_PORTS)) if is_free(port))
        ports = {"etcd": next(free), "api": next(free)}
        replace(file, json.dumps(ports))
        return ports


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
