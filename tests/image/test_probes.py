"""The probes of `image/probes` as programs: one line of JSON in every case, and a kind for every error."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from config import load
from runner_platform.prove.attempts import Attempt, Identity, Sdk, Way
from runner_platform.prove.probes import Probes

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.prove.results import Answer

PROBES = load.ROOT / "image" / "probes"
CLI = PROBES / "cli" / "probe.py"
DENIED = "An error occurred (AccessDenied) when calling the AssumeRole operation: no identity-based policy allows it"
ATTEMPT = Attempt(
    runner_class=None,
    caller="",
    identity=Identity(stack="prod", runner_class="small"),
    profile="nope",
    sdk=Sdk.BOTO3,
    way=Way.NAMED,
    expected="",
)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (DENIED, "AccessDenied"),
        (f"\naws: [ERROR]: {DENIED}", "AccessDenied"),
        (
            "An error occurred (ExpiredTokenException) when calling the AssumeRoleWithWebIdentity",
            "ExpiredTokenException",
        ),
        ("The config profile (dve) could not be found", "ProfileNotFound"),
        ("You must specify a region. You can also configure your region by running", "RegionMissing"),
        ('Unable to locate credentials. You can configure credentials by running "aws configure".', "NoCredentials"),
        ("Could not connect to the endpoint URL: https://sts.eu-central-1.amazonaws.com/", "Unreachable"),
        ("[Errno 2] No such file or directory: '/etc/runner-platform/aws/token'", "TokenFile"),
        ('The source_profile "base" referenced in the profile "dev" does not exist', "Configuration"),
        ("something else", "Unknown"),
        ("", "Unknown"),
    ],
)
def test_every_message_of_the_cli_has_a_kind(message: str, kind: str) -> None:
    refusal = runpy.run_path(str(CLI))["_refusal"]
    assert refusal(message)["kind"] == kind
    assert refusal(message)["error"]


def cli(tmp_path: Path, script: str, profile: str = "dev") -> tuple[int, dict[str, Any]]:
    program = tmp_path / "aws"
    program.write_text(f"#!{sys.executable} -I\nimport sys\n{script}\n")
    program.chmod(0o755)
    command = [sys.executable, "-I", str(CLI), profile]
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    answer: dict[str, Any] = json.loads(process.stdout)
    return process.returncode, answer


def test_the_cli_probe_passes_the_profile_and_reads_the_end_from_the_cache(tmp_path: Path) -> None:
    arn = "arn:aws:sts::333333333333:assumed-role/x/y"
    cache = tmp_path / ".aws" / "cli" / "cache"
    cache.mkdir(parents=True)
    (cache / "other.json").write_text("{}")
    cached = {"Credentials": {"Expiration": "2026-01-01T00:00:00+00:00"}, "AssumedRoleUser": {"Arn": arn}}
    (cache / "own.json").write_text(json.dumps(cached))
    answer = {"Arn": arn, "Account": "333333333333"}
    script = f"assert sys.argv[1:5] == ['sts', 'get-caller-identity', '--profile', 'dev'], sys.argv\nprint({json.dumps(answer)!r})"
    assert cli(tmp_path, script) == (0, {"arn": arn, "account": "333333333333", "expires": "2026-01-01T00:00:00Z"})


def test_the_cli_probe_without_a_profile_and_without_a_cache(tmp_path: Path) -> None:
    script = 'assert \'--profile\' not in sys.argv\nprint(\'{"Arn": "a", "Account": "b"}\')'
    assert cli(tmp_path, script, profile="") == (0, {"arn": "a", "account": "b", "expires": None})


def test_a_missing_cli_is_an_error_with_its_own_kind(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(CLI), ""]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["kind"] == "NotInstalled"


def ask(environment: dict[str, str], **changes: Any) -> Answer:
    attempt = Attempt(**{**{key: getattr(ATTEMPT, key) for key in ATTEMPT.__dataclass_fields__}, **changes})
    with Probes([attempt.sdk], workers=1) as probes:
        ((_, answer),) = probes.run([attempt], lambda _: environment)
    return answer


@pytest.mark.processes
def test_the_boto3_probe_runs_in_a_process_with_exactly_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile dev]\nrole_arn = arn:aws:iam::333333333333:role/x\nsource_profile = none\nregion = eu-central-1\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "dev")
    environment = {"AWS_CONFIG_FILE": str(config), "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    assert ask(environment).kind == "ProfileNotFound"
    assert ask(environment, profile="dev").kind == "Configuration"
    assert ask({**environment, "AWS_DEFAULT_REGION": "eu-central-1"}, way=Way.DEFAULT).kind == "NoCredentials", (
        "no AWS_PROFILE"
    )


@pytest.mark.processes
def test_a_missing_token_file_has_its_own_kind(tmp_path: Path) -> None:
    config = tmp_path / "config"
    lines = (
        "[default]",
        "role_arn = arn:aws:iam::1:role/x",
        f"web_identity_token_file = {tmp_path}/token",
        "region = eu-central-1",
    )
    config.write_text("\n".join(lines))
    environment = {"AWS_CONFIG_FILE": str(config), "HOME": str(tmp_path), "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}
    assert ask(environment, way=Way.DEFAULT).kind == "TokenFile"
    (tmp_path / "token").write_text("not a token")
    assert ask(environment, way=Way.DEFAULT).kind == "Unreachable"
