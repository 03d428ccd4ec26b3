"""Numbers: the disruption contract, subnets and their blocks, whole pods on nodes, limits that name their figures."""

from __future__ import annotations

import ipaddress
import json
import math
from itertools import combinations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.documents import cluster, network, node_pool, pods
from components.documents.disruption import DAY, HOUR, MINUTE, disruption, managers_disruption
from config.instance_types import BY_NAME, INSTANCE_TYPES
from config.quantities import GIBIBYTE, MEBIBYTE
from config.sections import Limits, Runner
from tests.config.test_settings_fuzz import QUICK


def runner(**changes: object) -> Runner:
    base = {
        "level": "open",
        "cpu": "1",
        "memory": "2Gi",
        "disk": "10Gi",
        "concurrent": 10,
        "longest_job": "1h",
        **changes,
    }
    return Runner.model_validate(base)


# longest job; then, in minutes: manager's grace, node's grace, delete timeout; and expiry in days (14 at most)
CONTRACT = [
    (10 * MINUTE, 20, 40.5, 55.5),
    (30 * MINUTE, 40, 60.5, 75.5),
    (HOUR, 70, 90.5, 105.5),
    (90 * MINUTE, 100, 120.5, 135.5),
    (2 * HOUR, 130, 150.5, 165.5),
    (4 * HOUR, 250, 270.5, 285.5),
    (8 * HOUR, 490, 510.5, 525.5),
    (12 * HOUR, 730, 750.5, 765.5),
]


@pytest.mark.parametrize(("longest", "manager", "node", "delete"), CONTRACT)
def test_the_longest_job_sets_every_time_that_could_end_it(
    longest: int, manager: float, node: float, delete: float
) -> None:
    times = disruption(longest)
    assert times.gitlab_timeout == longest, "GitLab's own timeout is the one that may end a job"
    assert times.manager_grace == manager * MINUTE
    assert times.node_grace == node * MINUTE, "longest job, pod grace and half an hour"
    assert times.delete_timeout == delete * MINUTE, "the engine waits longer than the nodes do"
    assert times.consolidate_after >= 5 * MINUTE, "a pod that has not started yet must not lose its node"
    assert times.poll_timeout == 10 * MINUTE


@QUICK
@given(longest=st.integers(600, 24 * HOUR))
def test_nothing_else_ends_a_job_before_gitlab_does(longest: int) -> None:
    times = disruption(longest)
    assert times.gitlab_timeout < times.manager_grace < times.node_grace < times.delete_timeout
    assert times.expire_after + times.node_grace <= 21 * DAY, "Auto Mode ends every node after 21 days, drain included"
    assert times.expire_after >= DAY, "nodes are not replaced all day long"


@QUICK
@given(jobs=st.lists(st.integers(600, 24 * HOUR), max_size=5))
def test_managers_nodes_outlast_the_longest_class(jobs: list[int]) -> None:
    times = managers_disruption(jobs)
    for job in jobs:
        assert times.node_grace > disruption(job).manager_grace, "a drain must not end a manager that waits for a job"
        assert times.delete_timeout > disruption(job).manager_grace


NETWORKS = st.builds(
    lambda prefix, number: str(ipaddress.IPv4Network(((10 << 24) + (number << 12), 20)).supernet(new_prefix=prefix)),
    st.integers(16, 20),
    st.integers(0, 4095),
)


@QUICK
@given(cidr=NETWORKS, zones=st.sampled_from([2, 3]))
def test_subnets_lie_within_the_network_and_apart(cidr: str, zones: int) -> None:
    cut = network.cut_vpc(cidr, zones)
    assert len(cut.public) == len(cut.private) == zones, "one of each per zone"
    whole, every = (
        ipaddress.IPv4Network(cidr),
        [ipaddress.IPv4Network(subnet) for subnet in (*cut.public, *cut.private)],
    )
    assert all(subnet.subnet_of(whole) for subnet in every)
    assert not [pair for pair in combinations(every, 2) if pair[0].overlaps(pair[1])]
    assert {subnet.prefixlen for subnet in every[:zones]} == {26}, "public subnets hold gateways only"
    assert {subnet.prefixlen for subnet in every[zones:]} == {whole.prefixlen + 2}


