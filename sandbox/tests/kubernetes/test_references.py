"""What a pod waits for, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.kubernetes.command_lines import REFERENCES_CONDITION
from runner_platform_sandbox.kubernetes.kubelet import status_for
from runner_platform_sandbox.kubernetes.references import Kind, missing

THERE = {("Secret", "n", "token"): {"a"}, ("ConfigMap", "n", "settings"): {"a"}}


def keys(kind: Kind, namespace: str, name: str) -> set[str] | None:
    return THERE.get((kind, namespace, name))


def pod(*, volumes: list[Any] | None = None, init: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    spec = {
        "containers": [{"name": "c", "image": "i", **fields}],
        "initContainers": [{"name": "first", "image": "i", **init}] if init else [],
        "volumes": volumes or [],
    }
    return {"metadata": {"name": "p", "namespace": "n"}, "spec": spec}


def variable(field: str, name: str, key: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "V", "valueFrom": {f"{field}KeyRef": {"name": name, "key": key, **more}}}]


def projected(*sources: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "v", "projected": {"sources": list(sources)}}]


TOKEN = {"serviceAccountToken": {"path": "token"}}


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (pod(), []),
        (pod(env=[{"name": "A", "value": "x"}]), []),
        (pod(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]), []),
        (pod(env=variable("secret", "token", "a")), []),
        (pod(env=variable("secret", "token", "b")), ["couldn't find key b in Secret n/token"]),
        (pod(env=variable("secret", "gone", "a")), ['secret "gone" not found']),
        (pod(env=variable("secret", "gone", "a", optional=True)), []),
        (pod(env=variable("configMap", "settings", "b")), ["couldn't find key b in ConfigMap n/settings"]),
        (pod(init={"env": variable("configMap", "gone", "b")}), ['configmap "gone" not found']),
        (pod(envFrom=[{"secretRef": {"name": "gone"}}]), ['secret "gone" not found']),
        (pod(envFrom=[{"configMapRef": {"name": "gone", "optional": True}}]), []),
        (pod(envFrom=[{"configMapRef": {"name": "settings"}}]), []),
        (pod(volumes=[{"name": "v", "secret": {"secretName": "gone"}}]), ['secret "gone" not found']),
        (pod(volumes=[{"name": "v", "secret": {"secretName": "gone", "optional": True}}]), []),
        (
            pod(volumes=[{"name": "v", "secret": {"secretName": "token", "items": [{"key": "b", "path": "b"}]}}]),
            ["references non-existent secret key: b of n/token"],
        ),
        (pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]), []),
        (pod(volumes=projected(TOKEN, {"configMap": {"name": "settings", "items": [{"key": "a"}]}})), []),
        (pod(volumes=projected(TOKEN, {"configMap": {"name": "aws-config"}})), ['configmap "aws-config" not found']),
        (
            pod(volumes=projected({"secret": {"name": "token", "items": [{"key": "a"}, {"key": "b"}]}})),
            ["references non-existent secret key: b of n/token"],
        ),
        (pod(volumes=[{"name": "v", "emptyDir": {}}]), []),
    ],
)
def test_a_pod_waits_for_exactly_what_a_kubelet_waits_for(body: dict[str, Any], problems: list[str]) -> None:
    assert [problem for _, problem in missing(body, keys)] == problems


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (pod(env=variable("secret", "gone", "a")), "CreateContainerConfigError"),
        (pod(volumes=[{"name": "v", "secret": {"secretName": "gone"}}]), "ContainerCreating"),
        (
            pod(env=variable("secret", "gone", "a"), volumes=[{"name": "v", "configMap": {"name": "gone"}}]),
            "ContainerCreating",
        ),
        (pod(init={"env": variable("secret", "gone", "a")}), "ContainerCreating"),
    ],
)
def test_the_reason_is_the_one_that_kubectl_shows_on_a_real_node(body: dict[str, Any], reason: str) -> None:
    status = status_for(body, missing(body, keys))
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
    assert status["conditions"][0]["status"] == "False"


def test_a_pod_without_missing_references_gets_only_the_condition() -> None:
    status = status_for(pod(), [])
    assert [(condition["type"], condition["status"]) for condition in status["conditions"]] == [
        (REFERENCES_CONDITION, "True")
    ]
    assert "containerStatuses" not in status
