"""The platform's guards of job pods, in a real API server: the class's disruption budget."""

from __future__ import annotations

import subprocess
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.disruption import CLEANUP_GRACE, jobs_budget
from components.documents.pods import CLASS_LABEL
from runner_platform_sandbox.kubernetes.client import MERGE_PATCH
from runner_platform_sandbox.kubernetes.errors import ApiError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support.kubernetes_cases import Trial, pod, stays, types
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.kubernetes_fixture",)

SLOT = {"job.runner.gitlab.com/pod": "runner-tokentokn-project-5678-concurrent-0"}
"""Label of the real runner. Two managers of a class share a slot's value, and so do a finished pod and the next one."""
KUBELET = "runner-platform.test/kubelet"
"""A finalizer in the place of a kubelet that still ends a pod's processes."""


@pytest.fixture(scope="module")
def pool(kubernetes: Trial) -> Iterator[str]:
    with kubernetes.pool("evictions", types("m7i.xlarge")) as name:
        yield name


@pytest.fixture
def jobs(kubernetes: Trial) -> Iterator[str]:
    """A jobs' namespace with the class's budget; its pods are gone afterwards, so that their node can go."""
    namespace = kubernetes.namespace("jobs")
    kubernetes.client.create(budget("jobs", namespace, jobs_budget("small")))
    yield namespace
    for body in kubernetes.client.list("v1", "Pod", namespace):
        kubernetes.client.delete("v1", "Pod", body["metadata"]["name"], namespace, grace_seconds=0)


def budget(name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def runners_budget(name: str, namespace: str) -> dict[str, Any]:
    """Compose the budget that the runner itself makes for a pod."""
    return budget(f"{name}-pdb", namespace, {"minAvailable": 1, "selector": {"matchLabels": SLOT}})


def start_job(kubernetes: Trial, name: str, namespace: str, pool: str, **metadata: Any) -> None:
    body = pod(name, namespace, pool=pool, cpu="100m", restartPolicy="Never")
    body["metadata"] |= {"labels": {CLASS_LABEL: "small", **SLOT}, **metadata}
    kubernetes.client.create(body)
    kubernetes.runs(name, namespace)


def evict(kubernetes: Trial, name: str, namespace: str) -> int:
    """Ask for an eviction and return the API server's status."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = kubernetes.client.path("v1", "Pod", name, namespace, "eviction")
    try:
        kubernetes.client.transport.request("POST", path, body=body, patient=False)
    except ApiError as error:
        return error.status
    return HTTPStatus.CREATED


def observed(kubernetes: Trial, namespace: str, healthy: int) -> bool:
    """Whether the controller has counted the pods of every budget."""
    budgets = kubernetes.client.list("policy/v1", "PodDisruptionBudget", namespace)
    return all(item.get("status", {}).get("currentHealthy") == healthy for item in budgets)


def test_jobs_of_two_managers_in_one_slot_are_not_evicted(kubernetes: Trial, pool: str, jobs: str) -> None:
    start_job(kubernetes, "of-the-old-manager", jobs, pool)
    start_job(kubernetes, "of-the-new-manager", jobs, pool)
    until(lambda: observed(kubernetes, jobs, 2), "the budget to count both")
    for name in ("of-the-old-manager", "of-the-new-manager"):
        assert evict(kubernetes, name, jobs) == HTTPStatus.TOO_MANY_REQUESTS, "429: a drain tries again"
    kubernetes.client.create(runners_budget("of-the-new-manager", jobs))
    assert evict(kubernetes, "of-the-new-manager", jobs) == HTTPStatus.INTERNAL_SERVER_ERROR, (
        "why the runner's own budgets are off: a drain may give up at 500"
    )


def test_a_running_job_with_a_dead_service_is_not_evicted(kubernetes: Trial, pool: str, jobs: str) -> None:
    start_job(kubernetes, "job", jobs, pool)
    until(lambda: observed(kubernetes, jobs, 1), "the budget to count the pod")
    ready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
    kubernetes.client.patch("v1", "Pod", "job", jobs, {"status": {"conditions": [ready]}}, subresource="status")
    until(lambda: observed(kubernetes, jobs, 0), "the budget to notice")
    assert evict(kubernetes, "job", jobs) == HTTPStatus.TOO_MANY_REQUESTS


def test_pods_without_a_running_job_are_evicted(kubernetes: Trial, pool: str, jobs: str) -> None:
    start_job(kubernetes, "running", jobs, pool)
    start_job(kubernetes, "ending", jobs, pool, finalizers=[KUBELET])
    start_job(kubernetes, "timed-out", jobs, pool)
    kubernetes.client.delete("v1", "Pod", "ending", jobs, grace_seconds=CLEANUP_GRACE)
    kubernetes.client.patch(
        "v1",
        "Pod",
        "timed-out",
        jobs,
        {"status": {"phase": "Failed", "reason": "DeadlineExceeded"}},
        subresource="status",
    )
    try:
        for name in ("ending", "timed-out"):
            assert evict(kubernetes, name, jobs) == HTTPStatus.CREATED, name
        assert evict(kubernetes, "running", jobs) == HTTPStatus.TOO_MANY_REQUESTS
    finally:
        kubernetes.client.patch(
            "v1", "Pod", "ending", jobs, {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH
        )


def test_a_drain_waits_for_the_job_and_then_ends(kubernetes: Trial, pool: str, jobs: str) -> None:
    start_job(kubernetes, "job", jobs, pool)
    node = kubernetes.client.get("v1", "Pod", "job", jobs)["spec"]["nodeName"]
    command = [Tools.find(Paths.from_environment()).kubectl, "--kubeconfig", kubernetes.cluster.admin_kubeconfig]
    with subprocess.Popen([*command, "drain", node, "--force"], stderr=subprocess.PIPE, text=True) as drain:
        try:
            assert drain.stderr is not None
            next(line for line in drain.stderr if "violate the pod's disruption budget" in line)
            stays(lambda: drain.poll() is None, "the drain", 1)
            assert kubernetes.phase("job", jobs) == "Running"
            kubernetes.client.delete("v1", "Pod", "job", jobs, grace_seconds=CLEANUP_GRACE)
            assert drain.wait(30) == 0, "the job's pod is gone, and the node is empty"
        finally:
            drain.kill()
