"""The bootstrap's questions and refusals, without a cloud: keys, quotas, stack files, and where the state is to be."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import typer.testing
from botocore.exceptions import ClientError, ProfileNotFound, UnauthorizedSSOTokenError
from botocore.stub import Stubber

from components.documents.platform_roles import SECRETS_KEY_ALIAS
from config import load
from runner_platform.bootstrap import backend, checks, keys
from runner_platform.bootstrap.checks import State
from runner_platform.cli import main
from runner_platform.errors import FailedError
from tests.support import program

if TYPE_CHECKING:
    from pathlib import Path

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
    surroundings = files(tmp_path, credentials=section("temporary", "ASIAIOSFODNN7EXAMPLE", "token"), config=config)
    keys.refuse(surroundings | {"AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE", "AWS_SESSION_TOKEN": "token"})


@pytest.mark.parametrize("token", ["", "token"])
def test_a_long_term_key_is_refused_wherever_it_stands(tmp_path: Path, token: str) -> None:
    surroundings = files(
        tmp_path,
        credentials=section("old", KEY, token),
        config=section("profile older", KEY.replace("IOS", "IOT"), token),
    )
    (tmp_path / "Pulumi.dev.yaml").write_text(f"config:\n  aws:accessKey: {KEY}\n")
    given = surroundings | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SESSION_TOKEN": token}
    with pytest.raises(FailedError) as refused:
        keys.refuse(given, [tmp_path / "Pulumi.dev.yaml", tmp_path / "none.yaml"])
    said = str(refused.value)
    for place in ("variable AWS_ACCESS_KEY_ID", "credentials, [old]", "config, [profile older]", "Pulumi.dev.yaml"):
        assert place in said
    assert KEY not in said, "not even the id is printed whole"
    assert "aws configure sso" in said


def test_any_key_without_a_session_is_static(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="static AWS keys"):
        keys.refuse(files(tmp_path, credentials=section("default", "somebody")))


def test_the_sandboxs_public_keys_open_nothing_in_aws_and_pass_on_loopback_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings = files(tmp_path, credentials=section("management", "999999999999"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(FailedError):
        keys.refuse(surroundings)
    monkeypatch.setenv("AWS_ENDPOINT_URL", LOOPBACK["AWS_ENDPOINT_URL"])
    keys.refuse(surroundings)
    with pytest.raises(FailedError):
        keys.refuse(files(tmp_path, credentials=section("mine", KEY)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no section\n", "cannot be read as an AWS config"),
        ("[profile a]\nregion = x\n" * 2, r"\[line +3\]: section 'profile a' already exists"),
    ],
)
def test_a_file_that_no_sdk_would_read_is_said_to_be_none(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FailedError, match=said):
        keys.refuse(files(tmp_path, config=text))


class Answers:
    """Clients that answer what a test says, by service; anything else is refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: dict[tuple[str, str], Any] = {}
        monkeypatch.setattr(checks, "client", self._client)

    def _client(self, profile: str, service: str, _settings: object) -> Any:
        answer = self.given.get((profile, service), self.given.get(("*", service)))
        if isinstance(answer, Exception):
            raise answer
        made = boto3.client(service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
        stubber = Stubber(made)
        if answer is not None:
            stubber.add_response(*answer)
        stubber.activate()
        return made


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


def caller(account: str, arn: str = ARN) -> tuple[str, dict[str, str]]:
    return "get_caller_identity", {"Account": account, "Arn": arn.format(account), "UserId": "A:me"}


def test_the_right_account_through_a_role_is_fine(answers: Answers) -> None:
    answers.given["foundation-dev", "sts"] = caller("333333333333")
    found = checks.identity(SETTINGS, "dev")
    assert (found.state, found.text) == (State.FINE, ARN.format("333333333333"))


@pytest.mark.parametrize(
    ("answer", "said"),
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
def test_who_may_not_act_in_an_account_is_told_why(answers: Answers, answer: Any, said: str) -> None:
    answers.given["foundation-dev", "sts"] = answer
    found = checks.identity(SETTINGS, "dev")
    assert found.state is State.PROBLEM
    assert said in found.text


def test_another_organisation_is_a_problem_since_no_trust_would_admit_anybody(answers: Answers) -> None:
    answers.given["*", "organizations"] = ("describe_organization", {"Organization": {"Id": "o-another001"}})
    assert checks.membership(SETTINGS).state is State.PROBLEM
    answers.given["*", "organizations"] = ("describe_organization", {"Organization": {"Id": SETTINGS.organization.id}})
    assert checks.membership(SETTINGS).state is State.FINE


@pytest.mark.parametrize(
    ("organisation", "regions", "state"),
    [(True, True, State.FINE), (False, True, State.WARNING), (True, False, State.WARNING)],
)
def test_only_a_trail_of_the_organisation_and_all_regions_counts(
    answers: Answers, organisation: bool, regions: bool, state: State
) -> None:
    trail = {"TrailARN": "arn:t", "IsOrganizationTrail": organisation, "IsMultiRegionTrail": regions}
    answers.given["*", "cloudtrail"] = ("describe_trails", {"trailList": [trail]})
    assert checks.trail(SETTINGS).state is state


def test_a_trail_that_may_not_be_looked_for_is_unknown_and_not_missing(answers: Answers) -> None:
    answers.given["*", "cloudtrail"] = ClientError({"Error": {"Code": "AccessDenied"}}, "DescribeTrails")
    assert checks.trail(SETTINGS).state is State.UNKNOWN


@pytest.mark.parametrize(("allowed", "state"), [(100_000.0, State.FINE), (3.0, State.WARNING)])
def test_quotas_are_compared_with_what_all_stacks_together_need(answers: Answers, allowed: float, state: State) -> None:
    answers.given["*", "service-quotas"] = ("get_service_quota", {"Quota": {"Value": allowed}})
    stacks = {name: load.of_stack(name) for name in load.stacks()}
    found = checks.quotas(SETTINGS, stacks)
    assert {each.state for each in found} == {state}
    needed = checks.needed(list(stacks.values()))
    assert needed[checks.ADDRESSES] == 4, "one NAT in dev, three in prod"
    assert needed[checks.ON_DEMAND] > needed[checks.SPOT] > 0
    if state is State.WARNING:
        assert f"--desired-value {needed[checks.ON_DEMAND]} --profile foundation-cicd" in found[0].text


def heads(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Let S3 answer each question for a bucket with a status."""
    made = boto3.client("s3", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(made)
    if status == HTTPStatus.OK:
        stubber.add_response("head_bucket", {})
    else:
        stubber.add_client_error("head_bucket", str(status), http_status_code=status)
    stubber.activate()
    monkeypatch.setattr(checks, "client", lambda *_: made)


def test_a_bucket_of_somebody_else_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    heads(monkeypatch, 404)
    assert not checks.bucket_exists(SETTINGS)
    heads(monkeypatch, 403)
    with pytest.raises(FailedError, match="exists and is not yours"):
        checks.bucket_exists(SETTINGS)


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        (404, State.FINE, "free for dev"),
        (200, State.FINE, "dev has it already"),
        (403, State.PROBLEM, "is not dev's in eu-central-1"),
        (301, State.PROBLEM, "is not dev's in eu-central-1"),
    ],
)
def test_the_name_of_each_accounts_bucket_must_be_free_or_its_own(
    monkeypatch: pytest.MonkeyPatch, status: int, state: State, said: str
) -> None:
    heads(monkeypatch, status)
    found = checks.bucket(SETTINGS, "dev")
    assert found.name == "bucket o-senncloud01-state-333333333333-eu-central-1"
    assert found.state is state
    assert said in found.text


def test_a_session_that_has_ended_is_not_blamed_on_an_invited_account(answers: Answers) -> None:
    answers.given["foundation-dev", "sts"] = UnauthorizedSSOTokenError()
    found = checks.identity(SETTINGS, "dev")
    assert found.state is State.PROBLEM
    assert "invited" not in found.text


def test_the_state_and_its_key_are_where_the_foundation_puts_them() -> None:
    place = "region=eu-central-1&profile=platform-admin&awssdk=v2"
    assert (
        backend.state_url(SETTINGS, "platform")
        == f"s3://o-senncloud01-state-111111111111-eu-central-1/platform?{place}"
    )
    assert backend.secrets_url(SETTINGS, "platform") == f"awskms://{SECRETS_KEY_ALIAS}?{place}"
    exported = program.rehearsed("foundation").exports["secrets_provider"]
    assert exported == backend.secrets_url(SETTINGS, "platform"), "a person who copies it gets in as the bootstrap does"
    ran = typer.testing.CliRunner().invoke(main.app, ["backend", "--foundation"])
    assert ran.stdout.strip() == backend.state_url(SETTINGS, "foundation")


def test_static_keys_end_the_command_before_any_cloud_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in files(tmp_path, credentials=section("default", KEY)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(checks, "client", lambda *_: pytest.fail("a cloud was asked"))
    monkeypatch.setattr("sys.argv", ["runner-platform", "bootstrap", "--dry-run", "--work", str(tmp_path / "work")])
    with pytest.raises(SystemExit) as ended, contextlib.chdir(tmp_path):
        main.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("target: ")
    assert "static AWS keys are refused" in said
    assert not (tmp_path / "work").exists()
