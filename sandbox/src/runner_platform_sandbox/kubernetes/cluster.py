"""One EKS cluster of the sandbox: its control plane, and the loops that stand in for what EKS runs beside it.

Owns the whole of one cluster from `start` to `remove`. Leaves out AWS (told by the caller: what the cluster is, who
may do what) and the supervisor that calls it.
"""

from __future__ import annotations

import logging
import shutil
import threading
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes import auto_mode
from runner_platform_sandbox.kubernetes.access import AccessLoop
from runner_platform_sandbox.kubernetes.control_plane import ControlPlane
from runner_platform_sandbox.kubernetes.copies import Copies
from runner_platform_sandbox.kubernetes.errors import ApiError, UnknownKindError, UnreachableError
from runner_platform_sandbox.kubernetes.kubelet import KubeletLoop
from runner_platform_sandbox.kubernetes.loop import Loop
from runner_platform_sandbox.kubernetes.nodes import NodeLoop
from runner_platform_sandbox.kubernetes.pods import PodState, pods_by_namespace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner_platform_sandbox.kubernetes.children import ProcessInfo
    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.commands import Binaries, ClusterSpec

Body = dict[str, Any]

_LOG = logging.getLogger(__name__)


class Cluster:
    """A control plane and its loops.

    Args:
        folder: Everything of this cluster; made if absent, kept over restarts.
        spec: What EKS says about it.
        binaries: The programs.
        rbac: Composes the RBAC objects of the access entries for a list of namespaces.
    """

    def __init__(
        self, folder: Path, spec: ClusterSpec, binaries: Binaries, rbac: Callable[[list[str]], list[Body]]
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.control_plane = ControlPlane(folder, spec, binaries)
        self._rbac = rbac
        self._lock = threading.RLock()
        self._client: KubeClient | None = None
        self._copies: Copies | None = None
        self._loops: list[Loop] = []
        self._access: tuple[AccessLoop, Loop] | None = None
        self.served_version = ""
        """Version of the API server that answers, such as `1.35.4`; empty until it runs."""

    @property
    def endpoint(self) -> str:
        """URL of the API server."""
        return self.control_plane.endpoint

    @property
    def certificate_authority(self) -> str:
        """The authority to trust, PEM in base64, as EKS gives it."""
        return self.control_plane.certificate_authority

    @property
    def jwks(self) -> Body:
        """Public keys of the cluster's service account tokens."""
        return self.control_plane.jwks()

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig of an administrator who needs no AWS."""
        return self.control_plane.admin_kubeconfig

    @property
    def client(self) -> KubeClient:
        """The administrator's client.

        Raises:
            RuntimeError: The cluster does not run.
        """
        if self._client is None:
            raise RuntimeError(f"cluster {self.spec.name} does not run")
        return self._client

    def start(self) -> None:
        """Start everything and wait until the API server is ready and Auto Mode's kinds are served.

        Raises:
            SandboxError: Something did not start; the message names it and ends with its log.
        """
        with self._lock:
            self.control_plane.start()
            if self._client is not None:
                return
            client = self.control_plane.client()
            try:
                self.served_version = client.version().removeprefix("v")
                auto_mode.install(client)
            except (ApiError, UnknownKindError, UnreachableError) as error:
                client.close()
                raise SandboxError(
                    f"the API server of cluster {self.spec.name} does not take Auto Mode's kinds: {error}",
                    f"its log is {self.folder / 'logs' / 'kube-apiserver.log'}",
                ) from error
            self._client = client
            self._start_loops(client)

    def stop(self) -> None:
        """End loops and processes, clients first; what is on disk stays."""
        with self._lock:
            for loop in self._loops:
                loop.stop()
            if self._copies is not None:
                self._copies.stop()
            if self._client is not None:
                self._client.close()
            self._loops, self._copies, self._access, self._client = [], None, None, None
            self.control_plane.stop()

    def remove(self) -> None:
        """Stop, and delete the folder: the cluster is gone."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def heal(self) -> list[str]:
        """Start again what died; returns the names. Nothing is done to a cluster that was stopped.

        Raises:
            SandboxError: It does not start again.
        """
        with self._lock:
            dead = self.control_plane.dead()
            if dead:
                _LOG.warning("cluster %s: %s died", self.spec.name, ", ".join(dead))
                self.control_plane.start()
            return dead

    def processes(self) -> list[ProcessInfo]:
        """Return the live processes with their ports and memory."""
        return self.control_plane.processes()

    def access_changed(self) -> None:
        """Say that an access entry changed: RBAC is applied again, soon."""
        with self._lock:
            if self._access is not None:
                access, loop = self._access
                access.changed()
                loop.wake()

    def pods_by_namespace(self) -> dict[str, list[PodState]]:
        """Return the pods of every namespace that has some."""
        return pods_by_namespace(self.client)

    def _start_loops(self, client: KubeClient) -> None:
        self._copies = copies = Copies(client)
        nodes = Loop(f"{self.spec.name} nodes", NodeLoop(client, copies, self.spec.region).round)
        kubelet = Loop(f"{self.spec.name} kubelet", KubeletLoop(client, copies).round)
        access = AccessLoop(client, copies, self._rbac)
        access_loop = Loop(f"{self.spec.name} access", access.round)
        self._access = (access, access_loop)
        self._loops = [nodes, kubelet, access_loop]
        copies.on_nodes(nodes.wake)
        copies.on_pods(kubelet.wake)
        copies.namespaces.listen(access_loop.wake)
        copies.start()
        for loop in self._loops:
            loop.start()
