"""Doctor in a job on an EC2 machine: its config, the session that the machine keeps, causes and the report."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.profiles import CREDENTIALS_FILE, class_profiles
from image.doctor import aws_config, container, host_session, report
from image.doctor.container import Container
from image.doctor.diagnosis import ADVICE, Case, cause_in, findings
from image.doctor.host_session import HostSession, SessionError
from image.doctor.selectors import selectors
from tests.support.machine_stack import small_stack

if TYPE_CHECKING:
    from image.doctor.aws_config import Config

SETTINGS = small_stack()
NOW = 1_800_000_000.0
OWN = "arn:aws:sts::222222222222:assumed-role/runner-small-small/runner-small-small"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The config of class small, with its session in a local file."""
    text = class_profiles(SETTINGS.runner_class("small"))
    (tmp_path / "config").write_text(text.replace(CREDENTIALS_FILE, str(tmp_path / "credentials.json")))
    return aws_config.read(tmp_path / "config")


def document(**changes: Any) -> str:
    ends = datetime.fromtimestamp(NOW + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys = {"Version": 1, "AccessKeyId": "x", "SecretAccessKey": "x", "SessionToken": "x", "Expiration": ends}
    return json.dumps({key: value for key, value in {**keys, **changes}.items() if value is not None})


def test_a_class_is_recognised_by_the_role_that_its_session_is_named_after(config: Config, tmp_path: Path) -> None:
    assert (config.runner_class, config.stack) == ("small", "small")
    assert config.session_file == tmp_path / "credentials.json"
    assert config.token_file is None
    assert not config.is_without_identity
    assert config.profiles["dev"].role == "delegated-role-open-small"


@pytest.mark.parametrize(
    ("session", "right"),
    [
        (OWN, True),
        (OWN.replace("runner-small-small/", "runner-medium-small/"), False),
        (OWN.replace("assumed-role/runner-small-small", "assumed-role/runner-manager-small-small"), False),
        ("", False),
    ],
)
def test_base_must_be_the_class_s_own_role(config: Config, session: str, right: bool) -> None:  # a table
    assert config.profiles["base"].is_role_of(session) is right
    assert config.profiles["default"].is_role_of(session) is right


def test_a_profile_without_a_role_and_without_a_session_is_nobody_s(config: Config) -> None:
    base = replace(config.profiles["base"], process="/usr/local/bin/no-identity")
    assert not base.is_role_of(OWN)


def test_the_class_s_own_process_is_not_called_a_selector_of_the_job_s(config: Config) -> None:
    assert [selector for selector in selectors({}, config) if selector.harmed] == []
    process = "cat /etc/runner-platform/aws/credentials.json | jq ."
    text = config.file.read_text()
    config.file.write_text(text.replace(f"cat {config.session_file}", process))
    (selector,) = [selector for selector in selectors({}, aws_config.read(config.file)) if selector.harmed]
    assert selector.name == "credential_process or keys in the config"


def test_a_complete_session_is_read_with_its_end(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(document())
    assert host_session.read(tmp_path / "s") == HostSession(file=tmp_path / "s", expires=NOW + 3600)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (None, "no-session"),
        ("", "malformed-session"),
        ("[]", "malformed-session"),
        (document(SessionToken=None), "malformed-session"),
        (document(SecretAccessKey=""), "malformed-session"),
        (document(Version=2), "malformed-session"),
        (document(Expiration="soon"), "malformed-session"),
    ],
)
def test_what_is_no_session_has_a_cause(tmp_path: Path, text: str | None, cause: str) -> None:
    if text is not None:
        (tmp_path / "s").write_text(text)
    with pytest.raises(SessionError, match=str(tmp_path / "s")) as refusal:
        host_session.read(tmp_path / "s")
    assert refusal.value.cause == cause
    assert "runner-platform-credentials" in ADVICE[cause], "the advice says where to look on the machine"


@pytest.mark.parametrize(
    ("minutes", "cause", "fatal"),
    [
        (60, "", False),
        (41, "", False),
        (39, "old-session", False),
        (1, "old-session", False),
        (0, "expired-session", True),
    ],
)
def test_a_session_that_is_not_renewed_is_noticed_before_it_ends(
    minutes: int, cause: str, fatal: bool
) -> None:  # a table
    session = HostSession(file=Path("/s"), expires=NOW + 60 * minutes)
    case = Case(config=None, token=None, session=session, container=Container(), now=NOW)
    assert [(finding.cause, finding.fatal) for finding in findings(case)] == ([(cause, fatal)] if cause else [])


@pytest.mark.parametrize(
    "message",
    [
        "CredentialRetrievalError: Error when retrieving credentials from custom-process: cat: /etc/x: No such file",
        'process provider error: error in credential_process: exec: "sh": executable file not found in $PATH',
        "NoCredentials: Profile base credential_process returned invalid JSON.",
    ],
)
def test_an_sdk_that_gets_no_session_points_to_the_machine(message: str) -> None:
    assert cause_in(message) == "no-session"


@pytest.mark.parametrize(
    ("variables", "docker", "kind"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False, container.POD),
        ({}, True, container.DOCKER),
        ({}, False, ""),
    ],
)
def test_the_kind_of_a_container_is_told_by_what_it_holds(
    tmp_path: Path,
    variables: dict[str, str],
    docker: bool,
    kind: str,  # a table
) -> None:
    if docker:
        (tmp_path / ".dockerenv").touch()
    assert container.kind_of(variables, str(tmp_path)) == kind


def test_the_report_names_the_container_and_the_account_of_the_own_role() -> None:
    row = report.Row(
        profile="base",
        sdk="cli",
        way="named",
        expected="",
        got=OWN,
        session_seconds=3599,
        ok=True,
        cause="",
        error="",
    )
    names = ("pipeline", "job", "audit", "config")
    whole = report.Report(
        **dict.fromkeys(names, "x"),
        runner_class="small",
        stack="small",
        service_account="",
        container="docker",
        as_it_stands=[],
        selectors=[],
        rows=[row],
        findings=[],
    )
    lines = whole.text().splitlines()
    assert lines[0] == "class small, a container of a machine, config x"
    assert lines[2].split() == ["base", "222222222222", "runner-small-small", "ok", "59", "min"]
    assert whole.document()["container"] == "docker"
    assert whole.document()["service_account"] is None
