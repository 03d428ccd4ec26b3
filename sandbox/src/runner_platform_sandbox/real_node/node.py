"""A real node of a cluster: it takes over one node pool, whose pods then really run.

Owns the Node object and the node's process. While it runs, the stand-in of Auto Mode launches nothing for its pool and kwok
leaves it alone. Everything of it lies in one folder of the cluster; `end_nodes` ends nodes whose owner was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import psutil

from runner_platform_sandbox import ports
from runner_platform_sandbox.disk import replace
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes.auto_mode import EKS, KARPENTER
from runner_platform_sandbox.kubernetes.command_lines import Layout
from runner_platform_sandbox.kubernetes.errors import ApiError, UnreachableError
from runner_platform_sandbox.kubernetes.pools import HOST_LABEL, POOL_LABEL, REAL_NODE_LABEL, Offer, Pool
from runner_platform_sandbox.processes import ServerProcess, end
from runner_platform_sandbox.real_node import firewall, kubelet, runtime
from runner_platform_sandbox.real_node.isolation import remove_cgroups
from runner_platform_sandbox.real_node.network import ADDRESS
from runner_platform_sandbox.real_node.pause import write_pause_image
from runner_platform_sandbox.real_node.plan import FOLDER, PLAN, PROCESS, recorded_process

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.real_node.programs import Programs

_LARGEST_CPUS: Final = 16
_STOP_SECONDS: Final = 10.0
_MIB: Final = 2**20


class RealNode(ServerProcess):
    """A node with a kubelet, for one pool of a running cluster.

    Args:
        paths: The sandbox.
        cluster: Folder of the cluster's control plane.
        client: The administrator's client of the cluster.
        programs: From `Programs.find`.
        pool: Name of the NodePool, whose labels and taints the node gets.
        region: Region of the cluster.
        loopback: Ports of the host's loopback that pods reach, by the same ports of their own loopback: AWS, GitLab.
    """

    name: ClassVar[str] = "the node"
    log_name: ClassVar[str] = "real-node.log"
    ready_seconds: ClassVar[float] = 60.0
    stop_seconds: ClassVar[float] = _STOP_SECONDS

    def __init__(
        self,
        paths: Paths,
        cluster: Path,
        client: KubeClient,
        programs: Programs,
        *,
        pool: str,
        region: str,
        loopback: Iterable[int],
    ) -> None:
        super().__init__()
        self._paths = paths
        self._layout = Layout.of(cluster)
        self._client = client
        self._region = region
        self._programs = programs
        self._pool = pool
        self._loopback = tuple(loopback)
        self.folder = cluster / FOLDER / pool
        self.cgroup = f"runner-platform-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"
        self.node = f"i-{hashlib.sha256(self.cgroup.encode()).hexdigest()[:17]}"
        """Name of the node, like an EC2 instance's, as in EKS Auto Mode."""

    @property
    def images(self) -> Path:
        """Folder whose image layouts the node's registry serves, one folder each."""
        return self.folder / "images"

    def add_image(self, name: str, layout: Path) -> None:
        """Serve one more image layout; `name` is the name of its folder."""
        self.place_of_image(name).symlink_to(layout)

    def place_of_image(self, name: str) -> Path:
        """Return the folder of a new image layout that the node serves; a former one is removed."""
        place = self.images / name
        if place.is_symlink():
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    @property
    def first_process(self) -> int:
        """Process 1 of the node's namespaces, by its id on the host.

        Raises:
            RuntimeError: The node does not run.
        """
        if self.pid is None:
            raise RuntimeError("the node does not run")
        return psutil.Process(self.pid).children()[0].pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the node and wait until it is ready for pods.

        Raises:
            SandboxError: A program of the node does not start; the message ends with its log.
        """
        end_node(self.folder)
        self._prepare_folder()
        offer = self._offer()
        port = next(port for port in random.SystemRandom().sample(ports.RANGE, len(ports.RANGE)) if ports.is_free(port))
        self._write_files(offer, port)
        self._take_over_pool(offer, port)
        try:
            command = [sys.executable, "-m", "runner_platform_sandbox.real_node", str(self.folder)]
            self._launch(self._paths, command, self.folder, {}, self._is_ready)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the node with its pods, and give the pool back."""
        super().stop()
        end_node(self.folder)
        with contextlib.suppress(ApiError, UnreachableError):
            self._client.delete("v1", "Node", self.node)

    def _prepare_folder(self) -> None:
        """Remove what a former node left, except its images: containers of a node that ended cannot go on."""
        for entry in self.folder.iterdir() if self.folder.exists() else []:
            if entry != self.images:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        for folder in (self.images, self.folder / "logs" / "pods"):
            folder.mkdir(parents=True, exist_ok=True)
        if not (self.images / "pause").exists():
            write_pause_image(self.images / "pause", runtime.PAUSE_IMAGE)

    def _offer(self) -> Offer:
        """Return the largest instance that the pool may launch, up to 16 processors; requests only count, so it may be larger than this machine."""
        body = self._client.find(KARPENTER, "NodePool", self._pool)
        if body is None:
            raise SandboxError(f"the cluster has no NodePool {self._pool}", "deploy the class's stack: `make up`")
        node_class = self._client.get(EKS, "NodeClass", body["spec"]["template"]["spec"]["nodeClassRef"]["name"])
        self._taints = list(body["spec"]["template"]["spec"].get("taints") or [])
        offers = Pool(body=body, node_class=node_class, region=self._region, zones=[f"{self._region}a"]).offers
        suitable = [offer for offer in offers if offer.instance.vcpus <= _LARGEST_CPUS] or offers[:1]
        if not suitable:
            raise SandboxError(
                f"NodePool {self._pool} allows no instance type",
                "compare its requirements with config/instance_types.py",
            )
        return max(suitable, key=lambda offer: (offer.instance.vcpus, offer.instance.memory_mib))

    def _write_files(self, offer: Offer, port: int) -> None:
        layout, programs = self._layout, self._programs
        runtime.write_files(self.folder, programs, list(self._loopback))
        services = self._client.get("networking.k8s.io/v1", "ServiceCIDR", "kubernetes")
        service_cidr = str(services["spec"]["cidrs"][0])
        kubelet.write_files(
            self.folder, layout, name=self.node, port=port, cgroup=self.cgroup, service_cidr=service_cidr
        )
        commands = {
            "containerd": runtime.command(self.folder, programs),
            "kubelet": kubelet.command(self.folder, programs, self.node),
        }
        if programs.kube_router is not None:
            commands["kube-router"] = firewall.command(
                programs.kube_router,
                name=self.node,
                kubeconfig=layout.kubeconfig("admin"),
                service_cidr=service_cidr,
            )
        size = {"NODE_CPUS": str(offer.instance.vcpus), "NODE_MEMORY_BYTES": str(offer.instance.memory_mib * _MIB)}
        plan = {
            "cgroup": self.cgroup,
            "commands": commands,
            "environment": {**programs.environment, **size, "HOME": str(self.folder), "GOGC": "40"},
            "kubelet_port": port,
            "ports": [layout.api_port, *self._loopback],
        }
        replace(self.folder / PLAN, json.dumps(plan, indent=1))

    def _take_over_pool(self, offer: Offer, port: int) -> None:
        """Create the Node, and delete the claims of the pool's nodes that only count."""
        client = self._client
        with contextlib.suppress(ApiError):
            client.delete("v1", "Node", self.node)
        client.create(self._node(offer))
        client.patch("v1", "Node", self.node, None, {"status": _addresses(port)}, subresource="status")
        for claim in client.list(KARPENTER, "NodeClaim", label_selector=f"{POOL_LABEL}={self._pool}"):
            client.delete(KARPENTER, "NodeClaim", claim["metadata"]["name"])

    def _node(self, offer: Offer) -> dict[str, Any]:
        labels = {**offer.labels, HOST_LABEL: self.node, REAL_NODE_LABEL: "true"}
        spec = {"providerID": f"aws:///{self._region}a/{self.node}", "taints": self._taints}
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node, "labels": labels}, "spec": spec}

    def _is_ready(self) -> bool:
        node = self._client.find("v1", "Node", self.node)
        conditions = ((node or {}).get("status") or {}).get("conditions") or []
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _addresses(port: int) -> dict[str, Any]:
    """Compose the part of the Node's status that the cloud owns.

    The API server reaches the kubelet at the first kind that it prefers, the host name: the host's loopback, from where a
    process of the node passes the connection on. The kubelet keeps addresses that are there when it starts.
    """
    return {
        "addresses": [{"type": "Hostname", "address": ports.HOST}, {"type": "InternalIP", "address": ADDRESS}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }


def end_node(folder: Path) -> bool:
    """End a node by its folder, whoever started it, and return whether it ran.

    Raises:
        SandboxError: Its control groups cannot be removed.
    """
    process = recorded_process(folder)
    if process is None:
        return False
    ran = end(process, patience=_STOP_SECONDS)
    groups = remove_cgroups(json.loads((folder / PLAN).read_text())["cgroup"])
    if groups:
        raise SandboxError(f"control group {groups[0]} is still in use", f"look into {groups[0]}/cgroup.procs")
    (folder / PROCESS).unlink()
    return ran


def end_nodes(clusters: Path) -> int:
    """End the nodes of every cluster, and return how many ran.

    Args:
        clusters: Folder with one folder per cluster.
    """
    return sum(end_node(file.parent) for file in clusters.glob(f"*/{FOLDER}/*/{PROCESS}"))
