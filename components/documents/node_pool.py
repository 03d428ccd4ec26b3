"""Node arithmetic: which instance types a class may use, how many whole pods each holds, and what full load costs in vCPU.

Pure numbers over the catalogue in `config/instance_types.py`; overheads are part of a type's allocatable resources there.
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
    from config.sections import Runner

NODE_CLASS_GROUP, NODE_CLASS_KIND = "eks.amazonaws.com", "NodeClass"
LARGEST_NODE_VCPUS = 32
MOST_PODS = 8
"""Above these, losing one node is an incident, and its disk must hold more than most nodes ever use."""
USEFUL_SHARE = 0.5
"""A type is worth starting when whole pods use at least half of its vCPUs or of its memory."""
MANAGER_NODE_VCPUS = 2
SYSTEM_DISK = 20 * GIBIBYTE
"""What a node keeps for images and itself; a class's disk comes on top, per pod."""
SMALLEST_DISK = 80 * GIBIBYTE
"""Auto Mode's default."""


class NoInstanceTypeError(ValueError):
    """No instance type holds one pod of the class."""


class SmallLimitsError(ValueError):
    """A class's `limits` cannot hold `concurrent` pods."""


@dataclass(frozen=True, kw_only=True)
class NodeCapacity:
    """What a class's nodes may be."""

    types: tuple[str, ...]
    """Instance types, smallest first."""
    pods_per_node: int
    """Most whole pods that one node of these types holds."""
    disk_gib: int
    """Data volume of a node: room for all its pods."""
    full_load_cpu: int
    """vCPUs that the class takes when all its jobs run: what the account's quota must hold."""
    limit_cpu: int
    """vCPUs that the class may use at once: its cost ceiling. Unless the settings say less, it holds full load twice."""
    limit_memory_gib: int
    """Memory of the same nodes."""


def whole_pods(instance: InstanceType, request: pods.Request) -> int:
    """Whole pods of this size on one node of this type."""
    by_cpu = instance.allocatable_millicpu // request.cpu
    by_memory = instance.allocatable_mib * MEBIBYTE // request.memory
    return min(by_cpu, by_memory, instance.pods)


@cache
def fitting_types(request: pods.Request, arch: str) -> tuple[InstanceType, ...]:
    """Types of an architecture that hold whole pods without wasting most of a node.

    Raises:
        NoInstanceTypeError: not even the largest type holds one pod.
    """
    candidates = [each for each in INSTANCE_TYPES if each.arch == arch and whole_pods(each, request) > 0]
    if not candidates:
        raise NoInstanceTypeError(
            f"a pod needs {request.cpu / 1000:g} CPU and {request.memory / GIBIBYTE:g}Gi with its helper and a service, "
            f"more than any {arch} type of the catalogue offers; lower cpu or memory"
        )
    small_enough = [
        e for e in candidates if e.vcpus <= LARGEST_NODE_VCPUS and whole_pods(e, request) <= MOST_PODS
    ] or candidates
    useful = [each for each in small_enough if _used_share(each, request) >= USEFUL_SHARE]
    return tuple(useful or small_enough[:1])


def _used_share(instance: InstanceType, request: pods.Request) -> float:
    count = whole_pods(instance, request)
    return min(
        1.0,
        max(count * request.cpu / (instance.vcpus * 1000), count * request.memory / (instance.memory_mib * MEBIBYTE)),
    )


@cache
def class_capacity(runner: Runner) -> NodeCapacity:
    """Plan a class's nodes.

    Raises:
        NoInstanceTypeError: no type holds one pod of the class.
        SmallLimitsError: the class's `limits` cannot hold `concurrent` pods; the message names the numbers.
    """
    request = pods.pod(runner)
    types = fitting_types(request, runner.arch)
    need = {each.name: math.ceil(runner.concurrent / whole_pods(each, request)) for each in types}
    full_load = max(need[each.name] * each.vcpus for each in types)
    limit_cpu = MANAGERS_AT_ONCE * full_load
    limit_memory = MANAGERS_AT_ONCE * max(math.ceil(need[each.name] * each.memory_mib / 1024) for each in types)
    if runner.limits is not None:
        least = min(types, key=lambda each: need[each.name] * each.vcpus)
        _refuse_small_limits(runner, least, need[least.name])
        limit_cpu, limit_memory = runner.limits.cpu // 1000, runner.limits.memory // GIBIBYTE
    most = max(whole_pods(each, request) for each in types)
    return NodeCapacity(
        types=tuple(each.name for each in types),
        pods_per_node=most,
        disk_gib=max(SMALLEST_DISK, SYSTEM_DISK + most * request.disk) // GIBIBYTE,
        full_load_cpu=min(full_load, limit_cpu),
        limit_cpu=limit_cpu,
        limit_memory_gib=limit_memory,
    )


