"""The template aws-oidc: its inputs, and its script in a shell with GitLab's variables."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from config import load
from runner_platform_sandbox.gitlab.ci.variables import expand, values_of
from tests.support.ci_components import MAIN, component, jobs_in, run, variables_of

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.gitlab.ci.pipeline import Job

TEMPLATE = component("aws-oidc.gitlab-ci")
TEXT = TEMPLATE.path.read_text()
INPUTS = TEMPLATE.inputs
EXAMPLE = yaml.safe_load(TEMPLATE.example)
TOKEN = "header.claims.signature"
GITLAB = {"CI_SERVER_URL": "https://gitlab.com", "CI_PIPELINE_ID": "1234567890", "CI_JOB_ID": "98765432101"}
SESSION = "gitlab-1234567890-98765432101"
ROLE = "arn:aws:iam::444444444444:role/cicd/gitlab-release"
IDENTITY = f"arn:aws:sts::444444444444:assumed-role/gitlab-release/{SESSION}"
AWS_STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" > '{record}/arguments'
env > '{record}/environment'
echo '{identity}'
"""
SHELLS = [shell for shell in ("bash", "dash", "busybox") if shutil.which(shell)]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a job's before_script."""

    code: int
    output: str
    """Text of the job's log."""
    folder: Path
    called: dict[str, Any] | None
    """Arguments and environment of the `aws` call; None if `aws` was not called."""


def _job(**inputs: Any) -> Job:
    """Return a job that extends the template's."""
    job = {"extends": inputs.get("job", ".aws-oidc"), "script": ["deploy"]}
    return jobs_in(json.dumps({**json.loads(TEMPLATE.including(**inputs)), "release": job}), MAIN)["release"]


def _run(
    tmp_path: Path,
    *,
    shell: str = "bash",
    identity: str = IDENTITY,
    environment: dict[str, str] | None = None,
    **inputs: Any,
) -> Result:
    tools = tmp_path / "bin"
    tools.mkdir()
    aws = tools / "aws"
    aws.write_text(AWS_STAND_IN.format(record=tools, identity=identity))
    aws.chmod(0o755)
    job = _job(folder=str(tmp_path), **inputs)
    variables = {**GITLAB, "AWS_OIDC_TOKEN": TOKEN, "PATH": f"{tools}:/usr/bin:/bin", **(environment or {})}
    done = run("\n".join(job.before_script), tmp_path, variables_of(job, variables), shell)
    return Result(
        code=done.returncode,
        output=done.stdout + done.stderr,
        folder=tmp_path / f"aws-oidc-{GITLAB['CI_JOB_ID']}",
        called=_recorded(tools) if (tools / "arguments").exists() else None,
    )


def _recorded(folder: Path) -> dict[str, Any]:
    variables = (line.partition("=") for line in (folder / "environment").read_text().splitlines())
    return {
        "arguments": (folder / "arguments").read_text().splitlines(),
        "environment": {name: value for name, _, value in variables},
    }


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_is_typed_described_and_used(name: str) -> None:
    declared = INPUTS[name]
    assert declared["type"] in {"string", "number", "boolean", "array"}
    assert declared["description"].endswith(".")
    assert f"$[[ inputs.{name} ]]" in TEXT
    if declared["type"] == "string":
        assert "default" not in declared or re.search(declared["regex"], declared["default"])


def test_no_interpolation_names_an_input_that_is_not_declared() -> None:
    assert set(re.findall(r"\$\[\[ inputs\.(\w+) \]\]", TEXT)) == set(INPUTS)


def test_the_example_has_existing_inputs_and_a_role_of_the_platform() -> None:
    inputs = EXAMPLE["include"][0]["inputs"]
    required = {name for name, declared in INPUTS.items() if "default" not in declared}
    assert required <= set(inputs) <= set(INPUTS)
    assert all(re.search(INPUTS[name]["regex"], value) for name, value in inputs.items())
    settings = load.of_stack("prod")
    names = settings.names
    assert inputs["role_arn"] == names.role_arn(settings.accounts["prod"].id, names.gitlab_role("release"))
    assert EXAMPLE["release"]["extends"] == INPUTS["job"]["default"]


@pytest.mark.parametrize(
    "value", ["platform-release", "arn:aws:iam::1:role/x", f"{ROLE}\n[profile other]", f'{ROLE}" evil']
)
def test_a_value_that_is_not_a_role_arn_is_refused(value: str) -> None:
    assert not re.search(INPUTS["role_arn"]["regex"], value)


