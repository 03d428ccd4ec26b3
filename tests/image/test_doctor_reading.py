"""What doctor reads and finds around it: config, token, variables, clock, STS, metadata service, home. Listeners on loopback only."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.profiles import class_profiles
from image.doctor import config, surroundings, web_token
from tests.components.documents.test_config_toml import CLASSES, settings_of
from tests.support.loopback import dead, listening

if TYPE_CHECKING:
    from pathlib import Path


def jwt(**claims: Any) -> str:
    parts = [json.dumps({"alg": "RS256"}).encode(), json.dumps(claims).encode(), b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_rendered_config_of_each_class_says_what_to_expect(stack: str, runner_class: str, tmp_path: Path) -> None:
    settings = settings_of(stack)
    (tmp_path / "config").write_text(class_profiles(settings, runner_class))
    found = config.read(tmp_path / "config")
    assert (found.runner_class, found.stack) == (runner_class, "" if stack == "prod" else stack)
    assert str(found.token_file) == "/etc/runner-platform/aws/token"
    for name, account in settings.accounts_of(runner_class).items():
        assert found.profiles[name].account == account.id, "the account that the profile's name says"
        assert found.profiles[name].source == "base"
    assert found.session == settings.names.job_role(runner_class)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no AWS config"),
        (b"role_arn = x\n", "is no AWS config"),
        (b"\xff\xfe", "is no AWS config"),
        (b"[default]\n[default]\n", "is no AWS config"),
    ],
)
def test_a_config_that_cannot_be_used_is_a_sentence(content: bytes | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config").write_bytes(content)
    with pytest.raises(config.ConfigError, match=expected):
        config.read(tmp_path / "config")


def test_the_config_in_force_is_the_variable_s_else_the_home_s() -> None:
    assert str(config.in_force({"AWS_CONFIG_FILE": "/a/config", "HOME": "/h"})) == "/a/config"
    assert str(config.in_force({"HOME": "/h"})) == "/h/.aws/config"


def test_classes_that_have_a_profile_are_found_among_the_baked_ones(tmp_path: Path) -> None:
    for name in ("small", "deploy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config").write_text(class_profiles(settings_of("prod"), name))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config").write_text("no section")
    assert config.classes_with("prod", tmp_path) == ["deploy"]
    assert config.classes_with("base", tmp_path) == ["deploy", "small"]
    assert config.classes_with("nowhere", tmp_path) == []
    assert config.classes_with("prod", tmp_path / "absent") == []


def test_a_token_says_whose_it_is(tmp_path: Path) -> None:
    pod = {"namespace": "jobs-small", "pod": {"name": "runner-x", "uid": "u"}, "serviceaccount": {"name": "job"}}
    claims = {"sub": "system:serviceaccount:jobs-small:job", "aud": ["a"], "exp": 30, "iat": 10, "nbf": 11}
    (tmp_path / "token").write_text(jwt(**claims, **{"kubernetes.io": pod}) + "\n")
    found = web_token.read(tmp_path / "token")
    assert (found.runner_class, found.audiences, found.issued, found.expires) == ("small", ("a",), 11, 30)
    assert (found.pod, found.pod_uid) == ("runner-x", "u")


@pytest.mark.parametrize(
    "claims", [{}, {"aud": "a", "exp": "never", "iat": True, "kubernetes.io": []}, {"sub": 5, "aud": None}]
)
def test_a_token_with_odd_claims_is_still_read(claims: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(jwt(**claims))
    found = web_token.read(tmp_path / "token")
    assert (found.expires, found.issued, found.runner_class, found.pod) == (0, 0, "", "")


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
def test_what_is_no_token_is_told(content: bytes | None, cause: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(web_token.TokenError) as refused:
        web_token.read(tmp_path / "token")
    assert refused.value.cause == cause
    assert str(tmp_path / "token") in str(refused.value)


def test_a_token_file_that_is_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(web_token.TokenError, match="cannot be read"):
        web_token.read(tmp_path)


def look(tmp_path: Path, **environment: str) -> surroundings.Surroundings:
    home = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_STS": dead()}
    return surroundings.look(home | environment, None, time.time)


def test_sts_that_answers_anything_is_reachable_and_gives_the_time(tmp_path: Path) -> None:
    with listening(404, "Thu, 01 Jan 2026 00:00:00 GMT") as address:
        found = look(tmp_path, AWS_ENDPOINT_URL_STS=address)
    assert (found.sts, found.sts_trouble) == (address, "")
    assert found.clock_ahead == pytest.approx(time.time() - datetime(2026, 1, 1, tzinfo=UTC).timestamp(), abs=60)


def test_sts_without_a_date_says_nothing_of_the_clock(tmp_path: Path) -> None:
    with listening() as address:
        assert look(tmp_path, AWS_ENDPOINT_URL_STS=address).clock_ahead == 0


@pytest.mark.parametrize("endpoint", ["dead", "http://127.0.0.1:1", "nonsense"])
def test_sts_that_cannot_be_reached_is_told_with_the_reason(tmp_path: Path, endpoint: str) -> None:
    found = look(tmp_path, AWS_ENDPOINT_URL_STS=dead() if endpoint == "dead" else endpoint)
    assert found.sts_trouble


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
def test_sts_is_asked_where_sdks_ask_it(environment: dict[str, str], expected: str) -> None:
    assert surroundings.sts_endpoint(environment, None) == expected


@pytest.mark.parametrize("status", [200, 401, 403, 404])
def test_a_metadata_service_that_answers_in_any_way_is_found(tmp_path: Path, status: int) -> None:
    with listening(status) as address:
        found = look(tmp_path, AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT=f"{address}/")
        assert found.metadata == address
        switched_off = look(tmp_path, AWS_EC2_METADATA_SERVICE_ENDPOINT=address)
    assert switched_off.metadata == "", "SDKs do not ask it either"


def test_no_metadata_service_is_as_it_should_be(tmp_path: Path) -> None:
    assert not look(tmp_path, AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=dead()).metadata


@pytest.mark.parametrize("name", surroundings.OVERRIDING)
def test_a_variable_that_wins_over_profiles_is_named_and_not_its_value(tmp_path: Path, name: str) -> None:
    found = look(tmp_path, **{name: "a-value"})
    assert found.overriding == (name,)
    assert "a-value" not in repr(found)


@pytest.mark.parametrize("home", ["/proc", "/nowhere", ""])
def test_a_home_that_cannot_be_written_is_told(tmp_path: Path, home: str) -> None:
    assert look(tmp_path, HOME=home).home_trouble
    assert not look(tmp_path).home_trouble
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_profiles_without_a_region_are_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(class_profiles(settings_of("prod"), "small").replace("region = ", "output = "))
    found = config.read(tmp_path / "config")
    around = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    assert surroundings.look(around, found, time.time).regionless == ("default", "base", "cicd", "dev")
    for name, known in (("AWS_DEFAULT_REGION", ()), ("AWS_REGION", ("default", "base", "cicd", "dev"))):
        endpoint = {"AWS_ENDPOINT_URL_STS": dead(), name: "eu-central-1"}
        assert surroundings.look(around | endpoint, found, time.time).regionless == known, "boto3 reads one of them"
