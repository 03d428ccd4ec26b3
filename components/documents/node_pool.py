"""Nodes of a runner class, or of the managers: instance types, disk and ceiling, and the NodeClass and NodePool with them.

The arithmetic is over the catalogue in `config/instance_types.py`; a type's allocatable resources there leave out all overheads.
Sources: https://docs.aws.amazon.com/eks/latest/userguide/create-node-class.html, …/create-node-pool.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from components.documents import pods
from components.documents.disruption import MANAGERS_AT_ONCE
from components.documents.network import blocks_of_node
from config.instance_types import INSTANCE_TYPES, InstanceType
from config.quantities import GIBIBYTE, MEBIBYTE, duration_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.documents.disruption import Disruption
    from config.runners import KubernetesRunner

NODE_CLASS_GROUP, NODE_CLASS_KIND = "eks.amazonaws.com", "NodeClass"
LARGEST_NODE_VCPUS = 32
MOST_PODS = 8
"""Ceilings of a node: losing a larger one is an incident, and its disk must hold more than most nodes ever use."""
USEFUL_SHARE = 0.5
"""A type is worth starting if whole pods use at least half of its vCPUs or of its memory."""
MANAGER_NODE_VCPUS = 2
SYSTEM_DISK = 20 * GIBIBYTE
"""Disk of a node for images and itself; a class's disk comes on top, for each pod."""
SMALLEST_DISK = 80 * GIBIBYTE
"""Auto Mode's default."""


class NoInstanceTypeError(ValueError):
    """No instance type holds one pod of the class."""


class SmallLimitsError(ValueError):
    """A class's `limits` cannot hold `concurrent` pods."""


@dataclass(frozen=True, kw_only=True)
class NodeCapacity:
    """Instance types and ceiling of a class's nodes."""

    types: tuple[str, ...]
    """Instance types, smallest first."""
    pods_per_node: int
    """Most whole pods that a node of these types holds."""
    disk_gib: int
    """Data volume of a node: room for all its pods."""
    full_load_cpu: int
    """vCPUs of the class when all its jobs run; the account's quota must hold them."""
    limit_cpu: int
    """vCPUs that the class may use at once, its cost ceiling: full load twice, unless the settings say less."""
    limit_memory_gib: int
    """Memory of the same nodes."""


def whole_pods(instance: InstanceType, request: pods.Request) -> int:
    """Return how many whole pods of this size a node of this type holds."""
    by_cpu = instance.allocatable_millicpu // request.cpu
    by_memory = instance.allocatable_mib * MEBIBYTE // request.memory
    return min(by_cpu, by_memory, instance.pods)


@cache
def fitting_types(request: pods.Request, arch: str) -> tuple[InstanceType, ...]:
    """Return the types of an architecture that hold whole pods without wasting most of a node.

    Raises:
        NoInstanceTypeError: not even the largest type holds one pod.
    """
    candidates = [
        instance for instance in INSTANCE_TYPES if instance.arch == arch and whole_pods(instance, request) > 0
    ]
    if not candidates:
        raise NoInstanceTypeError(
            f"a pod needs {request.cpu / 1000:g} CPU and {request.memory / GIBIBYTE:g}Gi with its helper and a service, "
            f"more than any {arch} type of the catalogue offers; lower cpu or memory"
        )
    small_enough = [
        instance
        for instance in candidates
        if instance.vcpus <= LARGEST_NODE_VCPUS and whole_pods(instance, request) <= MOST_PODS
    ] or candidates
    useful = [instance for instance in small_enough if _used_share(instance, request) >= USEFUL_SHARE]
    return tuple(useful or small_enough[:1])


def _used_share(instance: InstanceType, request: pods.Request) -> float:
    count = whole_pods(instance, request)
    cpu_share = count * request.cpu / (instance.vcpus * 1000)
    memory_share = count * request.memory / (instance.memory_mib * MEBIBYTE)
    return min(1.0, max(cpu_share, memory_share))


@cache
def class_capacity(runner: KubernetesRunner) -> NodeCapacity:
    """Calculate the nodes of a class.

    The ceiling holds the running jobs of two managers. It leaves out pods that are ending: the next pod waits for their room for
    seconds, and the runner waits `poll_timeout` for a pod.

    Raises:
        NoInstanceTypeError: no type holds one pod of the class.
        SmallLimitsError: the class's `limits` cannot hold `concurrent` pods; the message has the numbers.
    """
    request = pods.pod(runner)
    types = fitting_types(request, runner.arch)
    nodes = {instance.name: math.ceil(runner.concurrent / whole_pods(instance, request)) for instance in types}
    full_load = max(nodes[instance.name] * instance.vcpus for instance in types)
    limit_cpu = MANAGERS_AT_ONCE * full_load
    limit_memory = MANAGERS_AT_ONCE * max(
        math.ceil(nodes[instance.name] * instance.memory_mib / 1024) for instance in types
    )
    if runner.limits is not None:
        cheapest = min(types, key=lambda instance: nodes[instance.name] * instance.vcpus)
        _refuse_small_limits(runner, cheapest, nodes[cheapest.name])
        limit_cpu, limit_memory = runner.limits.cpu // 1000, runner.limits.memory // GIBIBYTE
    most_pods = max(whole_pods(instance, request) for instance in types)
    return NodeCapacity(
        types=tuple(instance.name for instance in types),
        pods_per_node=most_pods,
        disk_gib=max(SMALLEST_DISK, SYSTEM_DISK + most_pods * request.disk) // GIBIBYTE,
        full_load_cpu=min(full_load, limit_cpu),
        limit_cpu=limit_cpu,
        limit_memory_gib=limit_memory,
    )


