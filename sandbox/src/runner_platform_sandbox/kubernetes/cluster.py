"""One EKS cluster of the sandbox: its control plane, and the loops that stand in for what EKS runs beside it.

Owns a cluster from `start` to `remove`. Leaves out AWS: the caller passes what the cluster is and who may do what.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes import auto_mode
from runner_platform_sandbox.kubernetes.access_entries import AccessLoop
from runner_platform_sandbox.kubernetes.control_plane import ControlPlane
from runner_platform_sandbox.kubernetes.copies import Copies
from runner_platform_sandbox.kubernetes.errors import ApiError, UnknownKindError, UnreachableError
from runner_platform_sandbox.kubernetes.kubelet import KubeletLoop
from runner_platform_sandbox.kubernetes.nodes import NodeLoop
from runner_platform_sandbox.kubernetes.pools import POOL_LABEL, REAL_NODE_LABEL
from runner_platform_sandbox.real_node.plan import FOLDER, recorded_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.command_lines import Binaries, ClusterSpec
    from runner_platform_sandbox.kubernetes.control_plane import ProcessInfo

_LOG = logging.getLogger(__name__)
_GATHER_SECONDS = 0.05
_AFTER_ERROR_SECONDS = 1.0


Body = dict[str, Any]


class Loop:
    """Runs `round_` in a thread: soon after `wake`, and when the pause that the last round returned is over.

    Args:
        name: Name of the thread, for logs.
        round_: Decides once on the whole state and returns the seconds until the next round.
    """

    def __init__(self, name: str, round_: Callable[[], float]) -> None:
        self._name = name
        self._round = round_
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread with a first round."""
        self._woken.set()
        self._thread.start()

    def wake(self) -> None:
        """Ask for a round soon, from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread after its current round."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            self._woken.wait(pause)
            if self._stopping.wait(_GATHER_SECONDS):
                return
            self._woken.clear()
            try:
                pause = self._round()
            except (ApiError, UnreachableError, UnknownKindError) as error:
                # The API server is down or another writer was faster; the next round reads the new state.
                _LOG.info("%s: %s", self._name, error)
                pause = _AFTER_ERROR_SECONDS
            except Exception:  # noqa: BLE001 - one malformed object must not end the loop for all objects
                _LOG.exception("%s failed", self._name)
                pause = _AFTER_ERROR_SECONDS


@dataclass(frozen=True, kw_only=True)
class PodState:
    """One pod, for a table."""

    namespace: str
    name: str
    phase: str
    """Pending, Running, Succeeded, Failed, or Terminating."""
    ready: bool
    node: str
    """Name of its node; empty before it is scheduled."""
    reason: str
    """Why the pod waits; empty if it does not."""


def pods_by_namespace(client: KubeClient) -> dict[str, list[PodState]]:
    """Return the pods by namespace, without empty namespaces."""
    pods: dict[str, list[PodState]] = defaultdict(list)
    for pod in client.list("v1", "Pod"):
        pods[pod["metadata"]["namespace"]].append(_pod_state(pod))
    return dict(pods)


def _pod_state(pod: Body) -> PodState:
    status = pod.get("status") or {}
    conditions = status.get("conditions") or []
    containers = [container["state"] for container in status.get("containerStatuses") or []]
    waiting = [state["waiting"] for state in containers if "waiting" in state]
    unplaced = [item for item in conditions if item["type"] == "PodScheduled" and item["status"] == "False"]
    reason = next((f"{item.get('reason', '')}: {item.get('message', '')}" for item in [*waiting, *unplaced]), "")
    return PodState(
        namespace=pod["metadata"]["namespace"],
        name=pod["metadata"]["name"],
        phase="Terminating" if pod["metadata"].get("deletionTimestamp") else status.get("phase", "Unknown"),
        ready=any(item["type"] == "Ready" and item["status"] == "True" for item in conditions),
        node=pod["spec"].get("nodeName") or "",
        reason=reason.strip(": "),
    )


class Cluster:
    """A control plane and its loops.

    Args:
        folder: Everything of this cluster; created if absent, kept over restarts.
        spec: The cluster's settings in EKS.
        binaries: The programs.
        rbac: Composes the RBAC objects of the access entries for a list of namespaces.
    """

    def __init__(
        self, folder: Path, spec: ClusterSpec, binaries: Binaries, rbac: Callable[[list[str]], list[Body]]
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.control_plane = ControlPlane(folder, spec, binaries)
        self._binaries = binaries
        self._rbac = rbac
        self._lock = threading.RLock()
        self._client: KubeClient | None = None
        self._copies: Copies | None = None
        self._loops: list[Loop] = []
        self._access: tuple[AccessLoop, Loop] | None = None
        self.served_version = ""
        """Version of the running API server, such as `1.35.4`; empty until it runs."""

    @property
    def endpoint(self) -> str:
        """URL of the API server."""
        return self.control_plane.endpoint

    @property
    def certificate_authority(self) -> str:
        """The authority to trust, PEM in base64, as in EKS."""
        return self.control_plane.certificate_authority

    @property
    def jwks(self) -> Body:
        """Public keys of the cluster's service account tokens, a JSON Web Key Set."""
        return self.control_plane.jwks()

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig of an administrator with a certificate, without AWS."""
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
            SandboxError: A process did not start; the message names it and ends with its log.
        """
        with self._lock:
            self.control_plane.start()
            if self._client is not None:
                return
            client = self.control_plane.client()
            try:
                self.served_version = client.version().removeprefix("v")
                auto_mode.install(client, self._binaries.karpenter_crds)
                self._forget_ended_nodes(client)
            except (ApiError, UnknownKindError, UnreachableError) as error:
                client.close()
                raise SandboxError(
                    f"the API server of cluster {self.spec.name} does not accept Auto Mode's kinds: {error}",
                    f"its log is {self.folder / 'logs' / 'kube-apiserver.log'}",
                ) from error
            self._client = client
            self._start_loops(client)

    def stop(self) -> None:
        """End loops and processes, clients first; keep the folder."""
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
        """Stop, and delete the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def heal(self) -> list[str]:
        """Restart dead processes and return their names; a stopped cluster stays stopped.

        Raises:
            SandboxError: A process does not start again.
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
        """Note that an access entry changed; the RBAC objects are applied again soon."""
        with self._lock:
            if self._access is not None:
                access, loop = self._access
                access.changed()
                loop.wake()

    def pods_by_namespace(self) -> dict[str, list[PodState]]:
        """Return the pods by namespace, without empty namespaces."""
        return pods_by_namespace(self.client)

    def _forget_ended_nodes(self, client: KubeClient) -> None:
        """Delete the Nodes of kubelets that ended with the sandbox: their pools would wait for them for ever."""
        for node in client.list("v1", "Node", label_selector=REAL_NODE_LABEL):
            process = recorded_process(self.folder / FOLDER / node["metadata"]["labels"][POOL_LABEL])
            if process is None or not process.alive:
                client.delete("v1", "Node", node["metadata"]["name"])

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
