"""Doctor's inputs: config, token, variables, clock, STS, metadata service, home. All listeners are on loopback."""

from __future__ import annotations

import base64
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components.documents.profiles import class_profiles
from image.doctor import aws_config, container, web_token
from tests.support.class_settings import CLASSES, settings_of
from tests.support.loopback import closed_address, listening


def jwt(**claims: Any) -> str:
    parts = [json.dumps({"alg": "RS256"}).encode(), json.dumps(claims).encode(), b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_rendered_config_names_class_stack_accounts_and_session(
    stack: str, runner_class: str, tmp_path: Path
) -> None:
    settings = settings_of(stack)
    (tmp_path / "config").write_text(class_profiles(settings.runner_class(runner_class)))
    job_config = aws_config.read(tmp_path / "config")
    assert (job_config.runner_class, job_config.stack) == (runner_class, "" if stack == "prod" else stack)
    assert str(job_config.token_file) == "/etc/runner-platform/aws/token"
    for name, account in settings.accounts_of(runner_class).items():
        assert job_config.profiles[name].account == account.id, "a profile is named after its account"
        assert job_config.profiles[name].source == "base"
    assert job_config.session == settings.names.job_role(runner_class)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no AWS config"),
        (b"role_arn = x\n", "is not an AWS config"),
        (b"\xff\xfe", "is not an AWS config"),
        (b"\0" * 9, "is not an AWS config"),
    ],
)
def test_an_unusable_config_is_an_error_with_a_message(content: bytes | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config").write_bytes(content)
    with pytest.raises(aws_config.ConfigError, match=expected):
        aws_config.read(tmp_path / "config")


@pytest.mark.parametrize(
    "content", [b"[default]\n[default]\n", b"[default]\n\xfc", b"\xef\xbb\xbf[default]", b"[default]\nnothing\n[\n]="]
)
def test_a_config_that_some_sdk_does_not_read_is_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(content)
    job_config = aws_config.read(tmp_path / "config")
    assert list(job_config.profiles) == ["default"]
    assert job_config.content.traps, "and the place is known"


def test_a_folder_instead_of_a_config_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(aws_config.ConfigError, match="cannot be read: Is a directory"):
        aws_config.read(tmp_path)


def test_the_config_file_is_that_of_the_variable_or_of_the_home_folder() -> None:
    assert str(aws_config.in_force({"AWS_CONFIG_FILE": "/a/config", "HOME": "/h"})) == "/a/config"
    assert str(aws_config.in_force({"HOME": "/h"})) == "/h/.aws/config"


def test_classes_with_a_profile_are_read_from_the_image(tmp_path: Path) -> None:
    for name in ("small", "deploy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config").write_text(class_profiles(settings_of("prod").runner_class(name)))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config").write_text("no section")
    assert aws_config.classes_with("prod", tmp_path) == ["deploy"]
    assert aws_config.classes_with("base", tmp_path) == ["deploy", "small"]
    assert aws_config.classes_with("nowhere", tmp_path) == []
    assert aws_config.classes_with("prod", tmp_path / "absent") == []


def test_a_token_names_class_pod_and_times(tmp_path: Path) -> None:
    pod = {"namespace": "jobs-small", "pod": {"name": "runner-x", "uid": "u"}, "serviceaccount": {"name": "job"}}
    claims = {"sub": "system:serviceaccount:jobs-small:job", "aud": ["a"], "exp": 30, "iat": 10, "nbf": 11}
    (tmp_path / "token").write_text(jwt(**claims, **{"kubernetes.io": pod}) + "\n")
    token = web_token.read(tmp_path / "token")
    assert (token.runner_class, token.audiences, token.issued, token.expires) == (
        "small",
        ("a",),
        11,
        30,
    )
    assert (token.pod, token.pod_uid) == ("runner-x", "u")


@pytest.mark.parametrize(
    "claims", [{}, {"aud": "a", "exp": "never", "iat": True, "kubernetes.io": []}, {"sub": 5, "aud": None}]
)
def test_a_token_with_unusual_claims_is_read(claims: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(jwt(**claims))
    token = web_token.read(tmp_path / "token")
    assert (token.expires, token.issued, token.runner_class, token.pod) == (0, 0, "", "")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "no-token"),
        (b"", "malformed-token"),
        (b"\n", "malformed-token"),
        (b"one.two", "malformed-token"),
        (b"a.b.c", "malformed-token"),
        (b"a.W10.c", "malformed-token"),
        (b"\xff\xfe.\x00.c", "malformed-token"),
        (b"<html>not found</html>", "malformed-token"),
    ],
)
def test_a_file_without_a_token_is_an_error(content: bytes | None, cause: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(web_token.TokenError) as error:
        web_token.read(tmp_path / "token")
    assert error.value.cause == cause
    assert str(tmp_path / "token") in str(error.value)


def test_a_path_that_no_file_can_have_is_an_error() -> None:
    with pytest.raises(web_token.TokenError, match="cannot be read"):
        web_token.read(Path("/a\0b"))


def test_a_pipe_is_not_read_as_a_config(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config")
    with pytest.raises(aws_config.ConfigError, match="not a regular file"):
        aws_config.read(tmp_path / "config")


def test_the_home_of_nobody_is_no_error() -> None:
    variables = {"AWS_CONFIG_FILE": "~nobody-has-this-name/config"}
    assert str(aws_config.in_force(variables)) == variables["AWS_CONFIG_FILE"]


def test_a_metadata_service_at_a_bad_address_is_none(tmp_path: Path) -> None:
    changes = {"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "nonsense"}
    assert not examine_container(tmp_path, **changes).metadata


def test_a_folder_instead_of_a_token_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(web_token.TokenError, match="cannot be read"):
        web_token.read(tmp_path)


def examine_container(tmp_path: Path, **environment: str) -> container.Container:
    home = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_STS": closed_address()}
    return container.look(home | environment, None, time.time)


def test_an_error_of_sts_has_the_time_of_the_server(tmp_path: Path) -> None:
    with listening(404, "Thu, 01 Jan 2026 00:00:00 GMT") as address:
        state = examine_container(tmp_path, AWS_ENDPOINT_URL_STS=address)
    assert (state.sts, state.sts_problem) == (address, "")
    assert state.clock_ahead == pytest.approx(time.time() - datetime(2026, 1, 1, tzinfo=UTC).timestamp(), abs=60)


def test_sts_without_a_date_leaves_the_clock_unknown(tmp_path: Path) -> None:
    with listening() as address:
        assert examine_container(tmp_path, AWS_ENDPOINT_URL_STS=address).clock_ahead == 0


@pytest.mark.parametrize(
    "endpoint", ["dead", "http://127.0.0.1:1", "nonsense", "http://[", "https://sts.eu central.example"]
)
def test_an_unreachable_sts_is_a_problem(tmp_path: Path, endpoint: str) -> None:
    state = examine_container(tmp_path, AWS_ENDPOINT_URL_STS=closed_address() if endpoint == "dead" else endpoint)
    assert state.sts_problem


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        ({"AWS_REGION": "eu-central-1"}, "https://sts.eu-central-1.amazonaws.com"),
        ({"AWS_DEFAULT_REGION": "cn-north-1"}, "https://sts.cn-north-1.amazonaws.com.cn"),
        ({"AWS_ENDPOINT_URL": "http://one"}, "http://one"),
        ({"AWS_ENDPOINT_URL": "http://one", "AWS_ENDPOINT_URL_STS": "http://two"}, "http://two"),
    ],
)
def test_the_endpoint_of_sts_is_the_one_that_sdks_use(environment: dict[str, str], expected: str) -> None:
    assert container.sts_endpoint(environment, None) == expected


@pytest.mark.parametrize("status", [200, 401, 403, 404])
def test_a_metadata_service_is_found_by_any_answer(tmp_path: Path, status: int) -> None:
    with listening(status) as address:
        state = examine_container(
            tmp_path, AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT=f"{address}/"
        )
        assert state.metadata == address
        switched_off = examine_container(tmp_path, AWS_EC2_METADATA_SERVICE_ENDPOINT=address)
    assert switched_off.metadata == "", "SDKs do not ask it either"


def test_without_a_metadata_service_there_is_no_problem(tmp_path: Path) -> None:
    assert not examine_container(
        tmp_path, AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=closed_address()
    ).metadata


@pytest.mark.parametrize("home", ["/proc", "/nowhere", ""])
def test_a_read_only_home_is_a_problem(tmp_path: Path, home: str) -> None:
    assert examine_container(tmp_path, HOME=home).home_problem
    assert not examine_container(tmp_path).home_problem
    assert not list(tmp_path.iterdir()), "no file remains"


def test_profiles_without_a_region_are_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        class_profiles(settings_of("prod").runner_class("small")).replace("region = ", "output = ")
    )
    job_config = aws_config.read(tmp_path / "config")
    environment = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    assert container.look(environment, job_config, time.time).profiles_without_region == (
        "default",
        "base",
        "cicd",
        "dev",
    )
    for name, expected in (("AWS_DEFAULT_REGION", ()), ("AWS_REGION", ("default", "base", "cicd", "dev"))):
        endpoint = {"AWS_ENDPOINT_URL_STS": closed_address(), name: "eu-central-1"}
        assert container.look(environment | endpoint, job_config, time.time).profiles_without_region == expected, (
            "boto3 reads AWS_DEFAULT_REGION alone"
        )
