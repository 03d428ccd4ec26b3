"""Doctor in a job's place: real tokens of the deployed clusters, a real STS, and every cause produced as far as a machine alone can.

Beside the pod rather than in it: the files and variables are those of container `build`. What only AWS can say (a policy of the
organisation) is said by a server on loopback, in AWS's words.
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
from runner_platform_sandbox.tools.result import Tools
from tests.components.documents.test_config_toml import settings_of
from tests.support import job_pods
from tests.support.deploying import Job
from tests.support.loopback import dead, listening

if TYPE_CHECKING:
    from tests.support.live import Sandbox

pytestmark = pytest.mark.sandbox
DOCTOR = load.ROOT / "image" / "doctor"
PIPELINE = {"CI_PIPELINE_ID": "111", "CI_JOB_ID": "222", "CI_PROJECT_PATH": "shop/web"}


class Patient:
    """A job of a class, with its files in a folder of its own."""

    def __init__(self, sandbox: Sandbox, folder: Path, stack: str = "prod", runner_class: str = "small") -> None:
        self.job = Job(sandbox, stack, runner_class, folder)
        self.folder = folder
        found = Tools.find(sandbox.paths).path_folders()
        path = ":".join([f"{sys.prefix}/bin", *map(str, found), "/usr/bin", "/bin"])
        self.variables = {**self.job.variables, **PIPELINE, "PATH": path}

    def examine(self, *arguments: str, **changes: str) -> dict[str, Any]:
        """Doctor's document; exit code and verdict agree, and nothing but the document is printed."""
        done = self.run("--json", *arguments, **changes)
        document: dict[str, Any] = json.loads(done.stdout)
        assert done.stderr == "", "no traceback for what a person can mend"
        assert done.returncode == (0 if document["ok"] else 1)
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
        """Causes of the findings, and of the rows, of a sick job."""
        document = self.examine(*arguments, **changes)
        assert not document["ok"]
        return {each["cause"] for each in document["findings"]}, {each["cause"] for each in document["rows"]}

    def put_token(self, **claims: Any) -> None:
        """Replace the token by one with other claims, signed by the cluster's own key."""
        header, own = (tokens._decoded(part) for part in (self.folder / "token").read_text().split(".")[:2])
        cluster = self.job.settings.names.cluster
        kubeconfig = next(each.kubeconfig for each in self.job.sandbox.state().clusters if each.name == cluster)
        pem = (Path(kubeconfig).parent / "keys" / "service-account.key").read_bytes()
        key: Any = serialization.load_pem_private_key(pem, password=None)
        (self.folder / "token").write_text(tokens._signed(header, own | claims, key))

    def put_config(self, old: str, new: str) -> None:
        config = self.folder / "config"
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))


@pytest.fixture
def patient(sandbox: Sandbox, tmp_path: Path) -> Patient:
    return Patient(sandbox, tmp_path)


ONE = ("--sdk", "boto3", "dev")
"""One family and profile, where the cause does not depend on either."""


@pytest.mark.parametrize(("stack", "runner_class"), [("prod", "small"), ("prod", "deploy"), ("dev", "review")])
def test_a_healthy_job_is_who_its_profiles_say_by_every_family(
    sandbox: Sandbox, tmp_path: Path, stack: str, runner_class: str
) -> None:
    patient = Patient(sandbox, tmp_path, stack, runner_class)
    document = patient.examine()
    assert document["ok"], document
    settings = settings_of(stack)
    assert document["class"] == runner_class
    assert document["service_account"] == f"system:serviceaccount:jobs-{runner_class}:job"
    assert (document["pipeline"], document["job"]) == ("111", "222")
    tried = {(row["profile"], row["sdk"]) for row in document["rows"]}
    profiles = {"default", "base", *settings.accounts_of(runner_class)}
    assert tried == {(profile, sdk) for profile in profiles for sdk in ("boto3", "cli", "javascript", "go")}
    for row in document["rows"]:
        assert row["got"] == row["expected"], row
        assert row["session_seconds"] is None or 0 < row["session_seconds"] <= 3600, "an hour, and Go asks for less"
    session = settings.names.job_role(runner_class)
    assert document["audit"].startswith(
        f"audit: session={session} subject=system:serviceaccount:jobs-{runner_class}:job pod=- "
        "CI_PROJECT_PATH=shop/web CI_PIPELINE_ID=111 CI_JOB_ID=222 time="
    )


def test_people_get_a_table_and_the_line_for_the_audit_trail(patient: Patient) -> None:
    done = patient.run("--sdk", "boto3", "--sdk", "go")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["profile", "account", "role", "boto3", "go"]
    assert any(line.split()[:3] == ["dev", "333333333333", "delegated-role-open"] for line in lines)
    assert lines[-2].startswith("audit: ")
    assert lines[-1] == "doctor: all is well"


def test_no_token(patient: Patient) -> None:
    (patient.folder / "token").unlink()
    assert patient.causes(*ONE) == ({"no-token"}, {"no-token"})


@pytest.mark.parametrize("content", ["", "not a token", "a.b.c"])
def test_a_malformed_token(patient: Patient, content: str) -> None:
    (patient.folder / "token").write_text(content)
    assert patient.causes(*ONE) == ({"malformed-token"}, {"malformed-token"})


