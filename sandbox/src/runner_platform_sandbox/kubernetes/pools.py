"""What a NodePool can launch, and what it would launch for a pod. Pure functions over API objects and the catalogue.

Owns the choice: highest weight first, then the smallest type that holds the pod, spot before on-demand where both are
allowed. Leaves out prices and availability (a type is always to be had) and `minValues`. Keys are Auto Mode's:
https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from config.instance_types import INSTANCE_TYPES, InstanceType
from runner_platform_sandbox.kubernetes.placement import matches, selects, tolerates
from runner_platform_sandbox.kubernetes.quantities import Amounts, amount, amounts, fits, seconds

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
"""Of a node's disk, what pods may request; the rest is the image cache and eviction threshold."""
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One instance type, in one capacity type and zone, as a pool would launch it."""

    instance: InstanceType
    capacity_type: str
    zone: str
    labels: dict[str, str]
    """Labels of the node, without its own name."""
    capacity: Amounts
    allocatable: Amounts


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A NodePool, read.

    Args:
        body: The NodePool object.
        node_class: The NodeClass that it names.
        region: Region of the cluster.
        zones: Zones its subnets could be in.
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
        """Higher is asked first."""
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
        """What a type must satisfy; on-demand where the pool does not say."""
        stated = list(self.template["spec"].get("requirements") or [])
        if not any(each["key"] == CAPACITY_LABEL for each in stated):
            stated.append({"key": CAPACITY_LABEL, "operator": "In", "values": [ON_DEMAND]})
        return stated

    @property
    def consolidate_after(self) -> float | None:
        """Seconds that a node stays empty before it goes; None keeps it."""
        return seconds((self.body["spec"].get("disruption") or {}).get("consolidateAfter", "0s"))

    @property
    def expire_after(self) -> float | None:
        """Seconds that a node lives; None for ever."""
        return seconds(self.template["spec"].get("expireAfter"))

    @property
    def limits(self) -> Amounts:
        """Ceilings of the capacity of all nodes together, and of their number (`nodes`)."""
        return amounts(self.body["spec"].get("limits"))

    @cached_property
    def offers(self) -> list[Offer]:
        """What the pool allows, the one to prefer first."""
        stated = [each["key"] for each in self.requirements]
        allowed = [offer for offer in self._all() if all(matches(each, offer.labels) for each in self.requirements)]
        if ARCH_LABEL not in stated:
            # As Karpenter: a pool that does not say gets amd64, since most images have nothing else.
            allowed = [each for each in allowed if each.instance.arch == "amd64" or _names_type(stated)]
        return sorted(allowed, key=_preference)

    def choose(self, pod: Mapping[str, Any], wanted: Amounts, used: Amounts) -> Offer | None:
        """Choose what to launch for a pod; None if the pool has nothing for it.

        Args:
            pod: A pod without a node.
            wanted: Its requests.
            used: Capacity of the pool's nodes so far, and their number as `nodes`.
        """
        if not tolerates(pod, self.taints):
            return None
        for offer in self.offers:
            if fits(wanted, offer.allocatable) and self.allows(offer, used) and selects(pod, offer.labels):
                return offer
        return None

    def allows(self, offer: Offer, used: Amounts) -> bool:
        """Tell whether one more node of this kind stays within the pool's limits."""
        more = {**offer.capacity, "nodes": 1}
        return all(used.get(key, 0) + more.get(key, 0) <= limit for key, limit in self.limits.items())

    def disruptable(self, total: int, disrupted: int, reason: str) -> int:
        """Count the nodes that may be taken down now for a reason.

        Budgets with a schedule are left out of account: they only tighten, for hours that a sandbox rarely sees.

        Args:
            total: Nodes of the pool.
            disrupted: Those on their way out already.
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
        """A requirement on a key of one's own that names a value becomes a label of the node."""
        return {
            each["key"]: each["values"][0]
            for each in self.requirements
            if each["operator"] == "In" and not each["key"].startswith(_FOREIGN)
        }


def first_choice(
    pools: Iterable[Pool], pod: Mapping[str, Any], wanted: Amounts, used: Mapping[str, Amounts]
) -> tuple[Pool, Offer] | None:
    """Choose pool and offer for a pod; None if no pool serves it.

    Args:
        pools: All ready pools.
        pod: A pod without a node.
        wanted: Its requests.
        used: Capacity of each pool's nodes, by pool name.
    """
    for pool in sorted(pools, key=lambda each: (-each.weight, each.name)):
        offer = pool.choose(pod, wanted, used.get(pool.name, {}))
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
    """Capacity and allocatable amounts of a node.

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
