"""`doctor` as a Job, on the sandbox's real API server: admitted, placed, read through the API, deleted.

Pods have no containers here; what `doctor` would print comes from a stand-in kubelet, through the API server's own log request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from config import load
from config.names import IDENTITY_FOLDER
from runner_platform.kube.client import ApiRefusalError
from runner_platform.prove import deployed, jobs, judge, plan
from runner_platform.prove.jobs import Patience
from runner_platform.prove.model import REFUSED
from runner_platform_sandbox.kubernetes.client import KubeClient
from tests.support import proving, stand_in_kubelet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform.kube.client import Cluster
    from runner_platform.prove.deployed import Deployed
    from runner_platform.prove.model import Attempt
    from tests.support.live import Sandbox

pytestmark = pytest.mark.sandbox

SETTINGS = load.of_stack("dev")
CLASS = "small"
PATIENCE = Patience(seconds=120, pause=0.5)


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Iterator[Cluster]:
    with proving.as_after_sandbox_env(sandbox):
        yield proving.cluster("dev")


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[KubeClient]:
    kubeconfig = next(each.kubeconfig for each in sandbox.state().clusters if each.name == SETTINGS.names.cluster)
    with KubeClient.from_kubeconfig(kubeconfig) as made:
        yield made


@pytest.fixture
def small(cluster: Cluster) -> Deployed:
    return deployed.of_class(cluster, CLASS, SETTINGS.organization.region)


def own() -> list[Attempt]:
    found = plan.attempts(SETTINGS, load.of_foundation().accounts, plan.Scope.of(everything=False))
    return [each for each in found if each.runner_class == CLASS]


def printed(_pod: dict[str, Any]) -> str:
    """What `doctor --json` prints where all is well."""
    rows = [
        {"profile": each.profile, "sdk": each.sdk, "way": each.way, "got": each.expected, "ok": True, "cause": ""}
        for each in own()
        if each.expected != REFUSED
    ]
    return json.dumps({"class": CLASS, "rows": rows, "ok": True})


def test_a_kubelet_that_cannot_be_reached_is_told_and_the_job_is_deleted(
    cluster: Cluster, client: KubeClient, small: Deployed
) -> None:
    with pytest.raises(ApiRefusalError, match="containerLogs"):
        jobs.doctor(cluster, small, PATIENCE)
    assert client.list("batch/v1", "Job", "jobs-small") == []


def test_the_job_is_admitted_as_a_job_pod_would_be_and_its_log_is_the_cells(
    cluster: Cluster, client: KubeClient, small: Deployed, tmp_path: Path
) -> None:
    with stand_in_kubelet.running(tmp_path, client, printed) as kubelet:
        nodes = client.list("v1", "Node", label_selector=f"runner-platform/class={CLASS}")
        assert nodes, "the Job of the test before has started a node of the class, which stays for some minutes"
        for node in nodes:
            kubelet.take_over(client, node["metadata"]["name"])
        found = jobs.read(own(), jobs.doctor(cluster, small, PATIENCE), judge.known_roles(own()))
    assert found
    assert all(cell.ok for cell in found)
    (pod,) = kubelet.pods
    spec = pod["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("job", False)
    (build,) = spec["containers"]
    assert {each["name"] for each in build["env"]} == {"AWS_CONFIG_FILE", "AWS_SDK_LOAD_CONFIG"}
    assert [each["mountPath"] for each in build["volumeMounts"]] == [IDENTITY_FOLDER], "and no Kubernetes token"
    sources = spec["volumes"][0]["projected"]["sources"]
    assert sources[0]["serviceAccountToken"]["audience"] == "sts.amazonaws.com"
    assert client.list("batch/v1", "Job", "jobs-small") == [], "nothing of it stays"


def test_a_namespace_that_is_full_says_so(cluster: Cluster, client: KubeClient, small: Deployed) -> None:
    quota = client.get("v1", "ResourceQuota", "jobs", "jobs-small")["spec"]["hard"]
    client.patch("v1", "ResourceQuota", "jobs", "jobs-small", {"spec": {"hard": {"pods": "0"}}})
    try:
        with pytest.raises(jobs.DoctorError, match="exceeded quota"):
            jobs.doctor(cluster, small, Patience(seconds=10, pause=0.5))
    finally:
        client.patch("v1", "ResourceQuota", "jobs", "jobs-small", {"spec": {"hard": {"pods": quota["pods"]}}})


@pytest.mark.parametrize("runner_class", SETTINGS.runners)
def test_every_class_s_job_passes_admission(cluster: Cluster, runner_class: str) -> None:
    found = deployed.of_class(cluster, runner_class, SETTINGS.organization.region)
    path = f"/apis/batch/v1/namespaces/{found.namespace}/jobs?dryRun=All&fieldValidation=Strict"
    job = cluster.post(path, jobs.manifest(found))
    pod = {"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]}
    pod["metadata"] = {"generateName": "prove-", "namespace": found.namespace, "labels": pod["metadata"]["labels"]}
    made = cluster.post(f"/api/v1/namespaces/{found.namespace}/pods?dryRun=All&fieldValidation=Strict", pod)
    assert made["spec"]["containers"][0]["command"] == ["doctor", "--json"]
