"""Capacity and documents of node pools: whole pods on nodes, limits that hold full load."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.documents import cluster, node_pool, pods
from components.documents.disruption import HOUR, disruption
from config.instance_types import BY_NAME, INSTANCE_TYPES
from config.quantities import GIBIBYTE, MEBIBYTE
from config.runners import Limits
from tests.support.class_settings import open_runner
from tests.support.generated_cases import QUICK

REQUESTS = st.builds(
    pods.Request,
    cpu=st.integers(100, 60_000),
    memory=st.integers(256, 400_000).map(lambda mib: mib * MEBIBYTE),
    disk=st.integers(1, 200).map(lambda gib: gib * GIBIBYTE),
)


@QUICK
@given(request=REQUESTS, arch=st.sampled_from(["amd64", "arm64"]))
def test_every_instance_type_of_a_class_holds_at_least_one_pod(request: pods.Request, arch: str) -> None:
    try:
        types = node_pool.fitting_types(request, arch)
    except node_pool.NoInstanceTypeError as error:
        assert f"{request.cpu / 1000:g} CPU" in str(error), "the refusal names the numbers"  # noqa: PT017  # both outcomes are right
        return
    assert types, "a pool without types would leave pods pending for ever"
    for instance in types:
        count = node_pool.whole_pods(instance, request)
        assert count >= 1
        assert count * request.cpu <= instance.allocatable_millicpu, "the scheduler counts allocatable, not nominal"
        assert count * request.memory <= instance.allocatable_mib * MEBIBYTE
        assert instance.arch == arch


def test_allocatable_resources_are_less_than_the_size_of_the_instance() -> None:
    for instance in INSTANCE_TYPES:
        assert 0 < instance.allocatable_millicpu < instance.vcpus * 1000
        assert 0 < instance.allocatable_mib < instance.memory_mib * 0.93, (
            f"{instance.name}: kubelet and hypervisor take their share"
        )


def test_a_pod_of_four_cores_does_not_go_onto_four_core_nodes() -> None:
    request = pods.pod(open_runner(cpu="4", memory="8Gi"))
    assert node_pool.whole_pods(BY_NAME["m7i.xlarge"], request) == 0, "helper, service and kubelet need their share"
    assert min(instance.vcpus for instance in node_pool.fitting_types(request, "amd64")) == 8


@QUICK
@given(concurrent=st.integers(1, 1000), cpu=st.integers(1, 15), gib=st.integers(1, 60))
def test_the_limit_of_a_pool_holds_full_load_on_any_of_its_types(concurrent: int, cpu: int, gib: int) -> None:
    settings = open_runner(concurrent=concurrent, cpu=str(cpu), memory=f"{gib}Gi")
    capacity = node_pool.class_capacity(settings)
    for name in capacity.types:
        count = math.ceil(concurrent / node_pool.whole_pods(BY_NAME[name], pods.pod(settings)))
        assert capacity.full_load_cpu >= count * BY_NAME[name].vcpus, "the printed quota covers full load"
        # 7.4: while a manager is rolled, its jobs and those of the new one run side by side.
        assert capacity.limit_cpu >= 2 * count * BY_NAME[name].vcpus, (
            f"jobs would wait for nodes of {name} that never come"
        )
        assert capacity.limit_memory_gib >= 2 * count * BY_NAME[name].memory_mib // 1024
    assert capacity.disk_gib >= 20 + capacity.pods_per_node * 12, "room for the disks of all pods of a node"
    assert node_pool.blocks_at_full_load(settings) >= 2


@QUICK
@given(concurrent=st.integers(1, 100), share=st.floats(0.1, 3))
def test_limits_from_settings_hold_full_load_or_are_refused_with_numbers(concurrent: int, share: float) -> None:
    unlimited = node_pool.class_capacity(open_runner(concurrent=concurrent))
    cpu, memory = math.ceil(unlimited.limit_cpu * share), math.ceil(unlimited.limit_memory_gib * share)
    assume(cpu and memory)
    settings = open_runner(concurrent=concurrent, limits=Limits(cpu=str(cpu), memory=f"{memory}Gi"))  # type: ignore[arg-type]  # as a file has it
    try:
        capacity = node_pool.class_capacity(settings)
    except node_pool.SmallLimitsError as error:
        for number in (f"{cpu} CPU", f"{memory}Gi", f"{concurrent} jobs"):
            assert number in str(error), "the refusal names the numbers"  # noqa: PT017  # both outcomes are right
        assert share < 1, "the computed limit is enough"  # same
        return
    assert (capacity.limit_cpu, capacity.limit_memory_gib) == (cpu, memory), "a limit in the settings is used unchanged"


@pytest.mark.parametrize("short", ["cpu", "memory"])
def test_a_limit_that_is_short_of_cpu_or_of_memory_alone_is_refused(short: str) -> None:
    enough = node_pool.class_capacity(open_runner())
    limits = {"cpu": str(enough.limit_cpu), "memory": f"{enough.limit_memory_gib}Gi"}
    node_pool.class_capacity(open_runner(limits=Limits(**limits)))  # type: ignore[arg-type]  # as a file has it
    too_small = {**limits, short: {"cpu": "1", "memory": "1Gi"}[short]}
    with pytest.raises(node_pool.SmallLimitsError):
        node_pool.class_capacity(open_runner(limits=Limits(**too_small)))  # type: ignore[arg-type]  # same


@pytest.mark.parametrize("classes", [1, 5, 60])
def test_manager_nodes_hold_every_manager_twice_since_updates_start_a_new_one(classes: int) -> None:
    capacity = node_pool.managers_capacity(classes)
    manager_count = (capacity.limit_cpu // node_pool.MANAGER_NODE_VCPUS) * capacity.pods_per_node
    assert manager_count >= 2 * classes
    assert capacity.limit_cpu >= 4, "two nodes at least: one may be replaced"


@pytest.mark.parametrize(("spot", "capacity"), [(True, ["spot", "on-demand"]), (False, ["on-demand"])])
def test_a_node_pool_removes_nodes_only_when_they_are_empty(spot: bool, capacity: list[str]) -> None:
    settings = open_runner()
    spec = node_pool.node_pool_spec(
        name="small", capacity=node_pool.class_capacity(settings), times=disruption(HOUR), arch="amd64", spot=spot
    )
    assert spec["disruption"]["consolidationPolicy"] == "WhenEmpty", "explicit, since the default moves running pods"
    template = spec["template"]["spec"]
    assert template["taints"] == [{"key": "runner-platform/class", "value": "small", "effect": "NoSchedule"}]
    assert spec["template"]["metadata"]["labels"] == {"runner-platform/class": "small"}
    requirements = {requirement["key"]: requirement["values"] for requirement in template["requirements"]}
    assert requirements["karpenter.sh/capacity-type"] == capacity
    assert template["terminationGracePeriod"] == "1h30m30s"
    assert template["expireAfter"] == "336h"
    assert template["nodeClassRef"] == {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "small"}


def test_a_node_class_has_subnets_by_id_and_denies_traffic_by_default() -> None:
    capacity = node_pool.class_capacity(open_runner())
    spec = node_pool.node_class_spec(
        role="node",
        subnet_ids=[{"id": "subnet-1"}],
        security_group_id="sg-1",
        capacity=capacity,
        tags={"platform:class": "small"},
    )
    assert spec["networkPolicy"] == "DefaultDeny"
    assert spec["advancedNetworking"] == {"associatePublicIPAddress": False}
    assert spec["subnetSelectorTerms"] == [{"id": "subnet-1"}], "tags of shared subnets are not visible to participants"
    assert spec["tags"] == {"platform:class": "small"}
    actions = json.dumps(cluster.tagging_permissions("aws"))
    assert "ec2:CreateFleet" in actions, "nodes with tags of their own need the right to set them"
