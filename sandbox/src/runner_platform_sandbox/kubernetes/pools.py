"""What a NodePool can launch for a pod, and the NodeClaim and Node that a launch creates. Pure functions.

Owns the choice: highest weight first, then the smallest type that holds the pod, spot before on-demand where both are
allowed. Leaves out prices, availability (every type is available) and `minValues`. A claim carries everything that its
node needs, so a sandbox that was killed between the two writes continues from the claim alone.
Keys and labels are Auto Mode's: https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from config.instance_types import BY_NAME, INSTANCE_TYPES, InstanceType
from runner_platform_sandbox.kubernetes.auto_mode import EKS, KARPENTER
from runner_platform_sandbox.kubernetes.placement import DISRUPTED_TAINT, matches, selects, tolerates
from runner_platform_sandbox.kubernetes.quantities import Amounts, amount, amounts, fits, seconds, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

POOL_LABEL: Final = "karpenter.sh/nodepool"
CAPACITY_LABEL: Final = "karpenter.sh/capacity-type"
TYPE_LABEL: Final = "node.kubernetes.io/instance-type"
ZONE_LABEL: Final = "topology.kubernetes.io/zone"
REGION_LABEL: Final = "topology.kubernetes.io/region"
ARCH_LABEL: Final = "kubernetes.io/arch"
HOST_LABEL: Final = "kubernetes.io/hostname"

ON_DEMAND: Final = "on-demand"
SPOT: Final = "spot"

_AWS = "eks.amazonaws.com/"
_FOREIGN = (
    "karpenter.k8s.aws/",
    _AWS,
    "karpenter.sh/",
    "kubernetes.io/",
    "node.kubernetes.io/",
    "topology.kubernetes.io/",
)
_DEFAULT_DISK = "80Gi"
_DISK_SHARE = 0.9
"""Share of a node's disk that pods may request, without image cache and eviction threshold."""
_MIB = 2**20


