"""The deployed platform on the real API server: admission, placement and quota. Identities are tested in `test_prove.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from components.documents.node_pool import class_capacity
from config import load
from config.names import IDENTITY_FOLDER, namespace_jobs, namespace_manager
from runner_platform import class_files
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ApiError
from tests.support import job_pods
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

CLUSTERS = {"dev": "runner-platform-dev", "prod": "runner-platform"}
CLASSES = [(stack, name) for stack in ("dev", "prod") for name in load.of_stack(stack).runners]


@pytest.fixture(scope="module")
def clusters(sandbox: Sandbox) -> Iterator[dict[str, KubeClient]]:
    from pathlib import Path  # noqa: PLC0415  # used at run time

    clients = {
        cluster.name: KubeClient.from_kubeconfig(Path(cluster.kubeconfig)) for cluster in sandbox.state().clusters
    }
    yield {stack: clients[name] for stack, name in CLUSTERS.items()}
    for client in clients.values():
        client.close()


def settings_of(stack: str, runner_class: str) -> dict[str, Any]:
    return job_pods.configuration(class_files.values(stack, runner_class))


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_manager_of_each_class_runs_on_a_node_of_the_managers(
    clusters: dict[str, KubeClient], stack: str, runner_class: str
) -> None:
    pods = clusters[stack].list("v1", "Pod", namespace_manager(runner_class))
    assert [pod["status"]["phase"] for pod in pods] == ["Running"], "one manager, admitted by the restricted level"
    node = clusters[stack].get("v1", "Node", pods[0]["spec"]["nodeName"])
    assert node["metadata"]["labels"]["runner-platform/class"] == "managers"
    assert node["metadata"]["labels"]["karpenter.sh/capacity-type"] == "on-demand", "a manager never on spot"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_job_pod_of_each_class_runs_on_a_node_of_its_class(
    clusters: dict[str, KubeClient], stack: str, runner_class: str
) -> None:
    client, namespace = clusters[stack], namespace_jobs(runner_class)
    pod = client.create(job_pods.job_pod(settings_of(stack, runner_class), "trial"))
    name = pod["metadata"]["name"]
    try:
        until(
            lambda: client.get("v1", "Pod", name, namespace)["status"].get("phase") == "Running", f"{name} Running", 60
        )
        bound = client.get("v1", "Pod", name, namespace)
        node = client.get("v1", "Node", bound["spec"]["nodeName"])["metadata"]["labels"]
        assert node["runner-platform/class"] == runner_class
        assert (
            node["node.kubernetes.io/instance-type"] in class_capacity(load.of_stack(stack).runners[runner_class]).types
        )
    finally:
        client.delete("v1", "Pod", name, namespace)


@pytest.mark.parametrize(
    "attempt",
    [
        {"securityContext": {"privileged": True}},
        {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    ],
)
def test_a_job_pod_beyond_the_baseline_level_is_refused(
    clusters: dict[str, KubeClient], attempt: dict[str, Any]
) -> None:
    with pytest.raises(ApiError, match="violates PodSecurity"):
        clusters["dev"].create(job_pods.job_pod(settings_of("dev", "medium"), "trial-refused", **attempt))


def test_a_class_cannot_exceed_its_quota(clusters: dict[str, KubeClient]) -> None:
    quota = clusters["dev"].get("v1", "ResourceQuota", "jobs", namespace_jobs("big"))["spec"]["hard"]
    pod = job_pods.job_pod(settings_of("dev", "big"), "trial-large")
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = str(int(quota["pods"]) * 8)
    with pytest.raises(ApiError, match="exceeded quota"):
        clusters["dev"].create(pod)


def test_a_pod_is_not_placed_on_the_nodes_of_another_class(clusters: dict[str, KubeClient]) -> None:
    runner = settings_of("dev", "small")
    runner["kubernetes"]["node_tolerations"] = {"runner-platform/class=big": "NoSchedule"}
    runner["kubernetes"]["node_selector"] = {"runner-platform/class": "small"}
    client, namespace = clusters["dev"], namespace_jobs("small")
    client.create(job_pods.job_pod(runner, "trial-elsewhere"))
    try:
        phases = {client.get("v1", "Pod", "trial-elsewhere", namespace)["status"]["phase"] for _ in range(20)}
        assert phases == {"Pending"}, "nodes have a taint that only pods of their class tolerate"
    finally:
        client.delete("v1", "Pod", "trial-elsewhere", namespace)


def test_a_job_pod_has_no_kubernetes_token_and_no_web_identity_variable() -> None:
    for stack, runner_class in CLASSES:
        spec = job_pods.job_pod(settings_of(stack, runner_class), "trial")["spec"]
        assert spec["automountServiceAccountToken"] is False
        build, helper = (next(c for c in spec["containers"] if c["name"] == name) for name in ("build", "helper"))
        assert not {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} & {variable["name"] for variable in build["env"]}
        assert {variable["name"] for variable in helper["env"]} == {"HOME"}, "helper stages have no identity"
        assert IDENTITY_FOLDER not in {mount["mountPath"] for mount in helper["volumeMounts"]}