def test_an_expired_token(patient: Patient) -> None:
    now = int(time.time())
    patient.put_token(iat=now - 7200, nbf=now - 7200, exp=now - 3600)
    assert patient.causes(*ONE) == ({"expired-token"}, {"expired-token"})


def test_a_token_that_counts_only_later_is_put_down_to_the_clock(patient: Patient) -> None:
    now = int(time.time())
    patient.put_token(iat=now + 3600, nbf=now + 3600, exp=now + 7200)
    assert patient.causes(*ONE) == ({"clock"}, {"clock"})


def test_a_clock_that_differs_from_that_of_sts(patient: Patient) -> None:
    with listening(400, "Thu, 01 Jan 2026 00:00:00 GMT") as address:
        found, _ = patient.causes(*ONE, AWS_ENDPOINT_URL_STS=address)
    assert found == {"clock"}


def test_a_token_for_another_audience(patient: Patient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_pods, "AUDIENCE", "https://kubernetes.default.svc")
    other = Patient(sandbox, patient.folder)
    assert other.causes(*ONE) == ({"audience"}, {"audience"})


def test_the_config_of_another_class(patient: Patient) -> None:
    text = class_profiles(settings_of("prod"), "deploy", token_file=str(patient.folder / "token"))
    (patient.folder / "config").write_text(text)
    assert patient.causes("--sdk", "boto3", "prod") == ({"wrong-class"}, {"wrong-class"})


def test_another_cluster_s_token(patient: Patient, sandbox: Sandbox, tmp_path: Path) -> None:
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    Patient(sandbox, elsewhere, stack="dev")
    (patient.folder / "token").write_text((elsewhere / "token").read_text())
    _, rows = patient.causes(*ONE)
    assert rows <= {"unknown-issuer", "trust-refused"}, (
        "each cluster's provider is in the account, and the trust names one"
    )


def test_a_trust_that_refuses(patient: Patient) -> None:
    patient.put_token(sub="system:serviceaccount:jobs-small:default")
    found, rows = patient.causes("cicd")
    assert (found, rows) == (set(), {"trust-refused"}), "every family says it in its own words"


def test_a_role_that_the_class_may_not_ask_for(patient: Patient) -> None:
    patient.put_config("role/cicd/delegated-role-open", "role/cicd/delegated-role")
    found, rows = patient.causes("--sdk", "boto3", "cicd")
    assert (found, rows) == (set(), {"permission-refused"})


def test_a_policy_of_the_organisation_that_refuses(patient: Patient) -> None:
    # The sandbox's organisation has no policies of this kind; these are STS's words.
    refusals = json.loads((load.ROOT / "tests" / "data" / "sdk-refusals.json").read_text())["refusals"]
    (said,) = [each["error"] for each in refusals if each["cause"] == "scp" and each["sdk"] == "javascript"]
    message = said.removeprefix("AccessDenied: ")
    body = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{message}</Message></Error></ErrorResponse>"
    with listening(403, body=body.encode()) as address:
        found, rows = patient.causes(*ONE, AWS_ENDPOINT_URL_STS=address)
    assert (found, rows) == (set(), {"scp"})


def test_sts_out_of_reach(patient: Patient) -> None:
    found, rows = patient.causes("dev", AWS_ENDPOINT_URL_STS=dead())
    assert (found, rows) == ({"sts-unreachable"}, {"sts-unreachable"})


def test_a_metadata_service_that_answers(patient: Patient) -> None:
    with listening(401) as address:
        changes = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": address}
        found, rows = patient.causes(*ONE, **changes)
    assert (found, rows) == ({"metadata"}, {""}), "the job is who it should be, and could be the node"


def test_an_unknown_profile_named_to_doctor_and_by_the_variable(patient: Patient) -> None:
    assert patient.causes("nowhere") == ({"profile-missing"}, {"profile-missing"}), (
        "JavaScript says that a region is missing"
    )
    found, rows = patient.causes("--sdk", "boto3", AWS_PROFILE="nowhere")
    assert (found, rows) == ({"profile-missing"}, {""}), "the config is well, the job's variable is not"


def test_a_config_that_is_not_there(patient: Patient) -> None:
    (patient.folder / "config").unlink()
    assert patient.causes() == ({"no-config"}, set())


def test_no_region(patient: Patient) -> None:
    patient.put_config("region = eu-central-1\n", "")
    found, rows = patient.causes("dev")
    assert found == {"no-region"}
    assert rows <= {"no-region", ""}, "Go has a region of its own for STS"


def test_a_home_that_cannot_be_written(patient: Patient) -> None:
    found, rows = patient.causes(*ONE, HOME="/proc")
    assert (found, rows) == ({"read-only-home"}, {""})


def test_variables_of_plain_irsa_send_some_sdks_astray_and_doctor_says_which(patient: Patient) -> None:
    irsa = {
        "AWS_ROLE_ARN": settings_of("prod").names.role_arn("222222222222", "runner-small"),
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(patient.folder / "token"),
    }
    document = patient.examine("dev", **irsa)
    wrong = {(row["sdk"], row["way"]) for row in document["rows"] if not row["ok"]}
    assert ("go", "env") in wrong, "Go takes the variables before AWS_PROFILE"
    assert {row["cause"] for row in document["rows"] if not row["ok"]} == {"overridden"}
    assert not any(way == "named" for _, way in wrong)
