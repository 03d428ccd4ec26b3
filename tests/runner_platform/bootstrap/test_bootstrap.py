"""The bootstrap's checks and refusals without a cloud: static keys, accounts, buckets, quotas, the state's URL."""

from __future__ import annotations

import contextlib
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer.testing
from botocore.exceptions import ClientError, ProfileNotFound, UnauthorizedSSOTokenError
from botocore.stub import Stubber

from components.documents.platform_roles import SECRETS_KEY_ALIAS
from config import load
from runner_platform.bootstrap import organization_checks, state_backend, static_keys
from runner_platform.bootstrap.organization_checks import State
from runner_platform.cli import main
from runner_platform.errors import FailedError
from tests.support import program

KEY = "AKIAIOSFODNN7EXAMPLE"
ARN = "arn:aws:sts::{}:assumed-role/OrganizationAccountAccessRole/me"
HTTP = {"HTTPStatusCode": 200}
SETTINGS = load.of_foundation()
LOOPBACK = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}


def files(tmp_path: Path, *, credentials: str = "", config: str = "") -> dict[str, str]:
    (tmp_path / "credentials").write_text(credentials)
    (tmp_path / "config").write_text(config)
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "HOME": str(tmp_path),
    }


def section(name: str, key: str, token: str = "") -> str:
    return f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = x\n" + (
        f"aws_session_token = {token}\n" if token else ""
    )


def test_sessions_and_roles_are_no_static_keys(tmp_path: Path) -> None:
    config = "[profile sso]\nsso_session = company\n[profile dev]\nrole_arn = arn\nsource_profile = sso\n"
    environment = files(tmp_path, credentials=section("temporary", "ASIAIOSFODNN7EXAMPLE", "token"), config=config)
    static_keys.refuse(environment | {"AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE", "AWS_SESSION_TOKEN": "token"})


@pytest.mark.parametrize("token", ["", "token"])
def test_a_long_term_key_is_refused_wherever_it_stands(tmp_path: Path, token: str) -> None:
    environment = files(
        tmp_path,
        credentials=section("old", KEY, token),
        config=section("profile older", KEY.replace("IOS", "IOT"), token),
    )
    (tmp_path / "Pulumi.dev.yaml").write_text(f"config:\n  aws:accessKey: {KEY}\n")
    variables = environment | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SESSION_TOKEN": token}
    with pytest.raises(FailedError) as refused:
        static_keys.refuse(variables, [tmp_path / "Pulumi.dev.yaml", tmp_path / "none.yaml"])
    message = str(refused.value)
    for place in ("variable AWS_ACCESS_KEY_ID", "credentials, [old]", "config, [profile older]", "Pulumi.dev.yaml"):
        assert place in message
    assert KEY not in message, "not even the id is printed whole"
    assert "aws configure sso" in message


def test_any_key_without_a_session_is_static(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="static AWS keys"):
        static_keys.refuse(files(tmp_path, credentials=section("default", "somebody")))


