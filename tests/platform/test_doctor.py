"""Doctor with real tokens of the deployed clusters and a real STS: every cause that one machine can produce.

It runs beside the pod, with the files and variables of container `build`. For an answer that only AWS gives (a policy of the organisation),
a server on loopback answers with AWS's message.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from components.documents.profiles import class_profiles
from config import load
from runner_platform.prove import tokens
from runner_platform_sandbox.tools.discovery import Tools
from tests.support import job_pods
from tests.support.class_settings import settings_of
from tests.support.deploying import Job
from tests.support.loopback import closed_address, listening

if TYPE_CHECKING:
    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox
DOCTOR = load.ROOT / "image" / "doctor"
PIPELINE = {"CI_PIPELINE_ID": "111", "CI_JOB_ID": "222", "CI_PROJECT_PATH": "shop/web"}


class ExaminedJob:
    """A job of a class, with its files in its own folder."""

    def __init__(self, sandbox: Sandbox, folder: Path, stack: str = "prod", runner_class: str = "small") -> None:
        self.job = Job(sandbox, stack, runner_class, folder)
        self.folder = folder
        tools = Tools.find(sandbox.paths).path_folders()
        path = ":".join([f"{sys.prefix}/bin", *map(str, tools), "/usr/bin", "/bin"])
        self.variables = {**self.job.variables, **PIPELINE, "PATH": path}

    def examine(self, *arguments: str, **changes: str) -> dict[str, Any]:
        """Return doctor's JSON document; check that exit code and verdict agree and that it prints no more."""
        process = self.run("--json", *arguments, **changes)
        document: dict[str, Any] = json.loads(process.stdout)
        assert process.stderr == "", "no traceback"
        assert process.returncode == (0 if document["ok"] else 1)
        return document

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(DOCTOR), *arguments],
            env={**self.variables, **changes},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def causes(self, *arguments: str, **changes: str) -> tuple[set[str], set[str]]:
        """Return the causes of findings and of rows; check that something is wrong."""
        document = self.examine(*arguments, **changes)
        assert not document["ok"]
        return {finding["cause"] for finding in document["findings"]}, {row["cause"] for row in document["rows"]}

    def put_token(self, **claims: Any) -> None:
        """Replace the token by one with changed claims, signed with the cluster's own key."""
        header, original = (tokens._decoded(part) for part in (self.folder / "token").read_text().split(".")[:2])
        cluster = self.job.settings.names.cluster
        kubeconfig = next(item.kubeconfig for item in self.job.sandbox.state().clusters if item.name == cluster)
        pem = (Path(kubeconfig).parent / "keys" / "service-account.key").read_bytes()
        key: Any = serialization.load_pem_private_key(pem, password=None)
        (self.folder / "token").write_text(tokens._signed(header, original | claims, key))

    def put_config(self, old: str, new: str) -> None:
        config = self.folder / "config"
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))


@pytest.fixture
def job(sandbox: Sandbox, tmp_path: Path) -> ExaminedJob:
    return ExaminedJob(sandbox, tmp_path)


ONE_ROW = ("--sdk", "boto3", "dev")
"""One SDK and profile, for causes that do not depend on them."""


@pytest.mark.parametrize(("stack", "runner_class"), [("prod", "small"), ("prod", "deploy"), ("dev", "review")])
def test_a_job_gets_the_role_of_every_profile_with_every_sdk(
    sandbox: Sandbox, tmp_path: Path, stack: str, runner_class: str
) -> None:
    job = ExaminedJob(sandbox, tmp_path, stack, runner_class)
    document = job.examine()
    assert document["ok"], document
    settings = settings_of(stack)
    assert document["class"] == runner_class
    assert document["service_account"] == f"system:serviceaccount:jobs-{runner_class}:job"
    assert (document["pipeline"], document["job"]) == ("111", "222")
    combinations = {(row["profile"], row["sdk"]) for row in document["rows"]}
    profiles = {"default", "base", *settings.accounts_of(runner_class)}
    assert combinations == {(profile, sdk) for profile in profiles for sdk in ("boto3", "cli", "javascript", "go")}
    for row in document["rows"]:
        assert row["got"] == row["expected"], row
        assert row["session_seconds"] is None or 0 < row["session_seconds"] <= 3600, "an hour at most; Go asks for less"
    session = settings.names.job_role(runner_class)
    assert document["audit"].startswith(
        f"audit: session={session} subject=system:serviceaccount:jobs-{runner_class}:job pod=- "
        "CI_PROJECT_PATH=shop/web CI_PIPELINE_ID=111 CI_JOB_ID=222 time="
    )


def test_the_text_has_a_table_and_the_audit_line(job: ExaminedJob) -> None:
    process = job.run("--sdk", "boto3", "--sdk", "go")
    assert process.returncode == 0, process.stdout
    lines = process.stdout.splitlines()
    assert lines[1].split() == ["profile", "account", "role", "boto3", "go"]
    assert any(line.split()[:3] == ["dev", "333333333333", "delegated-role-open"] for line in lines)
    assert lines[-2].startswith("audit: ")
    assert lines[-1] == "doctor: all is well"


def test_no_token(job: ExaminedJob) -> None:
    (job.folder / "token").unlink()
    assert job.causes(*ONE_ROW) == ({"no-token"}, {"no-token"})


@pytest.mark.parametrize("content", ["", "not a token", "a.b.c"])
def test_a_malformed_token(job: ExaminedJob, content: str) -> None:
    (job.folder / "token").write_text(content)
    assert job.causes(*ONE_ROW) == ({"malformed-token"}, {"malformed-token"})