@cache
def blocks_at_full_load(runner: Runner) -> int:
    """Blocks of 16 addresses that a class's nodes take when all its jobs run, on the type that takes most.

    Raises:
        NoInstanceTypeError: no type holds one pod of the class.
    """
    request = pods.pod(runner)
    held = [whole_pods(each, request) for each in fitting_types(request, runner.arch)]
    return max(math.ceil(runner.concurrent / count) * blocks_of_node(count) for count in held)


def _refuse_small_limits(runner: Runner, least: InstanceType, nodes: int) -> None:
    limits = runner.limits
    if limits is None:
        return
    cpu, memory = nodes * least.vcpus, nodes * least.memory_mib * MEBIBYTE
    if limits.cpu < cpu * 1000 or limits.memory < memory:
        raise SmallLimitsError(
            f"limits of {limits.cpu / 1000:g} CPU and {limits.memory / GIBIBYTE:g}Gi cannot hold {runner.concurrent} jobs at once: "
            f"that takes {nodes} nodes of {least.name}, {cpu} CPU and {memory / GIBIBYTE:g}Gi; raise limits or lower concurrent"
        )


def managers_capacity(classes: int, arch: str = "amd64") -> NodeCapacity:
    """Plan the managers' pool: room for every manager twice, since a rolling update starts the new one first."""
    types = [
        each
        for each in INSTANCE_TYPES
        if each.arch == arch and each.category in "cm" and each.vcpus == MANAGER_NODE_VCPUS
    ]
    held = min(whole_pods(each, pods.MANAGER) for each in types)
    nodes = max(2, math.ceil(MANAGERS_AT_ONCE * classes / held))
    return NodeCapacity(
        types=tuple(each.name for each in types),
        pods_per_node=held,
        disk_gib=SMALLEST_DISK // GIBIBYTE,
        full_load_cpu=nodes * MANAGER_NODE_VCPUS,
        limit_cpu=nodes * MANAGER_NODE_VCPUS,
        limit_memory_gib=math.ceil(nodes * max(each.memory_mib for each in types) / 1024),
    )


def node_class_spec(
    *, role: Any, subnet_ids: Any, security_group_id: Any, plan: NodeCapacity, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Specification of a NodeClass.

    Args:
        role: name of the nodes' role.
        subnet_ids: private subnets, selected by id: tags of shared subnets are not visible to participants.
        security_group_id: the cluster's own security group.
        plan: the nodes' disk.
        tags: tags of instances and volumes.
    """
    return {
        "role": role,
        "subnetSelectorTerms": subnet_ids,
        "securityGroupSelectorTerms": [{"id": security_group_id}],
        "networkPolicy": "DefaultDeny",
        "networkPolicyEventLogs": "Enabled",
        "advancedNetworking": {"associatePublicIPAddress": False},
        "ephemeralStorage": {"size": f"{plan.disk_gib}Gi"},
        "tags": dict(tags),
    }


def node_pool_spec(*, name: str, plan: NodeCapacity, times: Disruption, arch: str, spot: bool) -> dict[str, Any]:
    """Specification of a NodePool: scales to zero, replaces nothing that still holds a job.

    Args:
        name: the class, or `managers`; label and taint of its nodes.
        plan: instance types and ceiling.
        times: the disruption contract.
        arch: `amd64` or `arm64`.
        spot: whether spot capacity may be used; on-demand is always allowed as a fall-back.
    """
    capacity = ["spot", "on-demand"] if spot else ["on-demand"]
    requirements = {
        "kubernetes.io/arch": [arch],
        "karpenter.sh/capacity-type": capacity,
        "node.kubernetes.io/instance-type": list(plan.types),
    }
    return {
        "limits": {"cpu": str(plan.limit_cpu), "memory": f"{plan.limit_memory_gib}Gi"},
        "disruption": {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": duration_text(times.consolidate_after),
            # Drift and emptiness are dealt with one node at a time; a pod that must not be disrupted blocks them.
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
