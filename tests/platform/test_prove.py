"""`runner-platform prove` on the deployed stacks: every cell right, and a fault that somebody made by hand turns it red by name."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from config import load
from runner_platform.prove import plan, proof, strangers
from runner_platform.prove.model import REFUSED, Sdk, Way
from runner_platform_sandbox.kubernetes.client import KubeClient
from tests.support import proving
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.live import Done, Sandbox

pytestmark = pytest.mark.sandbox

SETTINGS = load.of_stack("dev")
ACCOUNTS = load.of_foundation().accounts
SECONDS = 1800
"""Every SDK by every way is a minute on idle cores, and many on cores that others use."""
KEYS = {"class", "service_account", "profile", "sdk", "way", "expected", "got", "ok"}


@pytest.fixture(scope="module", autouse=True)
def _surroundings(sandbox: Sandbox) -> Iterator[None]:
    with proving.as_after_sandbox_env(sandbox):
        yield


def prove(sandbox: Sandbox, *arguments: str) -> Done:
    command = [sys.executable, "-m", "runner_platform", "prove", "--stack", "dev", *arguments]
    return subprocess.run(
        command, cwd=load.ROOT, env=sandbox.variables, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def cells(done: Done) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def wrong(done: Done) -> set[tuple[str, str, str]]:
    """Service account, profile and what came of it, of each wrong cell."""
    return {(each["service_account"], each["profile"], each["got"]) for each in cells(done) if not each["ok"]}


def test_every_sdk_by_every_way_is_who_the_settings_say_and_every_stranger_is_refused(sandbox: Sandbox) -> None:
    done = prove(sandbox, "--all", "--json")
    assert done.returncode == 0, done.stderr
    found = cells(done)
    own = plan.attempts(SETTINGS, ACCOUNTS, plan.Scope.of(everything=True))
    foreign = strangers.attempts(SETTINGS, ACCOUNTS, [load.of_stack("prod")])
    expected = {(*each.key, each.expected) for each in (*own, *foreign)}
    assert {
        (each["service_account"], each["profile"], each["sdk"], each["way"], each["got"]) for each in found
    } == expected
    assert all(set(each) == KEYS and each["ok"] is True for each in found)
    assert "target: cluster runner-platform-dev at https://127.0.0.1:" in done.stderr, "what is tried is said first"


@contextmanager
def changed_trust(account: str, role: str, change: dict[str, Any]) -> Iterator[None]:
    """Merge values into the conditions of a role's trust, by hand, with the operator's rights; put back afterwards."""
    iam = boto3.Session(profile_name=f"platform-{account}").client("iam")
    document: dict[str, Any] = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    seeded = json.loads(json.dumps(document))
    for operator, values in change.items():
        for key, value in values.items():
            condition = seeded["Statement"][0]["Condition"][operator]
            name = next(each for each in condition if each.endswith(key))
            condition[name] = value if isinstance(value, list) else [condition[name], value]
    assert seeded != document
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(seeded))
    try:
        yield
    finally:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(document))


def test_a_trust_widened_by_hand_and_one_narrowed_are_both_named(sandbox: Sandbox) -> None:
    names = SETTINGS.names
    home = SETTINGS.platform_account.id
    widened = {"StringEquals": {":sub": "system:serviceaccount:jobs-small:job"}}
    others = [names.role_arn(home, names.job_role(each)) for each in ("big", "medium")]
    with (
        changed_trust("cicd", names.job_role("deploy"), widened),
        changed_trust("dev", "delegated-role-open-dev", {"ArnEquals": {"aws:PrincipalArn": others}}),
    ):
        done = prove(sandbox, "--json")
    assert done.returncode == 1
    assert wrong(done) == {
        ("jobs-small/job with the config of deploy", "default", names.role_arn(home, "runner-deploy-dev")),
        ("jobs-small/job", "dev", REFUSED),
    }
    assert "WRONG: jobs-small/job, profile dev, boto3 named: expected arn:aws:iam::333333333333:role/" in done.stderr
    assert "got arn:aws:iam::222222222222:role/cicd-dev/runner-deploy-dev" in done.stderr
    assert prove(sandbox).returncode == 0, "put back, everything is as the settings say"


def test_make_up_ends_with_the_matrix_of_both_stacks_and_fails_where_one_cell_is_wrong(sandbox: Sandbox) -> None:
    role = SETTINGS.names.job_role("deploy")
    with changed_trust("cicd", role, {"StringEquals": {":sub": "system:serviceaccount:jobs-review:job"}}):
        done = sandbox.up()
    assert done.returncode == 1, "every stack is deployed, and somebody gets in"
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines if "who a job is, by boto3" in line] == ["dev", "prod"]
    (named,) = [line.strip() for line in lines if line.startswith("WRONG")]
    cell = "jobs-review/job with the config of deploy, profile default, boto3 default"
    assert named == f"WRONG: {cell}: expected REFUSED, got arn:aws:iam::222222222222:role/cicd-dev/{role}"
    assert "access is not as the settings of dev say" in done.stdout


def test_a_class_of_which_something_was_removed_by_hand_is_told_by_what_is_missing(sandbox: Sandbox) -> None:
    kubeconfig = next(each.kubeconfig for each in sandbox.state().clusters if each.name == SETTINGS.names.cluster)
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
    assert reasons == {"BROKEN: configmap aws-config in jobs-review is not there; `pulumi up` makes it again"}
    own = [each for each in cells(done) if each["class"] not in {None, "review"}]
    assert all(each["ok"] for each in own), "the other classes are tried all the same"


def test_a_role_that_somebody_writes_on_the_jobs_service_account_is_seen_where_it_misleads(sandbox: Sandbox) -> None:
    role = SETTINGS.names.role_arn(SETTINGS.platform_account.id, SETTINGS.names.job_role("small"))
    kubeconfig = next(each.kubeconfig for each in sandbox.state().clusters if each.name == SETTINGS.names.cluster)
    scope = plan.Scope(sdks=(Sdk.BOTO3, Sdk.GO), ways=(Way.ENV, Way.DEFAULT))
    watcher = proof.Watcher(say=lambda _: None, expect=lambda _: None, advance=lambda: None)
    with KubeClient.from_kubeconfig(kubeconfig) as client:

        def annotate(value: str | None) -> None:
            change = {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": value}}}
            client.patch("v1", "ServiceAccount", "job", "jobs-small", change)

        annotate(role)
        try:
            found = proof.cells(SETTINGS, watcher, scope)
        finally:
            annotate(None)
    red = {
        (each.attempt.runner_class, each.attempt.profile, each.attempt.sdk, each.got) for each in found if not each.ok
    }
    assert red == {("small", account, Sdk.GO, role) for account in ("cicd", "dev")}, "Go ignores AWS_PROFILE beside it"


def test_an_interrupted_proof_ends_at_once_and_leaves_no_token(sandbox: Sandbox, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runner_platform", "prove", "--stack", "dev"]
    running = subprocess.Popen(
        command, cwd=load.ROOT, env={**sandbox.variables, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    )
    until(lambda: list(tmp_path.glob("*/files-*/0/token")), "the first token", 120)
    running.terminate()
    _, said = running.communicate(timeout=60)
    assert running.returncode == 3
    assert said.splitlines()[-1] == "interrupted; what was made for the proof is removed"
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_that_was_stopped_is_told_and_not_a_traceback(sandbox: Sandbox) -> None:
    gone = {**sandbox.variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}
    done = sandbox.run([sys.executable, "-m", "runner_platform", "prove", "--stack", "dev"], gone)
    assert done.returncode == 1
    assert "`runner-platform sandbox start`" in done.stderr
    assert "Traceback" not in done.stderr


def test_all_needs_the_probes_and_says_how_to_get_them(sandbox: Sandbox) -> None:
    variables = sandbox.variables
    path = ":".join(each for each in variables["PATH"].split(":") if "probe-" not in each)
    done = sandbox.run(
        [sys.executable, "-m", "runner_platform", "prove", "--stack", "dev", "--all"], {**variables, "PATH": path}
    )
    assert done.returncode == 1
    assert "is not on PATH: `make tools` builds it" in done.stderr
