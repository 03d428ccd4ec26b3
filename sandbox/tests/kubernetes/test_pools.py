"""What a NodePool launches, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from config.instance_types import BY_NAME, INSTANCE_TYPES
from runner_platform_sandbox.kubernetes.placement import requests
from runner_platform_sandbox.kubernetes.pools import (
    CAPACITY_LABEL,
    Pool,
    first_choice,
    node_claim,
    node_of,
    provider_id,
)

GIBIBYTE = 2**30


def requirement(key: str, *values: str, operator: str = "In") -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


ON_DEMAND = requirement(CAPACITY_LABEL, "on-demand")


def pool(*requirements: dict[str, Any], name: str = "small", disk: str = "", **spec: Any) -> Pool:
    template: dict[str, Any] = {
        "metadata": {"labels": {"class": name}},
        "spec": {
            "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": name},
            "requirements": list(requirements),
            "taints": [{"key": "class", "value": name, "effect": "NoSchedule"}],
            "expireAfter": "336h",
        },
    }
    body = {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {"template": template, **spec}}
    node_class = {"metadata": {"name": name}, "spec": {"ephemeralStorage": {"size": disk}} if disk else {}}
    return Pool(body=body, node_class=node_class, region="eu-central-1", zones=["eu-central-1a", "eu-central-1b"])


def pod(cpu: str = "1", memory: str = "2Gi", name: str = "small", **more: Any) -> dict[str, Any]:
    asked = {"cpu": cpu, "memory": memory, **more.pop("asked", {})}
    spec = {
        "nodeSelector": {"class": name},
        "tolerations": [{"key": "class", "operator": "Exists"}],
        "containers": [{"name": "build", "resources": {"requests": asked}}],
        **more,
    }
    return {"metadata": {"name": "p", "namespace": "n"}, "spec": spec}


def chosen(node_pool: Pool, body: dict[str, Any], used: dict[str, int] | None = None) -> str | None:
    offer = node_pool.choose(body, requests(body), used or {})
    return offer.instance.name if offer else None


@pytest.mark.parametrize(
    ("requirements", "body", "answer"),
    [
        ((), pod("1", "2Gi"), "c8a.large"),
        ((), pod("1", "3Gi"), "m8a.large"),
        ((), pod("14", "56Gi"), "m8a.4xlarge"),
        ((), pod("2"), "c8a.xlarge"),
        ((), pod("100"), None),
        ((requirement("eks.amazonaws.com/instance-category", "m"),), pod(), "m8a.large"),
        ((requirement("eks.amazonaws.com/instance-generation", "8", operator="Lt"),), pod("1", "1Gi"), "c7a.large"),
        ((requirement("eks.amazonaws.com/instance-cpu", "7", operator="Gt"),), pod(), "c8a.2xlarge"),
        ((requirement("eks.amazonaws.com/instance-cpu", "4", operator="Lte"),), pod("5"), None),
        ((requirement("eks.amazonaws.com/instance-memory", "16384", operator="Gte"),), pod(), "r8a.large"),
        ((requirement("eks.amazonaws.com/instance-cpu-manufacturer", "intel"),), pod(), "c8i.large"),
        ((requirement("kubernetes.io/arch", "arm64"),), pod(), "c8g.large"),
        ((requirement("node.kubernetes.io/instance-type", "m7g.large"),), pod(), "m7g.large"),
        ((requirement("node.kubernetes.io/instance-type", "m7i.large", "m7i.xlarge"),), pod("3"), "m7i.xlarge"),
        ((requirement("karpenter.k8s.aws/instance-family", "m7i"),), pod(), None),
        ((requirement("eks.amazonaws.com/instance-gpu-count", "0", operator="Gt"),), pod(), None),
        ((requirement("topology.kubernetes.io/zone", "eu-west-1a"),), pod(), None),
        ((requirement("team", "x"),), pod(nodeSelector={"class": "small", "team": "x"}), "c8a.large"),
        ((), pod(nodeSelector={"class": "big"}), None),
        ((), pod(tolerations=[]), None),
        ((), pod(asked={"ephemeral-storage": "70Gi"}), "c8a.large"),
        ((), pod(asked={"ephemeral-storage": "75Gi"}), None),
        ((), pod(asked={"nvidia.com/gpu": "1"}), None),
    ],
)
def test_a_pool_launches_the_smallest_type_that_holds_the_pod(
    requirements: tuple[dict[str, Any], ...], body: dict[str, Any], answer: str | None
) -> None:
    assert chosen(pool(*requirements), body) == answer


def test_the_disk_of_the_node_class_decides_how_much_storage_a_pod_may_ask_for() -> None:
    body = pod(asked={"ephemeral-storage": "100Gi"})
    assert chosen(pool(), body) is None
    assert chosen(pool(disk="120Gi"), body) == "c8a.large"


@pytest.mark.parametrize(
    ("values", "selector", "answer"),
    [
        (["spot", "on-demand"], {}, "spot"),
        (["on-demand"], {}, "on-demand"),
        (None, {}, "on-demand"),
        (["spot", "on-demand"], {CAPACITY_LABEL: "on-demand"}, "on-demand"),
    ],
)
def test_spot_comes_first_where_it_is_allowed_and_only_there(
    values: list[str] | None, selector: dict[str, str], answer: str
) -> None:
    node_pool = pool(requirement(CAPACITY_LABEL, *values)) if values else pool()
    body = pod(nodeSelector={"class": "small", **selector})
    offer = node_pool.choose(body, requests(body), {})
    assert offer is not None
    assert offer.capacity_type == answer


@pytest.mark.parametrize(
    ("limits", "used", "answer"),
    [
        ({"cpu": "8"}, {"cpu": 4000}, "c8a.xlarge"),
        ({"cpu": "7"}, {"cpu": 4000}, None),
        ({"memory": "8Gi"}, {"memory": 0}, "c8a.xlarge"),
        ({"memory": "8Gi"}, {"memory": GIBIBYTE}, None),
        ({"nodes": "2"}, {"nodes": 1}, "c8a.xlarge"),
        ({"nodes": "2"}, {"nodes": 2}, None),
    ],
)
def test_limits_are_a_ceiling_for_the_whole_pool(
    limits: dict[str, str], used: dict[str, int], answer: str | None
) -> None:
    body = pod("3", "4Gi")
    assert chosen(pool(ON_DEMAND, limits=limits), body, used) == answer


def test_the_heaviest_pool_that_serves_the_pod_is_asked_first() -> None:
    body = pod(nodeSelector={}, tolerations=[{"operator": "Exists"}])
    pools = [
        pool(name="a"),
        pool(name="b", weight=10),
        pool(requirement("team", "x"), name="c", weight=50, limits={"cpu": "0"}),
    ]
    choice = first_choice(pools, body, requests(body), {})
    assert choice is not None
    assert choice[0].name == "b"


@pytest.mark.parametrize(
    ("budgets", "total", "disrupted", "answer"),
    [
        (None, 3, 0, 3),
        ([{"nodes": "10%"}], 3, 0, 1),
        ([{"nodes": "10%"}], 3, 1, 0),
        ([{"nodes": "0"}], 3, 0, 0),
        ([{"nodes": "2"}, {"nodes": "1"}], 5, 0, 1),
        ([{"nodes": "0", "reasons": ["Drifted"]}], 3, 0, 3),
        ([{"nodes": "0", "reasons": ["Empty"]}], 3, 0, 0),
        ([{"nodes": "0", "schedule": "0 9 * * *", "duration": "8h"}], 3, 0, 3),
    ],
)
def test_budgets_hold_back_the_removal_of_empty_nodes(
    budgets: list[dict[str, Any]] | None, total: int, disrupted: int, answer: int
) -> None:
    node_pool = pool(disruption={"consolidateAfter": "5m", **({"budgets": budgets} if budgets else {})})
    assert node_pool.disruptable(total, disrupted, "Empty") == answer


def test_a_node_has_the_pools_labels_and_taints_and_its_instances_name() -> None:
    node_pool, body = pool(ON_DEMAND), pod()
    offer = node_pool.choose(body, requests(body), {})
    assert offer is not None
    claim = node_claim(node_pool, offer, requests(body))
    claim["metadata"]["uid"] = "uid-claim"
    node = node_of(claim)
    assert node["metadata"]["labels"]["class"] == "small"
    assert node["metadata"]["labels"]["karpenter.sh/nodepool"] == "small"
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == node["metadata"]["name"]
    assert node["spec"]["taints"] == node_pool.taints
    assert node["spec"]["providerID"] == provider_id(claim) == f"aws:///eu-central-1a/{node['metadata']['name']}"
    assert len(node["metadata"]["name"]) == len("i-0123456789abcdef0")
    assert node["status"]["capacity"]["cpu"] == "2"
    assert claim["spec"]["terminationGracePeriod"] == "24h", "Auto Mode writes this where the pool has none"
    assert claim["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] is True


def test_every_instance_type_reserves_a_part_of_its_capacity_for_the_node() -> None:
    assert len(INSTANCE_TYPES) == len(BY_NAME) == 3 * 3 * 3 * 7
    assert (BY_NAME["m7i.2xlarge"].vcpus, BY_NAME["m7i.2xlarge"].memory_mib) == (8, 32768)
    assert (BY_NAME["r8g.large"].arch, BY_NAME["r8g.large"].manufacturer) == ("arm64", "aws")
    assert BY_NAME["c6i.large"].family == "c6i"
    for instance in INSTANCE_TYPES:
        assert 0 < instance.allocatable_mib < instance.memory_mib
        assert 0 < instance.allocatable_millicpu < 1000 * instance.vcpus
    assert BY_NAME["m7i.xlarge"].allocatable_millicpu == 3920, "60 + 10 + 5 + 5 millicores are the kubelet's"
