"""`runner-platform prove` on the deployed stacks: every result is right, and a fault made by hand is named."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from config import load
from runner_platform.prove import attempts, proof, strangers
from runner_platform.prove.attempts import REFUSED, Sdk, Way
from runner_platform_sandbox.kubernetes.client import KubeClient
from tests.support import proving
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox

SETTINGS = load.of_stack("dev")
ACCOUNTS = load.of_foundation().accounts
SECONDS = 1800
"""The full proof takes a minute on idle cores, and many minutes on busy ones."""
KEYS = {"class", "service_account", "profile", "sdk", "way", "expected", "got", "ok"}


@pytest.fixture(scope="module", autouse=True)
def _environment(sandbox: Sandbox) -> Iterator[None]:
    with proving.sandbox_environment(sandbox):
        yield


def prove(sandbox: Sandbox, *arguments: str) -> Completed:
    command = [sys.executable, "-m", "runner_platform", "prove", "--stack", "dev", *arguments]
    return subprocess.run(
        command, cwd=load.ROOT, env=sandbox.variables, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def results_of(done: Completed) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def wrong(done: Completed) -> set[tuple[str, str, str]]:
    """Return service account, profile and outcome of each wrong result."""
    return {
        (result["service_account"], result["profile"], result["got"]) for result in results_of(done) if not result["ok"]
    }


def test_the_full_proof_gets_the_expected_roles_and_refuses_every_stranger(sandbox: Sandbox) -> None:
    done = prove(sandbox, "--all", "--json")
    assert done.returncode == 0, done.stderr
    results = results_of(done)
    own = attempts.of_classes(SETTINGS, ACCOUNTS, attempts.Scope.of(everything=True))
    foreign = strangers.of_stack(SETTINGS, ACCOUNTS, [load.of_stack("prod")])
    expected = {(*attempt.key, attempt.expected) for attempt in (*own, *foreign)}
    assert {
        (result["service_account"], result["profile"], result["sdk"], result["way"], result["got"])
        for result in results
    } == expected
    assert all(set(result) == KEYS and result["ok"] is True for result in results)
    assert "target: cluster runner-platform-dev at https://127.0.0.1:" in done.stderr, "the target is named first"


@contextmanager
def changed_trust(account: str, role: str, change: dict[str, Any]) -> Iterator[None]:
    """Add values to the conditions of a role's trust, as the operator might by hand, and restore them at the end."""
    iam = boto3.Session(profile_name=f"platform-{account}").client("iam")
    document: dict[str, Any] = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    changed = json.loads(json.dumps(document))
    for operator, values in change.items():
        for key, value in values.items():
            condition = changed["Statement"][0]["Condition"][operator]
            name = next(name for name in condition if name.endswith(key))
            condition[name] = value if isinstance(value, list) else [condition[name], value]
    assert changed != document
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(changed))
    try:
        yield
    finally:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(document))


def test_a_widened_and_a_narrowed_trust_are_both_named(sandbox: Sandbox) -> None:
    names = SETTINGS.names
    home = SETTINGS.platform_account.id
    widened = {"StringEquals": {":sub": "system:serviceaccount:jobs-small:job"}}
    other_roles = [names.role_arn(home, names.job_role(name)) for name in ("big", "medium")]
    with (
        changed_trust("cicd", names.job_role("deploy"), widened),
        changed_trust("dev", "delegated-role-open-dev", {"ArnEquals": {"aws:PrincipalArn": other_roles}}),
    ):
        done = prove(sandbox, "--json")
    assert done.returncode == 1
    assert wrong(done) == {
        ("jobs-small/job with the config of deploy", "default", names.role_arn(home, "runner-deploy-dev")),
        ("jobs-small/job", "dev", REFUSED),
    }
    assert "WRONG: jobs-small/job, profile dev, boto3 named: expected arn:aws:iam::333333333333:role/" in done.stderr
    assert "got arn:aws:iam::222222222222:role/cicd-dev/runner-deploy-dev" in done.stderr
    assert prove(sandbox).returncode == 0, "after the restore everything is as the settings say"