@cache
def blocks_at_full_load(runner: KubernetesRunner) -> int:
    """Return the blocks of 16 addresses for a class's nodes at full load, on the instance type with the largest need.

    Raises:
        NoInstanceTypeError: no type holds one pod of the class.
    """
    request = pods.pod(runner)
    pods_per_node = [whole_pods(instance, request) for instance in fitting_types(request, runner.arch)]
    return max(math.ceil(runner.concurrent / count) * blocks_of_node(count) for count in pods_per_node)


def _refuse_small_limits(runner: KubernetesRunner, instance: InstanceType, nodes: int) -> None:
    limits = runner.limits
    if limits is None:
        return
    cpu, memory = nodes * instance.vcpus, nodes * instance.memory_mib * MEBIBYTE
    if limits.cpu < cpu * 1000 or limits.memory < memory:
        raise SmallLimitsError(
            f"limits of {limits.cpu / 1000:g} CPU and {limits.memory / GIBIBYTE:g}Gi cannot hold {runner.concurrent} jobs at once: "
            f"that takes {nodes} nodes of {instance.name}, {cpu} CPU and {memory / GIBIBYTE:g}Gi; raise limits or lower concurrent"
        )


def managers_capacity(classes: int, arch: str = "amd64") -> NodeCapacity:
    """Calculate the managers' nodes: room for every manager twice, since a rolling update starts the new one first."""
    types = [
        instance
        for instance in INSTANCE_TYPES
        if instance.arch == arch and instance.category in "cm" and instance.vcpus == MANAGER_NODE_VCPUS
    ]
    pods_per_node = min(whole_pods(instance, pods.MANAGER) for instance in types)
    nodes = max(2, math.ceil(MANAGERS_AT_ONCE * classes / pods_per_node))
    return NodeCapacity(
        types=tuple(instance.name for instance in types),
        pods_per_node=pods_per_node,
        disk_gib=SMALLEST_DISK // GIBIBYTE,
        full_load_cpu=nodes * MANAGER_NODE_VCPUS,
        limit_cpu=nodes * MANAGER_NODE_VCPUS,
        limit_memory_gib=math.ceil(nodes * max(instance.memory_mib for instance in types) / 1024),
    )


def node_class_spec(
    *, role: Any, subnet_ids: Any, security_group_id: Any, capacity: NodeCapacity, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return the specification of a NodeClass.

    Args:
        role: name of the nodes' role.
        subnet_ids: private subnets, selected by id: tags of shared subnets are not visible to participants.
        security_group_id: the cluster's own security group.
        capacity: the nodes' disk.
        tags: tags of instances and volumes.
    """
    return {
        "role": role,
        "subnetSelectorTerms": subnet_ids,
        "securityGroupSelectorTerms": [{"id": security_group_id}],
        "networkPolicy": "DefaultDeny",
        "networkPolicyEventLogs": "Enabled",
        "advancedNetworking": {"associatePublicIPAddress": False},
        "ephemeralStorage": {"size": f"{capacity.disk_gib}Gi"},
        "tags": dict(tags),
    }


def node_pool_spec(*, name: str, capacity: NodeCapacity, times: Disruption, arch: str, spot: bool) -> dict[str, Any]:
    """Return the specification of a NodePool: it scales to zero, and replaces no node that still holds a job.

    Args:
        name: the class, or `managers`; label and taint of its nodes.
        capacity: instance types and ceiling.
        times: the disruption contract.
        arch: `amd64` or `arm64`.
        spot: whether spot capacity may be used; on-demand is always allowed as a fall-back.
    """
    requirements = {
        "kubernetes.io/arch": [arch],
        "karpenter.sh/capacity-type": ["spot", "on-demand"] if spot else ["on-demand"],
        "node.kubernetes.io/instance-type": list(capacity.types),
    }
    return {
        "limits": {"cpu": str(capacity.limit_cpu), "memory": f"{capacity.limit_memory_gib}Gi"},
        "disruption": {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": duration_text(times.consolidate_after),
            # Drifted and empty nodes go one at a time; a pod that must not be disrupted blocks its node.
            "budgets": [{"nodes": "1"}],
        },
        "template": {
            "metadata": {"labels": {pods.CLASS_LABEL: name}},
            "spec": {
                "nodeClassRef": {"group": NODE_CLASS_GROUP, "kind": NODE_CLASS_KIND, "name": name},
                "taints": [{"key": pods.CLASS_LABEL, "value": name, "effect": "NoSchedule"}],
                "requirements": [
                    {"key": key, "operator": "In", "values": values} for key, values in requirements.items()
                ],
                "expireAfter": duration_text(times.expire_after),
                "terminationGracePeriod": duration_text(times.node_grace),
            },
        },
    }
