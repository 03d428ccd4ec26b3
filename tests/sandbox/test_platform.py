"""The deployed platform, as the real API server and real SDKs see it: admission, placement, quota, and who a job is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from automation import inspect
from components.documents import profiles
from components.documents.nodes import node_plan
from config import load
from config.names import namespace_jobs, namespace_manager
from sandbox.kubernetes.client import KubeClient
from sandbox.kubernetes.errors import ApiError
from tests.sandbox import job_pods
from tests.sandbox.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox.live import Sandbox

pytestmark = pytest.mark.sandbox

CLUSTERS = {"dev": "runner-platform-dev", "prod": "runner-platform"}
CLASSES = [(stack, name) for stack in ("dev", "prod") for name in load.of_stack(stack).runners]


@pytest.fixture(scope="module")
def clusters(sandbox: Sandbox) -> Iterator[dict[str, KubeClient]]:
    from pathlib import Path  # noqa: PLC0415  # run time use beside an annotation

    found = {each.name: KubeClient.from_kubeconfig(Path(each.kubeconfig)) for each in sandbox.state().clusters}
    yield {stack: found[name] for stack, name in CLUSTERS.items()}
    for client in found.values():
        client.close()


def settings_of(stack: str, runner_class: str) -> dict[str, Any]:
    return job_pods.configuration(inspect.values(stack, runner_class))


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_manager_of_each_class_runs_on_the_managers_nodes(
    clusters: dict[str, KubeClient], stack: str, runner_class: str
) -> None:
    pods = clusters[stack].list("v1", "Pod", namespace_manager(runner_class))
    assert [pod["status"]["phase"] for pod in pods] == ["Running"], "one manager, admitted under restricted"
    node = clusters[stack].get("v1", "Node", pods[0]["spec"]["nodeName"])
    assert node["metadata"]["labels"]["runner-platform/class"] == "managers"
    assert node["metadata"]["labels"]["karpenter.sh/capacity-type"] == "on-demand", "a manager never on spot"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_job_pod_of_each_class_is_admitted_and_runs_on_a_node_of_its_class(
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
        assert node["node.kubernetes.io/instance-type"] in node_plan(load.of_stack(stack).runners[runner_class]).types
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
def test_a_job_pod_that_wants_more_than_baseline_is_refused(
    clusters: dict[str, KubeClient], attempt: dict[str, Any]
) -> None:
    with pytest.raises(ApiError, match="violates PodSecurity"):
        clusters["dev"].create(job_pods.job_pod(settings_of("dev", "medium"), "trial-refused", **attempt))


def test_a_class_cannot_run_more_pods_than_its_quota(clusters: dict[str, KubeClient]) -> None:
    quota = clusters["dev"].get("v1", "ResourceQuota", "jobs", namespace_jobs("big"))["spec"]["hard"]
    pod = job_pods.job_pod(settings_of("dev", "big"), "trial-large")
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = str(int(quota["pods"]) * 8)
    with pytest.raises(ApiError, match="exceeded quota"):
        clusters["dev"].create(pod)


def test_a_pod_of_one_class_is_not_placed_on_another_class_s_nodes(clusters: dict[str, KubeClient]) -> None:
    kubernetes = {**settings_of("dev", "small"), "node_tolerations": {"runner-platform/class=big": "NoSchedule"}}
    kubernetes["node_selector"] = {"runner-platform/class": "small"}
    client, namespace = clusters["dev"], namespace_jobs("small")
    client.create(job_pods.job_pod(kubernetes, "trial-elsewhere"))
    try:
        phases = {client.get("v1", "Pod", "trial-elsewhere", namespace)["status"]["phase"] for _ in range(20)}
        assert phases == {"Pending"}, "the taint keeps pods without the class's toleration away"
    finally:
        client.delete("v1", "Pod", "trial-elsewhere", namespace)


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_job_is_its_class_and_becomes_the_delegated_role_of_each_account_it_may_enter(
    sandbox: Sandbox, clusters: dict[str, KubeClient], stack: str, runner_class: str, tmp_path: Path
) -> None:
    settings = load.of_stack(stack)
    variables = job_pods.write_identity(clusters[stack], runner_class, tmp_path)
    job_role = settings.names.job_role(runner_class)
    own = job_pods.who_am_i(sandbox, variables, "", tmp_path)
    assert own == f"arn:aws:sts::{settings.platform_account.id}:assumed-role/{job_role}/{job_role}"
    reachable = settings.accounts_of(runner_class)
    for account in load.of_foundation().accounts:
        got = job_pods.who_am_i(sandbox, variables, account, tmp_path)
        if account in reachable:
            role = settings.names.delegated_role(settings.runners[runner_class].level)
            assert got == f"arn:aws:sts::{reachable[account].id}:assumed-role/{role}/{job_role}"
        else:
            assert "could not be found" in got, f"{runner_class} has no profile {account}, and no session by it"


def test_an_account_that_a_class_may_not_enter_refuses_it_whatever_its_config_says(
    sandbox: Sandbox, clusters: dict[str, KubeClient], tmp_path: Path
) -> None:
    settings = load.of_stack("prod")
    variables = job_pods.write_identity(clusters["prod"], "small", tmp_path)
    deploy = replace(settings, runners={"small": settings.runners["deploy"]})
    forged = profiles.class_profiles(deploy, "small", token_file=str(tmp_path / "token"))
    (tmp_path / "config").write_text(forged)
    assert ":assumed-role/runner-small/" in job_pods.who_am_i(sandbox, variables, "", tmp_path)
    assert "AccessDenied" in job_pods.who_am_i(sandbox, variables, "prod", tmp_path)


@pytest.mark.parametrize("account", ["default"])
def test_another_service_account_of_the_jobs_namespace_is_nobody(
    sandbox: Sandbox, clusters: dict[str, KubeClient], account: str, tmp_path: Path
) -> None:
    variables = job_pods.write_identity(clusters["dev"], "small", tmp_path, account=account)
    assert "AccessDenied" in job_pods.who_am_i(sandbox, variables, "", tmp_path)


def test_the_same_class_of_the_other_stack_is_nobody_here(
    sandbox: Sandbox, clusters: dict[str, KubeClient], tmp_path: Path
) -> None:
    variables = job_pods.write_identity(clusters["dev"], "small", tmp_path)
    token = (tmp_path / "token").read_text()
    job_pods.write_identity(clusters["prod"], "small", tmp_path)
    (tmp_path / "token").write_text(token)
    got = job_pods.who_am_i(sandbox, variables, "", tmp_path)
    assert "AccessDenied" in got or "InvalidIdentityToken" in got, "dev's cluster speaks for dev's roles only"


def test_a_job_pod_has_no_kubernetes_token_and_no_web_identity_variable() -> None:
    for stack, runner_class in CLASSES:
        spec = job_pods.job_pod(settings_of(stack, runner_class), "trial")["spec"]
        assert spec["automountServiceAccountToken"] is False
        build, helper = (next(c for c in spec["containers"] if c["name"] == name) for name in ("build", "helper"))
        assert not {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} & {each["name"] for each in build["env"]}
        assert "env" not in helper, "helper stages have no identity"
        assert "volumeMounts" not in helper
