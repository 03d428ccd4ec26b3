"""One Kubernetes control plane: etcd, API server, controller manager, scheduler and kwok on loopback, in one folder.

Owns their order: up (storage, API server, its clients), down (the other way round, since an API server with clients
connected takes a minute to end), and the healing of a single dead one. Leaves out what runs inside the cluster
(`cluster.py`) and the flags (`commands.py`).
"""

from __future__ import annotations

import base64
import json
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes import commands
from runner_platform_sandbox.kubernetes.children import Children, ProcessInfo
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.commands import Binaries, ClusterSpec, Layout
from runner_platform_sandbox.kubernetes.keys import Keys
from runner_platform_sandbox.ports import HOST, holder, is_free
from runner_platform_sandbox.state import replace

if TYPE_CHECKING:
    from pathlib import Path

ETCD, API_SERVER = "etcd", "kube-apiserver"
CLIENTS = ("kube-controller-manager", "kube-scheduler", "kwok")
NAMES = (ETCD, API_SERVER, *CLIENTS)

READY_SECONDS = 180.0
_POLL_SECONDS = 0.1
_PORTS = range(20_000, 32_000)


class ControlPlane:
    """The five processes of one cluster.

    Args:
        folder: Keys, data, logs and `admin.kubeconfig`; made if absent, kept over restarts.
        spec: What EKS says about the cluster.
        binaries: The programs.
    """

    def __init__(self, folder: Path, spec: ClusterSpec, binaries: Binaries) -> None:
        self.folder = folder
        self.spec = spec
        self._binaries = binaries
        self.keys = Keys(folder / "keys")
        self._children = Children(folder)
        self._lock = threading.RLock()
        self._wanted = False
        self._layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        """Files and ports; the ports are chosen, and written down, when they are first asked for."""
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
        """The authority to trust, PEM in base64, as EKS gives it."""
        self.keys.ensure()
        return base64.b64encode(self.keys.ca.read_bytes()).decode()

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig of an administrator who needs no AWS."""
        return self.layout.kubeconfig("admin")

    def jwks(self) -> dict[str, Any]:
        """Return the public keys of the cluster's service account tokens."""
        self.keys.ensure()
        return self.keys.jwks()

    def client(self) -> KubeClient:
        """Open a client with the administrator's certificate."""
        return KubeClient.from_kubeconfig(self.admin_kubeconfig)

    def start(self, *, timeout: float = READY_SECONDS) -> list[str]:
        """Start what does not run and wait until the API server is ready; returns the names that were started.

        Args:
            timeout: Seconds to wait for etcd and for the API server, each.

        Raises:
            SandboxError: A kept port is taken, or a process ended or did not become ready; with the end of its log.
        """
        with self._lock:
            if not self._wanted:
                self._children.end_leftovers()
                self.keys.ensure()
                commands.write_files(self._binaries, self.layout, self.spec)
            self._wanted = True
            dead = self.dead()
            if ETCD in dead:
                self._start_server(ETCD, commands.etcd(self._binaries, self.layout), self.layout.etcd_port)
                self._wait(ETCD, lambda: _accepts(self.layout.etcd_port), timeout)
            if API_SERVER in dead:
                command = commands.api_server(self._binaries, self.layout, self.spec)
                self._start_server(API_SERVER, command, self.layout.api_port)
            with self.client() as client:
                self._wait(API_SERVER, client.ready, timeout)
            self._start_clients()
            return dead

    def stop(self) -> None:
        """End all processes, clients of the API server first; what is on disk stays."""
        with self._lock:
            self._wanted = False
            self._children.stop(*CLIENTS)
            self._children.stop(API_SERVER)
            self._children.stop(ETCD)
            self._children.end_leftovers()

    def dead(self) -> list[str]:
        """Name the processes that should run and do not; empty after `stop`."""
        return [name for name in NAMES if self._wanted and not self._children.runs(name)]

    def alive(self) -> bool:
        """Tell whether all five run."""
        return self._wanted and not self.dead()

    def processes(self) -> list[ProcessInfo]:
        """Return the live processes with their ports and memory."""
        return self._children.table()

    def _start_clients(self) -> None:
        layout, binaries = self.layout, self._binaries
        self._children.start(CLIENTS[0], commands.controller_manager(binaries, layout))
        self._children.start(CLIENTS[1], commands.scheduler(binaries, layout))
        self._children.start(CLIENTS[2], commands.kwok(binaries, layout))

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
                what = f"ended with {code}" if code is not None else f"was not ready after {timeout:.0f} s"
                raise SandboxError(
                    f"{name} of cluster {self.spec.name} {what}:\n{self._children.log_tail(name)}",
                    f"its whole log is {self.folder / 'logs' / name}.log",
                )
            time.sleep(_POLL_SECONDS)

    def _ports(self) -> dict[str, int]:
        file = self.folder / "ports.json"
        try:
            kept = json.loads(file.read_text())
            return {"etcd": int(kept["etcd"]), "api": int(kept["api"])}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            raise SandboxError(
                f"{file} is damaged: {error!r}", "`runner-platform sandbox reset` starts clean"
            ) from error
        # Below the kernel's range for outgoing connections: one of those could hold a kept port at a restart.
        free = (port for port in random.SystemRandom().sample(_PORTS, len(_PORTS)) if is_free(port))
        ports = {"etcd": next(free), "api": next(free)}
        replace(file, json.dumps(ports))
        return ports


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
