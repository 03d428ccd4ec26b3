"""Local copies of a cluster's objects, kept in step by watches, for the loops to decide on.

A `Reflector` lists and watches one kind, and starts again when the connection breaks. `Copies` holds the reflectors
that all loops of a cluster share. A `Snapshot` is the state at one moment. Loops decide on the whole state each time,
so a lost or doubled event cannot hurt.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.auto_mode import EKS, KARPENTER
from runner_platform_sandbox.kubernetes.errors import (
    ApiError,
    ExpiredError,
    NotFoundError,
    UnknownKindError,
    UnreachableError,
)
from runner_platform_sandbox.kubernetes.placement import is_active, is_daemon, requests
from runner_platform_sandbox.kubernetes.pools import POOL_LABEL, REAL_NODE_LABEL, node_name
from runner_platform_sandbox.kubernetes.quantities import Amounts, add, amounts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.transport import Watch

Body = dict[str, Any]


_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_WATCH_SECONDS = 300
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Pods, nodes, claims, pools and classes at one moment; read only."""

    pods: list[Body] = field(default_factory=list)
    nodes: dict[str, Body] = field(default_factory=dict)
    claims: list[Body] = field(default_factory=list)
    pools: list[Body] = field(default_factory=list)
    classes: dict[str, Body] = field(default_factory=dict)

    @cached_property
    def pods_by_node(self) -> dict[str, list[Body]]:
        """Bound pods that hold their requests, by node name."""
        pods: dict[str, list[Body]] = defaultdict(list)
        for pod in self.pods:
            name = pod["spec"].get("nodeName")
            if name and is_active(pod):
                pods[name].append(pod)
        return pods

    def working_pods(self, node: str) -> list[Body]:
        """Return the active pods of a node, without those of DaemonSets."""
        return [pod for pod in self.pods_by_node.get(node, []) if not is_daemon(pod)]

    def free(self, node: Mapping[str, Any]) -> Amounts:
        """Return the free part of a node's allocatable amounts; may be negative."""
        room = amounts((node.get("status") or {}).get("allocatable"))
        for pod in self.pods_by_node.get(node["metadata"]["name"], []):
            room = add(room, {key: -value for key, value in requests(pod).items()})
        return room

    def claims_of(self, pool: str) -> list[Body]:
        """Return the claims of one pool."""
        return [claim for claim in self.claims if claim["metadata"]["labels"].get(POOL_LABEL) == pool]

    def used(self, pool: str) -> Amounts:
        """Return the summed capacity of a pool's claims, with their number as `nodes`."""
        total: Amounts = {"nodes": 0}
        for claim in self.claims_of(pool):
            total = add(total, {**amounts((claim.get("status") or {}).get("capacity")), "nodes": 1})
        return total

    @property
    def real_pools(self) -> set[str]:
        """Names of the pools whose pods wait for a node with a kubelet; nothing is launched for them."""
        labels = [node["metadata"]["labels"] for node in self.nodes.values()]
        return {item[POOL_LABEL] for item in labels if REAL_NODE_LABEL in item and POOL_LABEL in item}

    def claim_of(self, node: str) -> Body | None:
        """Return the claim of a node, or None for a node without a pool."""
        return next((claim for claim in self.claims if node_name(claim) == node), None)