@pytest.mark.parametrize(
    ("cidr", "zones", "public", "private"),
    [
        ("10.40.0.0/16", 3, "10.40.192.0/26", ("10.40.0.0/18", "10.40.64.0/18", "10.40.128.0/18")),
        ("10.41.0.0/16", 2, "10.41.192.0/26", ("10.41.0.0/18", "10.41.64.0/18")),
        ("10.0.16.0/20", 3, "10.0.28.0/26", ("10.0.16.0/22", "10.0.20.0/22", "10.0.24.0/22")),
    ],
)
def test_networks_are_cut_as_the_stacks_have_them(cidr: str, zones: int, public: str, private: tuple[str, ...]) -> None:
    cut = network.cut_vpc(cidr, zones)
    assert (cut.public[0], cut.private) == (public, private), "another cut would replace every subnet"


def test_a_network_that_is_too_small_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/24 is too small for 3 zones; use a /16 to a /20"):
        network.cut_vpc("10.0.0.0/24", 3)


@pytest.mark.parametrize(("cidr", "blocks"), [("10.0.0.0/18", 1022), ("10.0.0.0/22", 62), ("10.0.0.0/28", 0)])
def test_addresses_are_counted_in_whole_blocks_of_sixteen(cidr: str, blocks: int) -> None:
    assert network.blocks_of_subnet(cidr) == blocks, "AWS keeps addresses of the first and of the last block"