TERMINATION_FINALIZER: Final = "karpenter.sh/termination"
CLASS_FINALIZER: Final = "eks.amazonaws.com/termination"
CLASS_LABEL: Final = "eks.amazonaws.com/nodeclass"
REAL_NODE_LABEL: Final = "sandbox.runner-platform/real-node"
"""Label of a node with a kubelet (`real_node`): kwok and the loops leave it, its pods and its pool alone."""
NODE_ANNOTATION: Final = "sandbox.runner-platform/node"
DISK_ANNOTATION: Final = "sandbox.runner-platform/disk-bytes"
DEFAULT_GRACE: Final = "24h"
"""Grace period in a claim if the pool has no terminationGracePeriod, as in Auto Mode."""
_ALPHABET = string.ascii_lowercase + string.digits
_SUFFIX = 5


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One instance type, in one capacity type and zone, as a pool would launch it."""

    instance: InstanceType
    capacity_type: str
    zone: str
    labels: dict[str, str]
    """Labels of the node, except the host name."""
    capacity: Amounts
    allocatable: Amounts


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A NodePool and the offers that it allows.

    Args:
        body: The NodePool object.
        node_class: The NodeClass that the pool references.
        region: Region of the cluster.
        zones: Zones that the pool's subnets may be in.
    """

    body: Mapping[str, Any]
    node_class: Mapping[str, Any]
    region: str
    zones: Sequence[str]

    @property
    def name(self) -> str:
        """Name of the NodePool."""
        return str(self.body["metadata"]["name"])

    @property
    def weight(self) -> int:
        """Pools with a higher weight are tried first."""
        return int(self.body["spec"].get("weight") or 0)

    @property
    def template(self) -> Mapping[str, Any]:
        """`spec.template` of the NodePool."""
        template: Mapping[str, Any] = self.body["spec"]["template"]
        return template

    @property
    def taints(self) -> list[dict[str, Any]]:
        """Taints of its nodes."""
        return list(self.template["spec"].get("taints") or [])

    @property
    def requirements(self) -> list[dict[str, Any]]:
        """Requirements for an instance type; on-demand by default."""
        stated = list(self.template["spec"].get("requirements") or [])
        if not any(requirement["key"] == CAPACITY_LABEL for requirement in stated):
            stated.append({"key": CAPACITY_LABEL, "operator": "In", "values": [ON_DEMAND]})
        return stated

    @property
    def consolidate_after(self) -> float | None:
        """Seconds that a node may stay empty; None for any time."""
        return seconds((self.body["spec"].get("disruption") or {}).get("consolidateAfter", "0s"))

    @property
    def expire_after(self) -> float | None:
        """Seconds that a node may live; None for any time."""
        return seconds(self.template["spec"].get("expireAfter"))

    @property
    def limits(self) -> Amounts:
        """Limits for the capacity of all nodes together, and for their number (`nodes`)."""
        return amounts(self.body["spec"].get("limits"))

    @cached_property
    def offers(self) -> list[Offer]:
        """Allowed offers, the preferred one first."""
        keys = [requirement["key"] for requirement in self.requirements]
        allowed = [offer for offer in self._all() if all(matches(item, offer.labels) for item in self.requirements)]
        if ARCH_LABEL not in keys:
            # As Karpenter: a pool without an architecture gets amd64, since most images have nothing else.
            allowed = [offer for offer in allowed if offer.instance.arch == "amd64" or _names_type(keys)]
        return sorted(allowed, key=_preference)

    def choose(self, pod: Mapping[str, Any], requested: Amounts, used: Amounts) -> Offer | None:
        """Return the first offer that suits a pod, or None.

        Args:
            pod: A pod without a node.
            requested: The pod's requests.
            used: Capacity of the pool's nodes, with their number as `nodes`.
        """
        if not tolerates(pod, self.taints):
            return None
        for offer in self.offers:
            if fits(requested, offer.allocatable) and self.allows(offer, used) and selects(pod, offer.labels):
                return offer
        return None

    def allows(self, offer: Offer, used: Amounts) -> bool:
        """Tell whether one more node of this offer stays within the pool's limits."""
        added = {**offer.capacity, "nodes": 1}
        return all(used.get(key, 0) + added.get(key, 0) <= limit for key, limit in self.limits.items())

    def disruptable(self, total: int, disrupted: int, reason: str) -> int:
        """Return the number of nodes that may be removed now for a reason.

        Budgets with a schedule are ignored: they only tighten, at hours that a sandbox rarely runs.

        Args:
            total: Nodes of the pool.
            disrupted: Nodes that are already being removed.
            reason: Empty, Underutilized or Drifted.
        """
        allowed = total
        for budget in (self.body["spec"].get("disruption") or {}).get("budgets") or []:
            if budget.get("schedule") or reason not in (budget.get("reasons") or [reason]):
                continue
            share = str(budget["nodes"])
            count = -(-total * int(share[:-1]) // 100) if share.endswith("%") else int(share)
            allowed = min(allowed, count)
        return max(0, allowed - disrupted)

    def _all(self) -> Iterator[Offer]:
        fixed = {**self._custom_labels(), **((self.template.get("metadata") or {}).get("labels") or {})}
        storage = (self.node_class["spec"].get("ephemeralStorage") or {}).get("size") or _DEFAULT_DISK
        disk = amount("ephemeral-storage", storage)
        for instance in INSTANCE_TYPES:
            capacity, allocatable = sizes(instance, disk)
            for capacity_type in (SPOT, ON_DEMAND):
                for zone in self.zones:
                    labels = {**fixed, **_labels(instance, capacity_type, zone, self.region), POOL_LABEL: self.name}
                    yield Offer(
                        instance=instance,
                        capacity_type=capacity_type,
                        zone=zone,
                        labels=labels,
                        capacity=capacity,
                        allocatable=allocatable,
                    )

    def _custom_labels(self) -> dict[str, str]:
        """Return the node labels from requirements on keys of the user: the first value of an `In`."""
        return {
            requirement["key"]: requirement["values"][0]
            for requirement in self.requirements
            if requirement["operator"] == "In" and not requirement["key"].startswith(_FOREIGN)
        }


def first_choice(
    pools: Iterable[Pool], pod: Mapping[str, Any], requested: Amounts, used: Mapping[str, Amounts]
) -> tuple[Pool, Offer] | None:
    """Return pool and offer for a pod, or None if no pool serves it.

    Args:
        pools: All ready pools.
        pod: A pod without a node.
        requested: The pod's requests.
        used: Capacity of the nodes of each pool, by pool name.
    """
    for pool in sorted(pools, key=lambda pool: (-pool.weight, pool.name)):
        offer = pool.choose(pod, requested, used.get(pool.name, {}))
        if offer is not None:
            return pool, offer
    return None


def _names_type(keys: Sequence[str]) -> bool:
    return TYPE_LABEL in keys or f"{_AWS}instance-family" in keys


def _preference(offer: Offer) -> tuple[int, int, bool, bool, int, str, str]:
    instance = offer.instance
    return (
        instance.vcpus,
        instance.memory_mib,
        offer.capacity_type != SPOT,
        instance.arch != "amd64",
        -instance.generation,
        instance.name,
        offer.zone,
    )


def _labels(instance: InstanceType, capacity_type: str, zone: str, region: str) -> dict[str, str]:
    return {
        ARCH_LABEL: instance.arch,
        "kubernetes.io/os": "linux",
        TYPE_LABEL: instance.name,
        REGION_LABEL: region,
        ZONE_LABEL: zone,
        CAPACITY_LABEL: capacity_type,
        f"{_AWS}compute-type": "auto",
        f"{_AWS}instance-category": instance.category,
        f"{_AWS}instance-family": instance.family,
        f"{_AWS}instance-generation": str(instance.generation),
        f"{_AWS}instance-size": instance.size,
        f"{_AWS}instance-cpu": str(instance.vcpus),
        f"{_AWS}instance-cpu-manufacturer": instance.manufacturer,
        f"{_AWS}instance-memory": str(instance.memory_mib),
        f"{_AWS}instance-hypervisor": "nitro",
        f"{_AWS}instance-encryption-in-transit-supported": "true",
    }


def sizes(instance: InstanceType, disk: int) -> tuple[Amounts, Amounts]:
    """Return capacity and allocatable amounts of a node.

    Args:
        instance: Its type.
        disk: Bytes of its data volume.
    """
    capacity = {
        "cpu": instance.vcpus * 1000,
        "memory": instance.memory_mib * _MIB,
        "ephemeral-storage": disk,
        "pods": instance.pods,
    }
    allocatable = {
        "cpu": instance.allocatable_millicpu,
        "memory": instance.allocatable_mib * _MIB,
        "ephemeral-storage": int(disk * _DISK_SHARE),
        "pods": instance.pods,
    }
    return capacity, allocatable


def node_claim(pool: Pool, offer: Offer, requested: Amounts) -> dict[str, Any]:
    """Compose the claim for one launch.

    Args:
        pool: The pool that launches.
        offer: The offer to launch.
        requested: Requests of the pod to launch for.
    """
    template = pool.template["spec"]
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))
    instance_type = [{"key": TYPE_LABEL, "operator": "In", "values": [offer.instance.name]}]
    spec = {
        "nodeClassRef": template["nodeClassRef"],
        "requirements": [
            *(requirement for requirement in pool.requirements if requirement["key"] != TYPE_LABEL),
            *instance_type,
        ],
        "taints": pool.taints,
        "terminationGracePeriod": template.get("terminationGracePeriod", DEFAULT_GRACE),
        "resources": {"requests": quantities(requested)},
    }
    if "expireAfter" in template:
        spec["expireAfter"] = template["expireAfter"]
    annotations = (pool.template.get("metadata") or {}).get("annotations") or {}
    return {
        "apiVersion": KARPENTER,
        "kind": "NodeClaim",
        "metadata": {
            "name": f"{pool.name}-{suffix}",
            "labels": {**offer.labels, CLASS_LABEL: template["nodeClassRef"]["name"]},
            "annotations": {
                **annotations,
                NODE_ANNOTATION: f"i-{secrets.token_hex(9)[:17]}",
                DISK_ANNOTATION: str(offer.capacity["ephemeral-storage"]),
            },
            "ownerReferences": [_owner("NodePool", pool.body)],
            "finalizers": [TERMINATION_FINALIZER],
        },
        "spec": spec,
    }