def test_make_up_prints_both_matrices_and_fails_if_one_result_is_wrong(sandbox: Sandbox) -> None:
    role = SETTINGS.names.job_role("deploy")
    with changed_trust("cicd", role, {"StringEquals": {":sub": "system:serviceaccount:jobs-review:job"}}):
        done = sandbox.up()
    assert done.returncode == 1, "both stacks are deployed, but a stranger gets a role"
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines if "role of each class's jobs" in line] == ["dev", "prod"]
    (message,) = [line.strip() for line in lines if line.startswith("WRONG")]
    attempt = "jobs-review/job with the config of deploy, profile default, boto3 default"
    assert message == f"WRONG: {attempt}: expected REFUSED, got arn:aws:iam::222222222222:role/cicd-dev/{role}"
    assert "access is not as the settings of dev say" in done.stdout


def test_an_incomplete_class_is_reported_by_its_missing_object(sandbox: Sandbox) -> None:
    kubeconfig = next(
        cluster.kubeconfig for cluster in sandbox.state().clusters if cluster.name == SETTINGS.names.cluster
    )
    with KubeClient.from_kubeconfig(kubeconfig) as client:
        kept = client.get("v1", "ConfigMap", "aws-config", "jobs-review")
        client.delete("v1", "ConfigMap", "aws-config", "jobs-review")
        try:
            done = prove(sandbox, "--json")
        finally:
            client.create(
                {
                    **kept,
                    "metadata": {
                        key: kept["metadata"].get(key, {}) for key in ("name", "namespace", "labels", "annotations")
                    },
                }
            )
    assert done.returncode == 1
    assert {account.split()[0].split(",")[0] for account, _, _ in wrong(done) if account.startswith("jobs-review")}
    reasons = {got for account, _, got in wrong(done) if account == "jobs-review/job"}
    assert reasons == {"BROKEN: configmap aws-config in jobs-review is missing; `pulumi up` creates it again"}
    unaffected = [result for result in results_of(done) if result["class"] not in {None, "review"}]
    assert all(result["ok"] for result in unaffected), "the other classes are tried nevertheless"


def test_a_role_on_the_jobs_service_account_is_noticed_in_the_sdk_that_it_misleads(sandbox: Sandbox) -> None:
    role = SETTINGS.names.role_arn(SETTINGS.platform_account.id, SETTINGS.names.job_role("small"))
    kubeconfig = next(
        cluster.kubeconfig for cluster in sandbox.state().clusters if cluster.name == SETTINGS.names.cluster
    )
    scope = attempts.Scope(sdks=(Sdk.BOTO3, Sdk.GO), ways=(Way.ENV, Way.DEFAULT))
    watcher = proof.Watcher(say=lambda _: None, expect=lambda _: None, advance=lambda: None)
    with KubeClient.from_kubeconfig(kubeconfig) as client:

        def annotate(value: str | None) -> None:
            change = {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": value}}}
            client.patch("v1", "ServiceAccount", "job", "jobs-small", change)

        annotate(role)
        try:
            results = proof.attempt_all(SETTINGS, watcher, scope)
        finally:
            annotate(None)
    wrong_results = {
        (result.attempt.runner_class, result.attempt.profile, result.attempt.sdk, result.got)
        for result in results
        if not result.ok
    }
    assert wrong_results == {("small", account, Sdk.GO, role) for account in ("cicd", "dev")}, (
        "Go ignores AWS_PROFILE beside it"
    )


def test_an_interrupted_proof_ends_at_once_and_leaves_no_token(sandbox: Sandbox, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runner_platform", "prove", "--stack", "dev"]
    running = subprocess.Popen(
        command, cwd=load.ROOT, env={**sandbox.variables, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    )
    until(lambda: list(tmp_path.glob("*/files-*/0/token")), "the first token", 120)
    running.terminate()
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 3
    assert errors.splitlines()[-1] == "interrupted; tokens, Jobs and branches of the proof are removed"
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_sandbox_gives_a_message_and_no_traceback(sandbox: Sandbox) -> None:
    environment = {
        **sandbox.variables,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
    }
    done = sandbox.run([sys.executable, "-m", "runner_platform", "prove", "--stack", "dev"], environment)
    assert done.returncode == 1
    assert "`runner-platform sandbox start`" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_full_proof_names_the_command_that_builds_missing_probes(sandbox: Sandbox) -> None:
    variables = sandbox.variables
    path = ":".join(folder for folder in variables["PATH"].split(":") if "probe-" not in folder)
    done = sandbox.run(
        [sys.executable, "-m", "runner_platform", "prove", "--stack", "dev", "--all"], {**variables, "PATH": path}
    )
    assert done.returncode == 1
    assert "is not on PATH: `make tools` builds it" in done.stderr
