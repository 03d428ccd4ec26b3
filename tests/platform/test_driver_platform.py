"""The driver on the real stack dev: drift that opens something, a role deleted by hand, Helm killed half way, a cancelled run, a destroy."""

from __future__ import annotations

import base64
import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import gitlab
import pytest

from runner_platform.driver import helm_releases
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.organization import PROJECT
from tests.support.copied_program import change, copied
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox
ROLE = "delegated-role-open-dev"
ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


def driver(sandbox: Sandbox, *arguments: str) -> Completed:
    """`runner-platform <arguments> --stack dev`, as after `sandbox env`."""
    done = sandbox.run([sys.executable, "-m", "runner_platform", *arguments, "--stack", "dev"], sandbox.variables)
    if "--json" not in arguments:
        done.stdout += done.stderr
    return done


def begin(sandbox: Sandbox, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "runner_platform", *arguments, "--stack", "dev"],
        cwd=PROJECT,
        env=sandbox.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def aws(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Clients of the account dev, as the deployer."""
    for name, value in sandbox.variables.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return boto3.Session(profile_name="platform-dev").client


@pytest.fixture
def kubernetes(sandbox: Sandbox) -> Iterator[KubeClient]:
    file = next(cluster.kubeconfig for cluster in sandbox.state().clusters if cluster.name == "runner-platform-dev")
    client = KubeClient.from_kubeconfig(Path(file))
    yield client
    client.close()


def test_drift_distinguishes_an_opened_role_from_a_cosmetic_change(sandbox: Sandbox, aws: Any, tmp_path: Path) -> None:
    iam = aws("iam")
    clean = driver(sandbox, "drift", "--reports", str(tmp_path))
    assert clean.returncode == 0, clean.stdout
    assert "no drift" in clean.stdout
    before = iam.get_role(RoleName=ROLE)["Role"]
    iam.update_role_description(RoleName=ROLE, Description="changed by hand")
    cosmetic = driver(sandbox, "drift", "--reports", str(tmp_path), "--json")
    assert cosmetic.returncode == 0, cosmetic.stderr
    assert [resource["kind"] for resource in json.loads(cosmetic.stdout)] == ["cosmetic"]
    iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(ANYBODY))
    try:
        opened = driver(sandbox, "drift", "--reports", str(tmp_path))
        assert opened.returncode == 1, opened.stdout
        assert "iam-role-trusts-no-anonymous-principal" in opened.stdout
        assert "Weakens the platform" in (tmp_path / "dev" / "drift.md").read_text()
        assert "<failure" in (tmp_path / "dev" / "junit.xml").read_text()
        rules = {entry["check_name"] for entry in json.loads((tmp_path / "dev" / "codequality.json").read_text())}
        assert "T01 iam-role-trusts-no-anonymous-principal" in rules
        assert json.loads((tmp_path / "dev" / "terraform.json").read_text())["update"] == 1
        assert f"may become arn:aws:iam::333333333333:role/cicd-dev/{ROLE}" in opened.stdout, "who gains by it"
        assert "0 gained" not in (tmp_path / "dev" / "access.md").read_text()
    finally:
        document = json.dumps(before["AssumeRolePolicyDocument"])
        iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=document)
        iam.update_role_description(RoleName=ROLE, Description=before["Description"])


def test_a_role_deleted_by_hand_is_gone_in_drift_and_back_after_refresh_and_up(sandbox: Sandbox, aws: Any) -> None:
    iam = aws("iam")
    for policy in iam.list_role_policies(RoleName=ROLE)["PolicyNames"]:
        iam.delete_role_policy(RoleName=ROLE, PolicyName=policy)
    iam.delete_role(RoleName=ROLE)
    gone = driver(sandbox, "drift")
    assert gone.returncode == 1
    assert "gone: Role delegated-dev-open-role" in gone.stdout, gone.stdout
    assert driver(sandbox, "refresh").returncode == 0
    back = driver(sandbox, "up")
    assert back.returncode == 0, back.stdout
    assert iam.list_role_policies(RoleName=ROLE)["PolicyNames"]
    assert driver(sandbox, "drift").returncode == 0


def test_a_runner_that_a_maintainer_edited_turns_drift_and_up_red(sandbox: Sandbox) -> None:
    variables = sandbox.variables
    api = gitlab.Gitlab(variables["GITLAB_BASE_URL"].removesuffix("/api/v4/"), private_token=variables["GITLAB_TOKEN"])
    ids = json.loads(driver(sandbox, "outputs", "--json").stdout)["runner_ids"]
    api.runners.update(int(ids["deploy"]), {"access_level": "not_protected"})
    red = driver(sandbox, "up")
    assert red.returncode == 1, red.stdout
    assert "access_level is 'not_protected' and should be 'ref_protected'" in red.stdout
    assert driver(sandbox, "refresh").returncode == 0
    assert driver(sandbox, "up").returncode == 0


def test_a_pending_helm_release_makes_way(sandbox: Sandbox, kubernetes: KubeClient) -> None:
    """As after SIGKILL: a pending revision above the deployed one, and a record of a run that never ended."""
    secrets = kubernetes.list("v1", "Secret", "runner-small")
    last = max(
        (secret for secret in secrets if secret["type"] == "helm.sh/release.v1"),
        key=lambda secret: helm_releases.parse_revision(secret).number,
    )
    number = helm_releases.parse_revision(last).number + 1
    payload = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(last["data"]["release"]))))
    payload["version"], payload["info"]["status"] = number, "pending-upgrade"
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(payload).encode()))).decode()
    stuck = {"apiVersion": "v1", "kind": "Secret", "type": last["type"], "data": {"release": packed}}
    stuck["metadata"] = {
        "name": f"sh.helm.release.v1.gitlab-runner-small.v{number}",
        "namespace": "runner-small",
        "labels": {**last["metadata"]["labels"], "status": "pending-upgrade", "version": str(number)},
    }
    kubernetes.create(stuck)
    record = sandbox.paths.backend / ".runner-platform/owners/runner-platform/dev/killed.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    killed = {
        "id": "killed",
        "operation": "up",
        "user": "me",
        "host": "here",
        "machine": f"{boot}/{Path('/proc/self/ns/pid').readlink()}",
        "pid": 2**22 + 1,
        "started": "2026-01-01T00:00:00+00:00",
    }
    record.write_text(json.dumps(killed))
    healed = driver(sandbox, "up")
    assert healed.returncode == 0, healed.stdout
    assert f"runner-small/gitlab-runner-small was left pending-upgrade in revision {number}" in healed.stdout
    assert not record.exists()
    statuses = [
        helm_releases.parse_revision(secret).status
        for secret in kubernetes.list("v1", "Secret", "runner-small")
        if "helm" in secret["type"]
    ]
    assert not set(statuses) & helm_releases.PENDING


def test_a_cancelled_run_of_the_platform_is_finished_by_the_next(sandbox: Sandbox, tmp_path: Path) -> None:
    program = copied(tmp_path)
    change(program, lambda config: config["runner-platform:runners"]["small"].update(memory="3Gi", concurrent=3))
    changing = ("up", "--json", "--folder", str(program))
    running = begin(sandbox, *changing)
    lock = sandbox.paths.backend / ".pulumi/locks/organization/runner-platform/dev"
    until(lambda: list(lock.glob("*.json")) or running.poll() is not None, "the engine", 120)
    time.sleep(8)
    running.send_signal(signal.SIGTERM)
    output, _ = running.communicate(timeout=300)
    if running.returncode == 3:  # it may have been through already
        assert "What is left:" in output
        assert "goes on from there" in output
    assert not sandbox.exported("dev").get("pending_operations")
    assert driver(sandbox, "up", "--folder", str(program)).returncode == 0
    back = driver(sandbox, "up")
    assert back.returncode == 0, back.stdout


@pytest.mark.usefixtures("aws")
def test_a_lost_cluster_is_rebuilt_with_everything_in_it(sandbox: Sandbox) -> None:
    """As docs/operate/recovery.md says, command by command."""
    eks = boto3.Session(profile_name="platform-cicd").client("eks")
    eks.delete_cluster(name="runner-platform-dev")
    until(lambda: "runner-platform-dev" not in eks.list_clusters()["clusters"], "the cluster's end", 120)
    assert driver(sandbox, "refresh").returncode == 1, "there is no API server"
    empty = driver(sandbox, "up")
    assert empty.returncode == 1, "an empty cluster is not called fine"
    assert driver(sandbox, "refresh").returncode == 0
    back = driver(sandbox, "up")
    assert back.returncode == 0, back.stdout
    clean = driver(sandbox, "drift")
    assert clean.returncode == 0, clean.stdout


def test_a_destroy_pauses_runners_waits_for_jobs_and_leaves_no_other_resource(
    sandbox: Sandbox,
) -> None:
    variables = sandbox.variables
    api = gitlab.Gitlab(variables["GITLAB_BASE_URL"].removesuffix("/api/v4/"), private_token=variables["GITLAB_TOKEN"])
    small = json.loads(driver(sandbox, "outputs", "--json").stdout)["runner_ids"]["small"]
    base = variables["GITLAB_BASE_URL"].removesuffix("/api/v4/")
    job = {"id": 7, "status": "running", "web_url": "https://gitlab.example/-/jobs/7"}
    api.http_put(f"{base}/_sandbox/seed", post_data={"jobs": {small: [job]}})
    before = driver(sandbox, "audit")
    assert before.returncode == 1, "it is deployed"
    running = begin(sandbox, "destroy", "--drain")
    until(lambda: api.runners.get(int(small)).paused or running.poll() is not None, "the pause", 120)
    time.sleep(5)
    assert running.poll() is None, "it waits for the job"
    api.http_put(f"{base}/_sandbox/seed", post_data={"jobs": {small: [{**job, "status": "success"}]}})
    output, _ = running.communicate(timeout=600)
    assert running.returncode == 0, output
    assert "1 jobs still run: https://gitlab.example/-/jobs/7" in output
    audited = driver(sandbox, "audit", "--json")
    leftovers = json.loads(audited.stdout)
    assert audited.returncode == 0, [leftover for leftover in leftovers if not leftover["stays"]]
    assert {leftover["kind"] for leftover in leftovers} == {"key", "state"}, "keys wait, the empty state is kept"
    again = driver(sandbox, "up")
    assert again.returncode == 0, again.stdout


def test_a_protected_stack_is_refused_before_its_runners_are_paused(sandbox: Sandbox) -> None:
    done = sandbox.run(
        [sys.executable, "-m", "runner_platform", "destroy", "--now", "--stack", "prod"],
        sandbox.variables,
    )
    assert done.returncode == 1
    assert "is protected, nothing was touched" in done.stderr
    assert "protect: false" in done.stderr