def node_of(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Compose the node of a claim."""
    metadata = claim["metadata"]
    name = node_name(claim)
    capacity, allocatable = _sizes(claim)
    address = ".".join(str(byte) for byte in (10, *bytes.fromhex(name[-6:])))
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                **metadata["labels"],
                HOST_LABEL: name,
                "karpenter.sh/registered": "true",
                "karpenter.sh/initialized": "true",
            },
            "annotations": {key: value for key, value in metadata["annotations"].items() if key != DISK_ANNOTATION},
            "ownerReferences": [_owner("NodeClaim", claim)],
            "finalizers": [TERMINATION_FINALIZER],
        },
        "spec": {"providerID": provider_id(claim), "taints": list(claim["spec"].get("taints") or [])},
        "status": {
            "capacity": quantities(capacity),
            "allocatable": quantities(allocatable),
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "nodeInfo": {"architecture": metadata["labels"]["kubernetes.io/arch"], "operatingSystem": "linux"},
        },
    }


def claim_status(claim: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Compose the status of a claim whose node has joined.

    Args:
        claim: The claim.
        now: Time of the transition, RFC 3339.
    """
    capacity, allocatable = _sizes(claim)
    return {
        "nodeName": node_name(claim),
        "providerID": provider_id(claim),
        "capacity": quantities(capacity),
        "allocatable": quantities(allocatable),
        "conditions": [
            condition(kind, holds=True, now=now) for kind in ("Launched", "Registered", "Initialized", "Ready")
        ],
    }


def condition(kind: str, *, holds: bool, now: str, message: str = "") -> dict[str, Any]:
    """Compose one condition.

    Args:
        kind: The condition's type, and its reason if it holds.
        holds: Whether the condition is True.
        now: Time of the transition, RFC 3339.
        message: Text for people; empty if the condition holds.
    """
    reason = kind if holds else f"{kind}False"
    status = "True" if holds else "False"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}


