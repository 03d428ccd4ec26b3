"""A lock of a run in a pod of the stack's own cluster: the real API server says whether the pod exists, or nothing is proven."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from config import load
from config.names import JOB_SERVICE_ACCOUNT, namespace_jobs
from runner_platform.driver import evidence, locks
from runner_platform.driver.evidence import Pod
from runner_platform.driver.locks import OwnerRecord
from runner_platform.driver.project import Project
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.organization import PROJECT
from tests.support.job_pods import AUDIENCE, configuration, job_pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox
CLASS = "small"
NAMESPACE = namespace_jobs(CLASS)
NAME = "runner-t1-project-5678-concurrent-0-lockholder"
LOCKS = ".pulumi/locks/organization/runner-platform/dev"


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[KubeClient]:
    cluster = load.of_stack("dev").names.cluster
    kubeconfig = next(entry.kubeconfig for entry in sandbox.state().clusters if entry.name == cluster)
    with KubeClient.from_kubeconfig(kubeconfig) as connected:
        yield connected


@pytest.fixture
def pod(sandbox: Sandbox, client: KubeClient, tmp_path: Path) -> Iterator[Pod]:
    """A job pod of the class, as a run in it knows itself by the token that the API server signs for it."""
    created = create(sandbox, client)
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [AUDIENCE],
            "expirationSeconds": 3600,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": NAME, "uid": created["metadata"]["uid"]},
        },
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{JOB_SERVICE_ACCOUNT}/token"
    (tmp_path / "token").write_text(client.request("POST", path, body=request)["status"]["token"])
    own_pod = evidence.this_pod((str(tmp_path / "token"),))
    assert own_pod is not None
    assert (own_pod.namespace, own_pod.name, own_pod.uid) == (NAMESPACE, NAME, created["metadata"]["uid"])
    yield own_pod
    delete(client)


def create(sandbox: Sandbox, client: KubeClient) -> dict[str, Any]:
    command = [sys.executable, "-m", "runner_platform", "values", CLASS, "--stack", "dev"]
    values = sandbox.run(command, sandbox.variables)
    assert values.returncode == 0, values.stderr
    body = job_pod(configuration(values.stdout), NAME)
    body["metadata"].setdefault("namespace", NAMESPACE)
    return client.create(body)


def delete(client: KubeClient) -> None:
    """Delete the pod without a kubelet's grace, like the loss of its node."""
    client.delete("v1", "Pod", NAME, NAMESPACE, grace_seconds=0)
    assert client.find("v1", "Pod", NAME, NAMESPACE) is None


@pytest.fixture
def stack(sandbox: Sandbox) -> Iterator[Project]:
    """The stack dev; all locks and records are deleted afterwards."""
    dev = Project(stack="dev", folder=PROJECT, url=f"file://{sandbox.paths.backend}")
    yield dev
    for key in (*dev.store.keys(f"{LOCKS}/"), *dev.store.keys(".runner-platform/owners/runner-platform/dev/")):
        dev.store.delete(key)


def hold(stack: Project, pod: Pod, name: str = "job") -> str:
    """Leave a lock and its record as a driver in this pod does; GitLab does not tell about the job."""
    now = datetime.now(UTC)
    record = OwnerRecord(
        id=name,
        operation="up",
        user="somebody",
        host=pod.name,
        machine="another kernel",
        pid=40,
        started=now.isoformat(timespec="seconds"),
        engine_pid=41,
        pipeline="77",
        job="4711",
        job_url="https://gitlab.invalid/platform/-/jobs/4711",
        project="5",
        ends=(now + timedelta(hours=1)).isoformat(),
        pod=pod,
    )
    locks.write_record(stack, record)
    lock = {"pid": 41, "username": "somebody", "hostname": pod.name, "timestamp": now.isoformat()}
    key = f"{LOCKS}/{name}.json"
    stack.store.write(key, json.dumps(lock).encode())
    return key


def unlock(sandbox: Sandbox, **variables: str) -> tuple[Completed, dict[str, Any]]:
    """Run `runner-platform unlock --stack dev`; return its report about the job's lock."""
    command = [sys.executable, "-m", "runner_platform", "unlock", "--stack", "dev", "--json"]
    silent = {"RUNNER_PLATFORM_READ_TOKEN": "", "GITLAB_TOKEN": "", **variables}
    done = sandbox.run(command, {**sandbox.variables, **silent})
    return done, next(report for report in json.loads(done.stdout) if report["lock"] == "job")


def test_a_live_pod_keeps_its_lock_and_a_lost_pod_loses_only_its_own(
    sandbox: Sandbox, client: KubeClient, pod: Pod, stack: Project
) -> None:
    hold(stack, pod)
    foreign = f"{LOCKS}/foreign.json"
    lock = {"pid": 1, "username": "x", "hostname": "elsewhere", "timestamp": datetime.now(UTC).isoformat()}
    stack.store.write(foreign, json.dumps(lock).encode())
    done, report = unlock(sandbox)
    assert (done.returncode, report["fate"], report["removed"]) == (4, "alive", False), done.stderr
    assert f"pod {NAMESPACE}/{NAME} of cluster runner-platform-dev is " in report["why"]
    delete(client)
    done, report = unlock(sandbox)
    assert (done.returncode, report["fate"], report["removed"]) == (1, "dead", True), "the other lock is left"
    assert f"there is no pod {NAMESPACE}/{NAME}" in report["why"]
    assert stack.store.keys(f"{LOCKS}/") == [foreign]


def test_a_later_pod_of_the_same_name_is_not_the_holder(
    sandbox: Sandbox, client: KubeClient, pod: Pod, stack: Project
) -> None:
    hold(stack, pod)
    delete(client)
    create(sandbox, client)
    done, report = unlock(sandbox)
    assert (done.returncode, report["fate"]) == (0, "dead"), done.stderr
    assert "is another one" in report["why"]
    assert stack.store.keys(f"{LOCKS}/") == []


@pytest.mark.parametrize("reason", ["another cluster", "no credentials", "no right to look", "AWS is not there"])
def test_a_lost_pod_proves_nothing_without_an_answer(
    sandbox: Sandbox, client: KubeClient, pod: Pod, stack: Project, tmp_path: Path, reason: str
) -> None:
    delete(client)
    config = tmp_path / "config"
    config.write_text("")
    stranger = (
        f"[profile platform-cicd]\nregion = eu-central-1\nrole_arn = arn:aws:iam::222222222222:role/nobody\n"
        f"web_identity_token_file = {tmp_path}/token\n"
    )
    variables: dict[str, str] = {}
    if reason == "another cluster":
        pod = Pod(issuer=f"{pod.issuer}0", namespace=pod.namespace, name=pod.name, uid=pod.uid)
    if reason == "no credentials":
        variables = {"AWS_CONFIG_FILE": str(config)}
    if reason == "no right to look":
        config.write_text(stranger)
        variables = {"AWS_CONFIG_FILE": str(config)}
    if reason == "AWS is not there":
        variables = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    key = hold(stack, pod)
    done, report = unlock(sandbox, **variables)
    assert (done.returncode, report["fate"], report["removed"]) == (1, "unknown", False), done.stderr
    assert "GitLab does not tell" in report["why"]
    assert stack.store.keys(f"{LOCKS}/") == [key]