class Reflector:
    """Copies of one kind in all namespaces.

    Args:
        client: Reaches the cluster.
        api_version: Such as `v1`.
        kind: Such as `Pod`.
        keep: Reduces an object to the fields that its readers need; None keeps the whole object.
    """

    def __init__(
        self, client: KubeClient, api_version: str, kind: str, *, keep: Callable[[Body], Body] | None = None
    ) -> None:
        self.api_version, self.kind = api_version, kind
        self._client = client
        self._keep = keep or (lambda body: body)
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._store: dict[tuple[str, str], Body] = {}
        self._synced = threading.Event()
        self._stopping = threading.Event()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"reflector-{kind}", daemon=True)

    def listen(self, listener: Callable[[], None]) -> None:
        """Register a listener for changes; call it before `start`."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Start to list and watch, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch and the thread."""
        self._stopping.set()
        with self._lock:
            watch = self._watch
        if watch is not None:
            watch.close()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wait(self, seconds: float) -> bool:
        """Wait for the first complete copy; return False after `seconds`."""
        return self._synced.wait(seconds)

    @property
    def synced(self) -> bool:
        """Whether the copy is complete."""
        return self._synced.is_set()

    def all(self) -> list[Body]:
        """Return all objects; read only."""
        with self._lock:
            return list(self._store.values())

    def get(self, name: str, namespace: str = "") -> Body | None:
        """Return one object, or None; read only."""
        with self._lock:
            return self._store.get((namespace, name))

    def put(self, body: Body) -> None:
        """Store an object just after writing it, for decisions before the watch reports it."""
        body = {"apiVersion": self.api_version, "kind": self.kind, **body}
        with self._lock:
            self._take(body)

    def _take(self, body: Body) -> None:
        key = _key(body)
        stored = self._store.get(key)
        if stored is None or _version(body) >= _version(stored):
            self._store[key] = self._keep(body)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow(self._list())
            except (ExpiredError, UnreachableError):
                _LOG.debug("listing %s again", self.kind)
            except (ApiError, UnknownKindError, NotFoundError) as error:
                _LOG.warning("cannot watch %s: %s", self.kind, error)
            self._stopping.wait(_RETRY_SECONDS)

    def _list(self) -> str:
        items, version = self._client.list_with_version(self.api_version, self.kind)
        with self._lock:
            self._store = {_key(item): self._keep(item) for item in items}
        self._synced.set()
        self._tell()
        return version

    def _follow(self, version: str) -> None:
        while not self._stopping.is_set():
            watch = self._client.watch(
                self.api_version, self.kind, resource_version=version, timeout_seconds=_WATCH_SECONDS
            )
            with self._lock:
                self._watch = watch
            with watch:
                if self._stopping.is_set():
                    return
                for event, body in watch:
                    version = str(body["metadata"]["resourceVersion"])
                    if event != "BOOKMARK":
                        self._change(event, body)
            self._stopping.wait(_PAUSE_SECONDS)

    def _change(self, event: str, body: Body) -> None:
        with self._lock:
            if event == "DELETED":
                self._store.pop(_key(body), None)
            else:
                self._take(body)
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _key(body: Body) -> tuple[str, str]:
    metadata = body["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _version(body: Body) -> int:
    # Kubernetes 1.35 guarantees that versions compare as integers; earlier ones do too.
    return int(body["metadata"].get("resourceVersion") or 0)


class Copies:
    """Reflectors of the kinds that the loops read.

    Args:
        client: Reaches the cluster.
    """

    def __init__(self, client: KubeClient) -> None:
        self.pods = Reflector(client, "v1", "Pod", keep=without_managed_fields)
        self.nodes = Reflector(client, "v1", "Node", keep=without_managed_fields)
        self.claims = Reflector(client, KARPENTER, "NodeClaim", keep=without_managed_fields)
        self.pools = Reflector(client, KARPENTER, "NodePool", keep=without_managed_fields)
        self.classes = Reflector(client, EKS, "NodeClass", keep=without_managed_fields)
        self.namespaces = Reflector(client, "v1", "Namespace", keep=without_managed_fields)
        self.secrets = Reflector(client, "v1", "Secret", keep=key_names)
        self.config_maps = Reflector(client, "v1", "ConfigMap", keep=key_names)
        self._of_nodes = (self.pods, self.nodes, self.claims, self.pools, self.classes)
        self._of_pods = (self.pods, self.secrets, self.config_maps)
        self._all = (*self._of_nodes, self.namespaces, self.secrets, self.config_maps)

    @property
    def synced(self) -> bool:
        """Whether all copies are complete."""
        return all(reflector.synced for reflector in self._all)

    def on_nodes(self, listener: Callable[[], None]) -> None:
        """Call `listener` when an object changed that matters for nodes."""
        for reflector in self._of_nodes:
            reflector.listen(listener)

    def on_pods(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a pod, Secret or ConfigMap changed."""
        for reflector in self._of_pods:
            reflector.listen(listener)

    def start(self) -> None:
        """Start all watches."""
        for reflector in self._all:
            reflector.start()

    def stop(self) -> None:
        """End all watches."""
        for reflector in self._all:
            reflector.stop()

    def snapshot(self) -> Snapshot:
        """Return the state to decide about nodes on."""
        return Snapshot(
            pods=self.pods.all(),
            nodes={node["metadata"]["name"]: node for node in self.nodes.all()},
            claims=self.claims.all(),
            pools=self.pools.all(),
            classes={node_class["metadata"]["name"]: node_class for node_class in self.classes.all()},
        )


def without_managed_fields(body: Body) -> Body:
    """Return the object without the record of field owners, which is half of its size."""
    return {**body, "metadata": {key: value for key, value in body["metadata"].items() if key != "managedFields"}}


def key_names(body: Body) -> Body:
    """Return a Secret or ConfigMap with the names of its keys (`keys`) and without values."""
    metadata = {key: body["metadata"].get(key) for key in ("name", "namespace", "resourceVersion")}
    keys = {*(body.get("data") or {}), *(body.get("binaryData") or {})}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "keys": keys}
