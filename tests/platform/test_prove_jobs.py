"""`doctor` as a Job on the sandbox's real API server: admitted, placed, read through the API, deleted.

The sandbox's pods have no containers. A stand-in kubelet gives the output of `doctor` to the API server's log request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from config import load
from config.names import IDENTITY_FOLDER
from runner_platform.kube.client import ApiRefusalError
from runner_platform.prove import attempts, deployed, doctor_jobs
from runner_platform.prove.attempts import REFUSED
from runner_platform.prove.doctor_jobs import Patience
from runner_platform.prove.results import roles_in
from runner_platform_sandbox.kubernetes.client import KubeClient
from tests.support import proving, stand_in_kubelet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform.kube.client import Cluster
    from runner_platform.prove.attempts import Attempt
    from runner_platform.prove.deployed import DeployedClass
    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

SETTINGS = load.of_stack("dev")
CLASS = "small"
PATIENCE = Patience(seconds=120, pause=0.5)


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Iterator[Cluster]:
    with proving.sandbox_environment(sandbox):
        yield proving.cluster("dev")


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[KubeClient]:
    kubeconfig = next(
        cluster.kubeconfig for cluster in sandbox.state().clusters if cluster.name == SETTINGS.names.cluster
    )
    with KubeClient.from_kubeconfig(kubeconfig) as kube_client:
        yield kube_client


@pytest.fixture
def small(cluster: Cluster) -> DeployedClass:
    return deployed.read_class(cluster, CLASS, SETTINGS.organization.region)


def class_attempts() -> list[Attempt]:
    planned = attempts.of_classes(SETTINGS, load.of_foundation().accounts, attempts.Scope.of(everything=False))
    return [attempt for attempt in planned if attempt.runner_class == CLASS]


def doctor_output(_pod: dict[str, Any]) -> str:
    """Return the output of `doctor --json` if everything is right."""
    rows = [
        {
            "profile": attempt.profile,
            "sdk": attempt.sdk,
            "way": attempt.way,
            "got": attempt.expected,
            "ok": True,
            "cause": "",
        }
        for attempt in class_attempts()
        if attempt.expected != REFUSED
    ]
    return json.dumps({"class": CLASS, "rows": rows, "ok": True})


def test_an_unreachable_kubelet_is_an_error_and_the_job_is_deleted(
    cluster: Cluster, client: KubeClient, small: DeployedClass
) -> None:
    with pytest.raises(ApiRefusalError, match="containerLogs"):
        doctor_jobs.run_doctor(cluster, small, PATIENCE)
    assert client.list("batch/v1", "Job", "jobs-small") == []


def test_the_job_is_admitted_like_a_job_pod_and_its_log_becomes_results(
    cluster: Cluster, client: KubeClient, small: DeployedClass, tmp_path: Path
) -> None:
    with stand_in_kubelet.running(tmp_path, client, doctor_output) as kubelet:
        nodes = client.list("v1", "Node", label_selector=f"runner-platform/class={CLASS}")
        assert nodes, "the Job of the previous test started a node of the class, which stays for some minutes"
        for node in nodes:
            kubelet.take_over(client, node["metadata"]["name"])
        report = doctor_jobs.run_doctor(cluster, small, PATIENCE)
    results = doctor_jobs.read(class_attempts(), report, roles_in(class_attempts()))
    assert results
    assert all(result.ok for result in results)
    (pod,) = kubelet.pods
    spec = pod["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("job", False)
    (build,) = spec["containers"]
    assert {variable["name"] for variable in build["env"]} == {"AWS_CONFIG_FILE", "AWS_SDK_LOAD_CONFIG"}
    projected = {volume["name"]: volume["projected"] for volume in spec["volumes"] if "projected" in volume}
    mounted = [mount for mount in build["volumeMounts"] if mount["name"] in projected]
    assert [mount["mountPath"] for mount in mounted] == [IDENTITY_FOLDER], "no Kubernetes token"
    sources = projected[mounted[0]["name"]]["sources"]
    assert sources[0]["serviceAccountToken"]["audience"] == "sts.amazonaws.com"
    assert client.list("batch/v1", "Job", "jobs-small") == [], "the Job is deleted"


def test_a_full_namespace_is_named_in_the_error(cluster: Cluster, client: KubeClient, small: DeployedClass) -> None:
    quota = client.get("v1", "ResourceQuota", "jobs", "jobs-small")["spec"]["hard"]
    client.patch("v1", "ResourceQuota", "jobs", "jobs-small", {"spec": {"hard": {"pods": "0"}}})
    try:
        with pytest.raises(doctor_jobs.DoctorError, match="exceeded quota"):
            doctor_jobs.run_doctor(cluster, small, Patience(seconds=10, pause=0.5))
    finally:
        client.patch("v1", "ResourceQuota", "jobs", "jobs-small", {"spec": {"hard": {"pods": quota["pods"]}}})


@pytest.mark.parametrize("runner_class", SETTINGS.runners)
def test_the_job_of_every_class_passes_admission(cluster: Cluster, runner_class: str) -> None:
    deployed_class = deployed.read_class(cluster, runner_class, SETTINGS.organization.region)
    path = f"/apis/batch/v1/namespaces/{deployed_class.namespace}/jobs?dryRun=All&fieldValidation=Strict"
    job = cluster.post(path, doctor_jobs.manifest(deployed_class))
    pod = {"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]}
    pod["metadata"] = {
        "generateName": "prove-",
        "namespace": deployed_class.namespace,
        "labels": pod["metadata"]["labels"],
    }
    created = cluster.post(f"/api/v1/namespaces/{deployed_class.namespace}/pods?dryRun=All&fieldValidation=Strict", pod)
    assert created["spec"]["containers"][0]["command"] == ["doctor", "--json"]