@pytest.mark.parametrize(("count", "blocks"), [(1, 2), (16, 2), (17, 3), (110, 8)])
def test_a_node_takes_a_warm_block_beyond_those_in_use(count: int, blocks: int) -> None:
    assert network.blocks_of_node(count) == blocks
    assert network.nodes_that_fit(("10.0.0.0/22", "10.0.4.0/22"), count) == 2 * (62 // blocks)


REQUESTS = st.builds(
    pods.Request,
    cpu=st.integers(100, 60_000),
    memory=st.integers(256, 400_000).map(lambda mib: mib * MEBIBYTE),
    disk=st.integers(1, 200).map(lambda gib: gib * GIBIBYTE),
)


@QUICK
@given(request=REQUESTS, arch=st.sampled_from(["amd64", "arm64"]))
def test_every_type_of_a_class_holds_whole_pods(request: pods.Request, arch: str) -> None:
    try:
        types = node_pool.fitting_types(request, arch)
    except node_pool.NoInstanceTypeError as error:
        assert f"{request.cpu / 1000:g} CPU" in str(error), "the refusal names the numbers"  # noqa: PT017  # both outcomes are right
        return
    assert types, "a plan without types would leave pods pending for ever"
    for instance in types:
        count = node_pool.whole_pods(instance, request)
        assert count >= 1
        assert count * request.cpu <= instance.allocatable_millicpu, "the scheduler counts allocatable, not nominal"
        assert count * request.memory <= instance.allocatable_mib * MEBIBYTE
        assert instance.arch == arch


def test_what_pods_may_ask_for_is_less_than_the_type_s_own_size() -> None:
    for instance in INSTANCE_TYPES:
        assert 0 < instance.allocatable_millicpu < instance.vcpus * 1000
        assert 0 < instance.allocatable_mib < instance.memory_mib * 0.93, (
            f"{instance.name}: kubelet and hypervisor take their share"
        )


def test_a_pod_of_four_cores_does_not_go_onto_four_core_nodes() -> None:
    request = pods.pod(runner(cpu="4", memory="8Gi"))
    assert node_pool.whole_pods(BY_NAME["m7i.xlarge"], request) == 0, "helper, service and kubelet need their share"
    assert min(instance.vcpus for instance in node_pool.fitting_types(request, "amd64")) == 8


@QUICK
@given(concurrent=st.integers(1, 1000), cpu=st.integers(1, 15), gib=st.integers(1, 60))
def test_a_plan_s_ceiling_holds_full_load_on_any_of_its_types(concurrent: int, cpu: int, gib: int) -> None:
    settings = runner(concurrent=concurrent, cpu=str(cpu), memory=f"{gib}Gi")
    plan = node_pool.class_capacity(settings)
    for name in plan.types:
        count = math.ceil(concurrent / node_pool.whole_pods(BY_NAME[name], pods.pod(settings)))
        assert plan.full_load_cpu >= count * BY_NAME[name].vcpus, "the quota that is printed is what full load takes"
        # 7.4: while a manager is rolled, its jobs and those of the new one run side by side.
        assert plan.limit_cpu >= 2 * count * BY_NAME[name].vcpus, f"jobs would wait for nodes of {name} that never come"
        assert plan.limit_memory_gib >= 2 * count * BY_NAME[name].memory_mib // 1024
    assert plan.disk_gib >= 20 + plan.pods_per_node * 12, "room for the disks of all pods of a node"
    assert node_pool.blocks_at_full_load(settings) >= 2


@QUICK
@given(concurrent=st.integers(1, 100), share=st.floats(0.1, 3))
def test_limits_hold_full_load_or_are_refused_with_their_numbers(concurrent: int, share: float) -> None:
    free = node_pool.class_capacity(runner(concurrent=concurrent))
    cpu, memory = math.ceil(free.limit_cpu * share), math.ceil(free.limit_memory_gib * share)
    assume(cpu and memory)
    settings = runner(concurrent=concurrent, limits=Limits(cpu=str(cpu), memory=f"{memory}Gi"))  # type: ignore[arg-type]  # as a file has it
    try:
        plan = node_pool.class_capacity(settings)
    except node_pool.SmallLimitsError as error:
        for number in (f"{cpu} CPU", f"{memory}Gi", f"{concurrent} jobs"):
            assert number in str(error), "the refusal names the numbers"  # noqa: PT017  # both outcomes are right
        assert share < 1, "the plan's own ceiling is enough"  # same
        return
    assert (plan.limit_cpu, plan.limit_memory_gib) == (cpu, memory), "a cost ceiling is taken as it is written"


@pytest.mark.parametrize("classes", [1, 5, 60])
def test_managers_fit_twice_because_updates_start_the_new_one_first(classes: int) -> None:
    plan = node_pool.managers_capacity(classes)
    held = (plan.limit_cpu // node_pool.MANAGER_NODE_VCPUS) * plan.pods_per_node
    assert held >= 2 * classes
    assert plan.limit_cpu >= 4, "two nodes at least: one may be replaced"


@pytest.mark.parametrize(("spot", "capacity"), [(True, ["spot", "on-demand"]), (False, ["on-demand"])])
def test_a_node_pool_scales_to_zero_and_takes_nodes_only_when_empty(spot: bool, capacity: list[str]) -> None:
    settings = runner()
    spec = node_pool.node_pool_spec(
        name="small", capacity=node_pool.class_capacity(settings), times=disruption(HOUR), arch="amd64", spot=spot
    )
    assert spec["disruption"]["consolidationPolicy"] == "WhenEmpty", "said explicitly: the default moves running pods"
    template = spec["template"]["spec"]
    assert template["taints"] == [{"key": "runner-platform/class", "value": "small", "effect": "NoSchedule"}]
    assert spec["template"]["metadata"]["labels"] == {"runner-platform/class": "small"}
    requirements = {requirement["key"]: requirement["values"] for requirement in template["requirements"]}
    assert requirements["karpenter.sh/capacity-type"] == capacity
    assert template["terminationGracePeriod"] == "1h30m30s"
    assert template["expireAfter"] == "336h"
    assert template["nodeClassRef"] == {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "small"}


def test_a_node_class_names_subnets_by_id_and_denies_by_default() -> None:
    plan = node_pool.class_capacity(runner())
    spec = node_pool.node_class_spec(
        role="node",
        subnet_ids=[{"id": "subnet-1"}],
        security_group_id="sg-1",
        capacity=plan,
        tags={"platform:class": "small"},
    )
    assert spec["networkPolicy"] == "DefaultDeny"
    assert spec["advancedNetworking"] == {"associatePublicIPAddress": False}
    assert spec["subnetSelectorTerms"] == [{"id": "subnet-1"}], "tags of shared subnets are not visible to participants"
    assert spec["tags"] == {"platform:class": "small"}
    actions = json.dumps(cluster.tagging_permissions("aws"))
    assert "ec2:CreateFleet" in actions, "nodes with tags of their own need the right to set them"