def node_name(claim: Mapping[str, Any]) -> str:
    """Return the name of a claim's node."""
    return str(claim["metadata"]["annotations"][NODE_ANNOTATION])


def provider_id(claim: Mapping[str, Any]) -> str:
    """Return the provider id of a claim's node."""
    return f"aws:///{claim['metadata']['labels'][ZONE_LABEL]}/{node_name(claim)}"


def uses_class(claim: Mapping[str, Any], name: str) -> bool:
    """Tell whether a claim uses this NodeClass."""
    reference = claim["spec"]["nodeClassRef"]
    return bool(reference["name"] == name and f"{reference['group']}/v1" == EKS)


def is_leaving(node: Mapping[str, Any]) -> bool:
    """Tell whether a node is being removed: deleted, or tainted for it."""
    taints = node["spec"].get("taints") or []
    return bool(node["metadata"].get("deletionTimestamp")) or any(
        taint["key"] == DISRUPTED_TAINT["key"] for taint in taints
    )


def quantities(values: Amounts) -> dict[str, str]:
    """Return amounts as the quantities of an object."""
    return {resource: text(resource, value) for resource, value in sorted(values.items())}


def _owner(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reference to an owner; its foreground deletion waits for its dependents."""
    metadata = body["metadata"]
    names = {"apiVersion": KARPENTER, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
    return {**names, "blockOwnerDeletion": True}


def _sizes(claim: Mapping[str, Any]) -> tuple[Amounts, Amounts]:
    metadata = claim["metadata"]
    return sizes(BY_NAME[metadata["labels"][TYPE_LABEL]], int(metadata["annotations"][DISK_ANNOTATION]))
