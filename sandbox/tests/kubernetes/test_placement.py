"""Where a pod could go, as tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_platform_sandbox.kubernetes import quantities
from runner_platform_sandbox.kubernetes.placement import (
    is_daemon,
    matches,
    requests,
    selects,
    tolerates,
    waits_for_node,
)

MEBIBYTE = 2**20


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [], **spec}, "status": {}}


def container(cpu: str = "", memory: str = "", **more: Any) -> dict[str, Any]:
    asked = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": "c", "resources": {"requests": asked}, **more}


@pytest.mark.parametrize(
    ("resource", "text", "number"),
    [
        ("cpu", "1", 1000),
        ("cpu", "250m", 250),
        ("cpu", "0.1", 100),
        ("cpu", "100u", 1),
        ("cpu", 2, 2000),
        ("memory", "1Gi", 2**30),
        ("memory", "1.5Gi", 3 * 2**29),
        ("memory", "1k", 1000),
        ("memory", "1e3", 1000),
        ("memory", "128974848", 128974848),
        ("memory", "1500m", 2),
        ("pods", "110", 110),
    ],
)
def test_quantities_are_read_in_every_form_that_kubernetes_takes(resource: str, text: str, number: int) -> None:
    assert quantities.amount(resource, text) == number


@pytest.mark.parametrize("text", ["", "x", "1Kb", "1 Gi", "--1", "1mm"])
def test_a_text_that_is_no_quantity_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity of memory"):
        quantities.amount("memory", text)


@given(st.sampled_from(["cpu", "memory", "pods"]), st.integers(min_value=0, max_value=2**50))
def test_an_amount_survives_being_written(resource: str, number: int) -> None:
    assert quantities.amount(resource, quantities.text(resource, number)) == number


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("336h", 1209600), ("0s", 0), ("Never", None), (None, None)],
)
def test_durations_are_seconds_and_never_is_none(duration: str | None, seconds: float | None) -> None:
    assert quantities.seconds(duration) == seconds


@pytest.mark.parametrize(
    ("operator", "values", "value", "answer"),
    [
        ("In", ["a", "b"], "a", True),
        ("In", ["a"], None, False),
        ("NotIn", ["a"], "b", True),
        ("NotIn", ["a"], None, True),
        ("NotIn", ["a"], "a", False),
        ("Exists", [], "x", True),
        ("Exists", [], None, False),
        ("DoesNotExist", [], None, True),
        ("DoesNotExist", [], "x", False),
        ("Gt", ["4"], "8", True),
        ("Gt", ["8"], "8", False),
        ("Gte", ["8"], "8", True),
        ("Lt", ["8"], "4", True),
        ("Lte", ["8"], "16", False),
        ("Gt", ["4"], None, False),
        ("Gt", ["4"], "many", False),
        ("Like", ["4"], "4", False),
    ],
)
def test_expressions_answer_as_the_scheduler_does(
    operator: str, values: list[str], value: str | None, *, answer: bool
) -> None:
    labels = {} if value is None else {"key": value}
    assert matches({"key": "key", "operator": operator, "values": values}, labels) is answer


TAINT = {"key": "class", "value": "small", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("tolerations", "taints", "answer"),
    [
        ([], [], True),
        ([], [TAINT], False),
        ([], [{**TAINT, "effect": "PreferNoSchedule"}], True),
        ([{"key": "class", "operator": "Exists"}], [TAINT], True),
        ([{"key": "class", "value": "small"}], [TAINT], True),
        ([{"key": "class", "operator": "Equal", "value": "big"}], [TAINT], False),
        ([{"key": "class", "operator": "Exists", "effect": "NoExecute"}], [TAINT], False),
        ([{"operator": "Exists"}], [TAINT, {"key": "other", "effect": "NoExecute"}], True),
        ([{"key": "class", "operator": "Exists"}], [TAINT, {"key": "other", "effect": "NoExecute"}], False),
        ([{"key": "other"}], [{"key": "other", "effect": "NoExecute"}], True),
    ],
)
def test_a_pod_goes_where_it_tolerates_every_blocking_taint(
    tolerations: list[dict[str, str]], taints: list[dict[str, str]], *, answer: bool
) -> None:
    assert tolerates(pod(tolerations=tolerations), taints) is answer


def required(*terms: list[dict[str, Any]]) -> dict[str, Any]:
    listed = [{"matchExpressions": term} for term in terms]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": listed}}}


ZONE_A = {"key": "zone", "operator": "In", "values": ["a"]}
ARM = {"key": "arch", "operator": "In", "values": ["arm64"]}


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ({}, True),
        ({"nodeSelector": {"zone": "a"}}, True),
        ({"nodeSelector": {"zone": "b"}}, False),
        ({"affinity": required([ZONE_A])}, True),
        ({"affinity": required([ZONE_A, ARM])}, False),
        ({"affinity": required([ARM], [ZONE_A])}, True),
        ({"affinity": required([])}, False),
        ({"nodeSelector": {"zone": "a"}, "affinity": required([ARM])}, False),
        ({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}}, True),
    ],
)
def test_selector_and_affinity_both_have_to_accept_a_node(spec: dict[str, Any], *, answer: bool) -> None:
    assert selects(pod(**spec), {"zone": "a", "arch": "amd64"}) is answer


def test_a_pod_can_ask_for_a_node_by_name() -> None:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["i-1"]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    assert selects(pod(affinity=affinity), {}, "i-1")
    assert not selects(pod(affinity=affinity), {}, "")


@pytest.mark.parametrize(
    ("spec", "cpu", "memory"),
    [
        ({"containers": [container("1", "1Mi"), container("500m")]}, 1500, 1),
        ({"containers": [container("1")], "initContainers": [container("3", "5Mi")]}, 3000, 5),
        ({"containers": [container("1")], "initContainers": [container("2", restartPolicy="Always")]}, 3000, 0),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", restartPolicy="Always"), container("4")],
            },
            5000,
            0,
        ),
        ({"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}, 2000, 0),
        ({"containers": [container("1")], "overhead": {"cpu": "100m"}}, 1100, 0),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "4"}}}, 4000, 0),
        ({"containers": [{"name": "c"}]}, 0, 0),
    ],
)
def test_requests_are_summed_as_the_scheduler_sums_them(spec: dict[str, Any], cpu: int, memory: int) -> None:
    asked = requests(pod(**spec))
    assert (asked.get("cpu", 0), asked.get("memory", 0), asked["pods"]) == (cpu, memory * MEBIBYTE, 1)


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({}, True),
        ({"conditions": []}, False),
        ({"conditions": [{**UNSCHEDULABLE, "reason": "SchedulingGated"}]}, False),
        ({"phase": "Running"}, False),
        ({"nodeName": "i-1"}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, False),
        ({"owner": "DaemonSet"}, False),
        ({"owner": "ReplicaSet"}, True),
    ],
)
def test_only_pods_that_the_scheduler_gave_up_on_call_for_a_node(change: dict[str, Any], *, answer: bool) -> None:
    body = pod()
    body["status"] = {"phase": change.get("phase", "Pending"), "conditions": change.get("conditions", [UNSCHEDULABLE])}
    if "nodeName" in change:
        body["spec"]["nodeName"] = change["nodeName"]
    if "deletionTimestamp" in change:
        body["metadata"]["deletionTimestamp"] = change["deletionTimestamp"]
    if "owner" in change:
        body["metadata"]["ownerReferences"] = [{"kind": change["owner"]}]
    assert waits_for_node(body) is answer
    assert is_daemon(body) is (change.get("owner") == "DaemonSet")