def test_an_expired_token(job: ExaminedJob) -> None:
    now = int(time.time())
    job.put_token(iat=now - 7200, nbf=now - 7200, exp=now - 3600)
    assert job.causes(*ONE_ROW) == ({"expired-token"}, {"expired-token"})


def test_a_token_that_is_not_yet_valid_means_a_wrong_clock(job: ExaminedJob) -> None:
    now = int(time.time())
    job.put_token(iat=now + 3600, nbf=now + 3600, exp=now + 7200)
    assert job.causes(*ONE_ROW) == ({"clock"}, {"clock"})


def test_a_clock_that_differs_from_the_clock_of_sts(job: ExaminedJob) -> None:
    with listening(400, "Thu, 01 Jan 2026 00:00:00 GMT") as address:
        findings, _ = job.causes(*ONE_ROW, AWS_ENDPOINT_URL_STS=address)
    assert findings == {"clock"}


def test_a_token_for_another_audience(job: ExaminedJob, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_pods, "AUDIENCE", "https://kubernetes.default.svc")
    job = ExaminedJob(sandbox, job.folder)
    assert job.causes(*ONE_ROW) == ({"audience"}, {"audience"})


def test_the_config_of_another_class(job: ExaminedJob) -> None:
    text = class_profiles(settings_of("prod").runner_class("deploy"), token_file=str(job.folder / "token"))
    (job.folder / "config").write_text(text)
    assert job.causes("--sdk", "boto3", "prod") == ({"wrong-class"}, {"wrong-class"})


def test_another_cluster_s_token(job: ExaminedJob, sandbox: Sandbox, tmp_path: Path) -> None:
    dev_folder = tmp_path / "dev"
    dev_folder.mkdir()
    ExaminedJob(sandbox, dev_folder, stack="dev")
    (job.folder / "token").write_text((dev_folder / "token").read_text())
    _, rows = job.causes(*ONE_ROW)
    assert rows <= {"unknown-issuer", "trust-refused"}, (
        "the account has the providers of all clusters, and the trust names one"
    )


def test_a_trust_that_refuses(job: ExaminedJob) -> None:
    job.put_token(sub="system:serviceaccount:jobs-small:default")
    findings, rows = job.causes("cicd")
    assert (findings, rows) == (set(), {"trust-refused"}), "every SDK has its own message"


def test_a_role_that_the_class_may_not_assume(job: ExaminedJob) -> None:
    job.put_config("role/cicd/delegated-role-open", "role/cicd/delegated-role")
    findings, rows = job.causes("--sdk", "boto3", "cicd")
    assert (findings, rows) == (set(), {"permission-refused"})


def test_a_policy_of_the_organisation_that_refuses(job: ExaminedJob) -> None:
    # The sandbox's organisation has no such policies; this is the message of STS.
    refusals = json.loads((load.ROOT / "tests" / "data" / "sdk-refusals.json").read_text())["refusals"]
    (error,) = [row["error"] for row in refusals if row["cause"] == "scp" and row["sdk"] == "javascript"]
    message = error.removeprefix("AccessDenied: ")
    body = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{message}</Message></Error></ErrorResponse>"
    with listening(403, body=body.encode()) as address:
        findings, rows = job.causes(*ONE_ROW, AWS_ENDPOINT_URL_STS=address)
    assert (findings, rows) == (set(), {"scp"})


def test_an_unreachable_sts(job: ExaminedJob) -> None:
    findings, rows = job.causes("dev", AWS_ENDPOINT_URL_STS=closed_address())
    assert (findings, rows) == ({"sts-unreachable"}, {"sts-unreachable"})


def test_a_metadata_service_that_answers(job: ExaminedJob) -> None:
    with listening(401) as address:
        changes = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": address}
        findings, rows = job.causes(*ONE_ROW, **changes)
    assert (findings, rows) == ({"metadata"}, {""}), "the job has its role, but could take the node's"


def test_an_unknown_profile_named_to_doctor_and_by_the_variable(job: ExaminedJob) -> None:
    assert job.causes("nowhere") == ({"profile-missing"}, {"profile-missing"}), (
        "JavaScript says that a region is missing"
    )
    findings, rows = job.causes("--sdk", "boto3", AWS_PROFILE="nowhere")
    assert (findings, rows) == ({"profile-missing"}, {""}), "the config is right, the job's variable is wrong"


def test_a_missing_config(job: ExaminedJob) -> None:
    (job.folder / "config").unlink()
    assert job.causes() == ({"no-config"}, set())


def test_no_region(job: ExaminedJob) -> None:
    job.put_config("region = eu-central-1\n", "")
    findings, rows = job.causes("dev")
    assert findings == {"no-region"}
    assert rows <= {"no-region", ""}, "Go has a default region for STS"


def test_a_read_only_home(job: ExaminedJob) -> None:
    findings, rows = job.causes(*ONE_ROW, HOME="/proc")
    assert (findings, rows) == ({"read-only-home"}, {""})


def test_doctor_names_the_sdks_that_prefer_the_variables_of_irsa(job: ExaminedJob) -> None:
    irsa = {
        "AWS_ROLE_ARN": settings_of("prod").names.role_arn("222222222222", "runner-small"),
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(job.folder / "token"),
    }
    document = job.examine("dev", **irsa)
    wrong = {(row["sdk"], row["way"]) for row in document["rows"] if not row["ok"]}
    assert ("go", "env") in wrong, "Go prefers the variables to AWS_PROFILE"
    assert {row["cause"] for row in document["rows"] if not row["ok"]} == {"overridden"}
    assert not any(way == "named" for _, way in wrong)
