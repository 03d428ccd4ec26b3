"""Admission is the real one: pod security, quotas, and the schemas of Auto Mode's kinds."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.kubernetes.errors import ApiError, ForbiddenError, InvalidError
from sandbox.tests.support.kubernetes_cases import Trial, node_class, node_pool, pod

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.kubernetes_fixture",)

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
HOST_PATH = {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}
PRIVILEGED = {"container": {"securityContext": {"privileged": True}}}
ADMIN_CAPABILITY = {"container": {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}}


@pytest.mark.parametrize(
    ("level", "fields", "refusal"),
    [
        ("privileged", PRIVILEGED, None),
        ("privileged", HOST_PATH, None),
        ("baseline", {}, None),
        ("baseline", PRIVILEGED, "privileged"),
        ("baseline", HOST_PATH, "hostPath"),
        ("baseline", ADMIN_CAPABILITY, "SYS_ADMIN"),
        ("restricted", {}, "allowPrivilegeEscalation"),
        ("restricted", {"container": {"securityContext": RESTRICTED}}, None),
        ("restricted", {"container": {"securityContext": {**RESTRICTED, "seccompProfile": None}}}, "seccompProfile"),
    ],
)
def test_a_namespace_holds_pods_to_its_level(
    kubernetes: Trial, level: str, fields: dict[str, Any], refusal: str | None
) -> None:
    namespace = kubernetes.namespace("security", **{"pod_security.kubernetes.io__enforce": level})
    body = pod("p", namespace, **fields)
    if refusal is None:
        assert kubernetes.client.create(body)["metadata"]["name"] == "p"
    else:
        with pytest.raises(ForbiddenError, match=f'violates PodSecurity "{level}:latest".*{refusal}'):
            kubernetes.client.create(body)


def test_a_quota_refuses_the_pod_that_is_too_many(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("quota")
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "ceiling", "namespace": namespace},
        "spec": {"hard": {"pods": "2", "requests.cpu": "3"}},
    }
    kubernetes.client.create(quota)
    kubernetes.client.create(pod("a", namespace))
    kubernetes.client.create(pod("b", namespace))
    with pytest.raises(ForbiddenError, match="exceeded quota: ceiling"):
        kubernetes.client.create(pod("c", namespace))


def refused(kubernetes: Trial, body: dict[str, Any], path: str, value: Any, message: str) -> None:
    *parents, last = path.split(".")
    target = body
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(InvalidError, match=message):
        kubernetes.client.apply(body, dry_run=True)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.template.spec.nodeClassRef.kind", "EC2NodeClass", "kind 'NodeClass' only"),
        ("spec.template.metadata.labels", {"karpenter.sh/x": "y"}, 'label domain "karpenter.sh" is restricted'),
        ("spec.template.metadata.labels", {"kubernetes.io/hostname": "y"}, "is restricted"),
        (
            "spec.template.spec.requirements",
            [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}],
            'label domain "kubernetes.io" is restricted',
        ),
        (
            "spec.template.spec.requirements",
            [{"key": "team", "operator": "In", "values": []}],
            "operator 'In' must have a value",
        ),
        (
            "spec.template.spec.requirements",
            [{"key": "eks.amazonaws.com/instance-cpu", "operator": "Gt", "values": ["many"]}],
            "single positive integer",
        ),
        ("spec.template.spec.expireAfter", "600h", "at most 21 days"),
        ("spec.template.spec.terminationGracePeriod", "1 hour", "should match"),
        ("spec.disruption.budgets", [{"nodes": "101%"}], "should match"),
        ("spec.disruption.budgets", [{"nodes": "1", "duration": "1h"}], "'schedule' must be set with 'duration'"),
        ("spec.disruption.consolidationPolicy", "Whenever", "supported values"),
        ("spec.weight", 0, "greater than or equal to 1"),
        ("spec.limits", {"cpu": "a lot"}, "should match"),
    ],
)
def test_a_wrong_node_pool_is_refused_and_the_field_named(
    kubernetes: Trial, path: str, value: Any, message: str
) -> None:
    refused(kubernetes, node_pool("wrong"), path, value, message)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.instanceProfile", "also", "exactly one of 'role' and 'instanceProfile'"),
        ("spec.subnetSelectorTerms", [], "at least 1 items"),
        ("spec.subnetSelectorTerms", [{"id": "subnet-0a", "tags": {"a": "b"}}], "mutually exclusive"),
        ("spec.securityGroupSelectorTerms", [{}], "expected at least one"),
        ("spec.networkPolicy", "Deny", "supported values"),
        ("spec.ephemeralStorage", {"size": "20GB"}, "should match"),
        ("spec.tags", {"karpenter.sh/nodepool": "x"}, "are reserved"),
    ],
)
def test_a_wrong_node_class_is_refused_and_the_field_named(
    kubernetes: Trial, path: str, value: Any, message: str
) -> None:
    refused(kubernetes, node_class("wrong"), path, value, message)


def test_a_misspelt_field_is_refused_and_defaults_are_those_of_auto_mode(kubernetes: Trial) -> None:
    with pytest.raises(ApiError, match="weigth: field not declared in schema"):
        kubernetes.client.apply(node_pool("wrong", weigth=1), dry_run=True)
    applied = kubernetes.client.apply(node_pool("right"), dry_run=True)
    assert applied["spec"]["template"]["spec"]["expireAfter"] == "336h"
    del (body := node_pool("right"))["spec"]["disruption"]
    assert kubernetes.client.apply(body, dry_run=True)["spec"]["disruption"] == {
        "budgets": [{"nodes": "10%"}],
        "consolidateAfter": "0s",
        "consolidationPolicy": "WhenEmptyOrUnderutilized",
    }