def test_the_audience_is_the_gitlab_url_as_in_the_trust() -> None:
    job = _job()
    (token,) = job.id_tokens
    assert token.name == "AWS_OIDC_TOKEN"
    assert expand(token.audiences[0], values_of(job.variables)) == load.of_stack("prod").gitlab.url


@pytest.mark.parametrize("shell", SHELLS)
def test_a_job_has_the_role_in_its_profile_and_in_the_default_profile(tmp_path: Path, shell: str) -> None:
    result = _run(tmp_path, shell=shell)
    assert result.code == 0, result.output
    config = configparser.ConfigParser(default_section="none")
    config.read(result.folder / "config")
    expected = {
        "role_arn": ROLE,
        "web_identity_token_file": str(result.folder / "token"),
        "role_session_name": SESSION,
        "region": "eu-central-1",
        "sts_regional_endpoints": "regional",
    }
    assert {name: dict(config[name]) for name in config.sections()} == {
        "default": expected,
        "profile gitlab": expected,
    }
    assert (result.folder / "token").read_text() == TOKEN, "a newline at its end would make STS refuse it"
    assert len(SESSION) <= 64


@pytest.mark.parametrize("shell", SHELLS)
def test_the_cli_is_called_once_and_no_variable_overrides_the_profile(tmp_path: Path, shell: str) -> None:
    inherited = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "session",
        "AWS_ROLE_ARN": "arn:aws:iam::222222222222:role/other",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/elsewhere",
        "AWS_PROFILE": "dev",
        "AWS_CONFIG_FILE": "/etc/runner-platform/aws/config",
    }
    result = _run(tmp_path, shell=shell, environment=inherited)
    assert result.code == 0, result.output
    assert result.called is not None
    assert result.called["arguments"] == ["sts", "get-caller-identity", "--query", "Arn", "--output", "text"]
    received = {name: value for name, value in result.called["environment"].items() if name.startswith("AWS_")}
    assert received == {
        "AWS_CONFIG_FILE": str(result.folder / "config"),
        "AWS_PROFILE": "gitlab",
        "AWS_SDK_LOAD_CONFIG": "1",
    }


def test_the_log_shows_the_identity_and_never_the_token(tmp_path: Path) -> None:
    result = _run(tmp_path)
    assert result.output == f"aws-oidc: {IDENTITY}\n"


def test_only_the_job_can_read_the_token(tmp_path: Path) -> None:
    folder = _run(tmp_path).folder
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {folder.name: 0o700, "token": 0o600, "config": 0o600}


def test_an_existing_folder_is_not_used(tmp_path: Path) -> None:
    (tmp_path / f"aws-oidc-{GITLAB['CI_JOB_ID']}").mkdir()
    result = _run(tmp_path)
    assert result.code != 0
    assert result.called is None


@pytest.mark.parametrize(
    "identity",
    [
        "arn:aws:sts::222222222222:assumed-role/runner-small/runner-small",
        IDENTITY.replace("444444444444", "333333333333"),
        IDENTITY.replace("gitlab-release", "other-gitlab-release"),
        "",
    ],
)
def test_another_identity_ends_the_job(tmp_path: Path, identity: str) -> None:
    result = _run(tmp_path, identity=identity)
    assert result.code == 1
    assert "and it should be sts::444444444444:assumed-role/gitlab-release/" in result.output


@pytest.mark.parametrize("partition", ["aws-us-gov", "aws-cn"])
def test_the_identity_of_another_partition_is_recognised(tmp_path: Path, partition: str) -> None:
    arn = ROLE.replace("arn:aws:", f"arn:{partition}:")
    result = _run(tmp_path, role_arn=arn, identity=IDENTITY.replace("arn:aws:", f"arn:{partition}:"))
    assert result.code == 0, result.output


def test_a_job_without_an_id_token_ends_with_the_remedy(tmp_path: Path) -> None:
    result = _run(tmp_path, environment={"AWS_OIDC_TOKEN": ""})
    assert result.code == 1
    assert "extend .aws-oidc" in result.output
    assert result.called is None


def test_without_verify_no_cli_is_needed(tmp_path: Path) -> None:
    result = _run(tmp_path, verify=False)
    assert result.code == 0, result.output
    assert result.called is None
    assert (result.folder / "config").exists()


def test_a_second_role_has_a_hidden_job_and_a_profile_of_its_own(tmp_path: Path) -> None:
    result = _run(tmp_path, job=".aws-oidc-dev", profile="dev")
    assert result.code == 0, result.output
    assert result.called is not None
    assert result.called["environment"]["AWS_PROFILE"] == "dev"
    assert "[profile dev]" in (result.folder / "config").read_text()
