"""The local copies that the loops of one cluster share.

One watch per kind, whoever reads it. Secrets and ConfigMaps are kept as their key names: values are nobody's business
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.auto_mode import EKS, KARPENTER
from runner_platform_sandbox.kubernetes.reflector import Reflector
from runner_platform_sandbox.kubernetes.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.kubernetes.client import KubeClient

Body = dict[str, Any]


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
        return all(each.synced for each in self._all)

    def on_nodes(self, listener: Callable[[], None]) -> None:
        """Call this when something changed that decides about nodes."""
        for each in self._of_nodes:
            each.listen(listener)

    def on_pods(self, listener: Callable[[], None]) -> None:
        """Call this when a pod changed, or something that pods refer to."""
        for each in self._of_pods:
            each.listen(listener)

    def start(self) -> None:
        """Begin to watch."""
        for each in self._all:
            each.start()

    def stop(self) -> None:
        """End all watches."""
        for each in self._all:
            each.stop()

    def snapshot(self) -> Snapshot:
        """Return the state that decides about nodes."""
        return Snapshot(
            pods=self.pods.all(),
            nodes={node["metadata"]["name"]: node for node in self.nodes.all()},
            claims=self.claims.all(),
            pools=self.pools.all(),
            classes={each["metadata"]["name"]: each for each in self.classes.all()},
        )


def without_managed_fields(body: Body) -> Body:
    """Drop the record of field owners: half of an object, and nobody reads it."""
    return {**body, "metadata": {key: value for key, value in body["metadata"].items() if key != "managedFields"}}


def key_names(body: Body) -> Body:
    """Keep the names of a Secret's or ConfigMap's keys only, under `keys`."""
    metadata = {key: body["metadata"].get(key) for key in ("name", "namespace", "resourceVersion")}
    keys = {*(body.get("data") or {}), *(body.get("binaryData") or {})}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "keys": keys}