def test_the_sandboxs_public_keys_open_nothing_in_aws_and_pass_on_loopback_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = files(tmp_path, credentials=section("management", "999999999999"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(FailedError):
        static_keys.refuse(environment)
    monkeypatch.setenv("AWS_ENDPOINT_URL", LOOPBACK["AWS_ENDPOINT_URL"])
    static_keys.refuse(environment)
    with pytest.raises(FailedError):
        static_keys.refuse(files(tmp_path, credentials=section("mine", KEY)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no section\n", "cannot be read as an AWS config"),
        ("[profile a]\nregion = x\n" * 2, r"\[line +3\]: section 'profile a' already exists"),
        (
            "[profile a]\nregion = x\nregion = y\n",
            r"\[line +3\]: option 'region' in section 'profile a' already exists",
        ),
        ("[default]\nthe secret itself\n", r"Source contains parsing errors, line 2; correct the file$"),
        ("\ufeff[default]\nregion = x\n", "no section headers"),
        ("\0", "no section headers"),
    ],
)
def test_a_file_that_some_sdk_does_not_read_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FailedError, match=message):
        static_keys.refuse(files(tmp_path, config=text))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_an_aws_file_in_another_encoding_is_an_error(tmp_path: Path, variable: str, encoding: str) -> None:
    environment = files(tmp_path)
    Path(environment[variable]).write_bytes("[default]\n# Schlüssel\nregion = eu-central-1\n".encode(encoding))
    line = 2 if encoding == "cp1252" else 1
    with pytest.raises(FailedError, match=f"line {line} is not UTF-8; save the file as UTF-8"):
        static_keys.refuse(environment)


def test_a_missing_aws_file_a_folder_and_a_pipe_hold_no_key(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path, tmp_path / "absent", tmp_path / "pipe", "~nobody-has-this-name/config"):
        static_keys.refuse({"AWS_CONFIG_FILE": str(file), "AWS_SHARED_CREDENTIALS_FILE": str(file)})


def test_a_document_in_another_encoding_is_searched(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_bytes(f"# Schlüssel {KEY}\n".encode("cp1252"))
    with pytest.raises(FailedError, match=r"Pulumi\.dev\.yaml"):
        static_keys.refuse(files(tmp_path), [tmp_path / "Pulumi.dev.yaml"])


def test_a_static_key_by_its_old_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="variable AWS_ACCESS_KEY:"):
        static_keys.refuse(files(tmp_path) | {"AWS_ACCESS_KEY": KEY})


class Answers:
    """Clients with the answers of a test, by profile and service. Any other call is an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_client: dict[tuple[str, str], Any] = {}
        monkeypatch.setattr(organization_checks, "client", self._client)

    def _client(self, profile: str, service: str, _settings: object) -> Any:
        answer = self.by_client.get((profile, service), self.by_client.get(("*", service)))
        if isinstance(answer, Exception):
            raise answer
        client = boto3.client(service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
        stubber = Stubber(client)
        if answer is not None:
            stubber.add_response(*answer)
        stubber.activate()
        return client


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


def caller(account: str, arn: str = ARN) -> tuple[str, dict[str, str]]:
    return "get_caller_identity", {"Account": account, "Arn": arn.format(account), "UserId": "A:me"}


def test_the_right_account_through_a_role_is_fine(answers: Answers) -> None:
    answers.by_client["foundation-dev", "sts"] = caller("333333333333")
    check = organization_checks.check_identity(SETTINGS, "dev")
    assert (check.state, check.text) == (State.FINE, ARN.format("333333333333"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (caller("444444444444"), "it opens account 444444444444, and accounts.dev.id is 333333333333"),
        (caller("333333333333", "arn:aws:iam::{}:root"), "which is no role"),
        (caller("333333333333", "arn:aws:iam::{}:user/me"), "which is no role"),
        (ProfileNotFound(profile="foundation-dev"), "runner-platform profiles --platform foundation"),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole"),
            "invited needs the role OrganizationAccountAccessRole",
        ),
    ],
)
def test_a_profile_that_cannot_act_in_an_account_says_why(answers: Answers, answer: Any, message: str) -> None:
    answers.by_client["foundation-dev", "sts"] = answer
    check = organization_checks.check_identity(SETTINGS, "dev")
    assert check.state is State.PROBLEM
    assert message in check.text


def test_another_organisation_is_a_problem_since_every_trust_would_refuse(answers: Answers) -> None:
    answers.by_client["*", "organizations"] = ("describe_organization", {"Organization": {"Id": "o-another001"}})
    assert organization_checks.check_membership(SETTINGS).state is State.PROBLEM
    answers.by_client["*", "organizations"] = (
        "describe_organization",
        {"Organization": {"Id": SETTINGS.organization.id}},
    )
    assert organization_checks.check_membership(SETTINGS).state is State.FINE


@pytest.mark.parametrize(
    ("organisation", "regions", "state"),
    [(True, True, State.FINE), (False, True, State.WARNING), (True, False, State.WARNING)],
)
def test_only_a_trail_of_the_organisation_and_all_regions_counts(
    answers: Answers, organisation: bool, regions: bool, state: State
) -> None:
    trail = {"TrailARN": "arn:t", "IsOrganizationTrail": organisation, "IsMultiRegionTrail": regions}
    answers.by_client["*", "cloudtrail"] = ("describe_trails", {"trailList": [trail]})
    assert organization_checks.check_trail(SETTINGS).state is state


def test_a_trail_that_cannot_be_read_is_unknown_and_not_missing(answers: Answers) -> None:
    answers.by_client["*", "cloudtrail"] = ClientError({"Error": {"Code": "AccessDenied"}}, "DescribeTrails")
    assert organization_checks.check_trail(SETTINGS).state is State.UNKNOWN


@pytest.mark.parametrize(("allowed", "state"), [(100_000.0, State.FINE), (3.0, State.WARNING)])
def test_quotas_are_compared_with_what_all_stacks_together_need(answers: Answers, allowed: float, state: State) -> None:
    answers.by_client["*", "service-quotas"] = ("get_service_quota", {"Quota": {"Value": allowed}})
    stacks = {name: load.of_stack(name) for name in load.stacks()}
    checks = organization_checks.check_quotas(SETTINGS, stacks)
    assert {check.state for check in checks} == {state}
    needed = organization_checks.full_load(list(stacks.values()))
    assert needed[organization_checks.ADDRESSES] == 4, "one NAT in dev, three in prod"
    assert needed[organization_checks.ON_DEMAND] > needed[organization_checks.SPOT] > 0
    if state is State.WARNING:
        assert f"--desired-value {needed[organization_checks.ON_DEMAND]} --profile foundation-cicd" in checks[0].text


def answer_head_bucket(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Let S3 answer every `HeadBucket` with a status."""
    client = boto3.client("s3", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(client)
    if status == HTTPStatus.OK:
        stubber.add_response("head_bucket", {})
    else:
        stubber.add_client_error("head_bucket", str(status), http_status_code=status)
    stubber.activate()
    monkeypatch.setattr(organization_checks, "client", lambda *_: client)


def test_the_bucket_of_another_account_does_not_count_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_head_bucket(monkeypatch, 404)
    assert not organization_checks.bucket_exists(SETTINGS)
    answer_head_bucket(monkeypatch, 403)
    with pytest.raises(FailedError, match="exists and is not yours"):
        organization_checks.bucket_exists(SETTINGS)


@pytest.mark.parametrize(
    ("status", "state", "message"),
    [
        (404, State.FINE, "free for dev"),
        (200, State.FINE, "dev has it already"),
        (403, State.PROBLEM, "is not dev's in eu-central-1"),
        (301, State.PROBLEM, "is not dev's in eu-central-1"),
    ],
)
def test_the_bucket_of_an_account_must_be_free_or_its_own(
    monkeypatch: pytest.MonkeyPatch, status: int, state: State, message: str
) -> None:
    answer_head_bucket(monkeypatch, status)
    check = organization_checks.check_bucket(SETTINGS, "dev")
    assert check.name == "bucket o-senncloud01-state-333333333333-eu-central-1"
    assert check.state is state
    assert message in check.text


def test_an_expired_session_is_not_blamed_on_an_invited_account(answers: Answers) -> None:
    answers.by_client["foundation-dev", "sts"] = UnauthorizedSSOTokenError()
    check = organization_checks.check_identity(SETTINGS, "dev")
    assert check.state is State.PROBLEM
    assert "invited" not in check.text


def test_the_state_and_its_key_are_where_the_foundation_puts_them() -> None:
    query = "region=eu-central-1&profile=platform-admin&awssdk=v2"
    assert (
        state_backend.state_url(SETTINGS, "platform")
        == f"s3://o-senncloud01-state-111111111111-eu-central-1/platform?{query}"
    )
    assert state_backend.secrets_url(SETTINGS, "platform") == f"awskms://{SECRETS_KEY_ALIAS}?{query}"
    exported = program.mock_run("foundation").exports["secrets_provider"]
    assert exported == state_backend.secrets_url(SETTINGS, "platform"), (
        "a person who copies it gets in as the bootstrap does"
    )
    ran = typer.testing.CliRunner().invoke(main.app, ["backend", "--foundation"])
    assert ran.stdout.strip() == state_backend.state_url(SETTINGS, "foundation")


def test_static_keys_end_the_command_before_any_cloud_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in files(tmp_path, credentials=section("default", KEY)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(organization_checks, "client", lambda *_: pytest.fail("a cloud was asked"))
    monkeypatch.setattr("sys.argv", ["runner-platform", "bootstrap", "--dry-run", "--work", str(tmp_path / "work")])
    with pytest.raises(SystemExit) as ended, contextlib.chdir(tmp_path):
        main.main()
    assert ended.value.code == 1
    errors = capsys.readouterr().err
    assert errors.startswith("target: ")
    assert "static AWS keys are refused" in errors
    assert not (tmp_path / "work").exists()
