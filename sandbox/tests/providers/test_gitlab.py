"""The gitlab stand-in against the fake GitLab, over HTTP in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.providers.gitlab import RUNNER, GitLab
from runner_platform_sandbox.providers.stand_in import InvalidInputsError, ProviderError
from runner_platform_sandbox.providers.wire import UNKNOWN, Secret
from sandbox.tests.support.provider_driver import Driver
from tests.support.gitlab_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL: dict[str, Any] = {
    "runnerType": "group_type",
    "groupId": 1234,
    "tagLists": ["small", "cheap"],
    "untagged": False,
    "maximumTimeout": 3600,
}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as address:
        yield address


@pytest.fixture
def stack(url: str) -> Driver:
    return Driver(provider(url))


def provider(url: str, token: str = GITLAB_TOKEN) -> GitLab:
    provider = GitLab()
    provider.configure({"baseUrl": url, "token": token})
    return provider


def test_a_runner_is_created_once_and_then_left_alone(stack: Driver) -> None:
    stack.up(RUNNER, "small", SMALL)
    state = stack.states["small"]
    assert (state.id, state.outputs["token"][:5], state.outputs["tagLists"]) == ("1", "glrt-", ["small", "cheap"])
    diff = stack.up(RUNNER, "small", SMALL)
    assert diff is not None
    assert diff.changes == []


def test_the_token_is_a_secret_output(stack: Driver) -> None:
    news = stack.check(RUNNER, "small", SMALL)
    _, outputs = stack.provider.create(stack.target(RUNNER, "small"), news)
    assert isinstance(outputs["token"], Secret)


def test_a_preview_creates_nothing_and_knows_no_token(stack: Driver) -> None:
    diff, outputs = stack.preview(RUNNER, "small", SMALL)
    assert diff is None
    assert outputs["token"] is UNKNOWN
    assert stack.import_(RUNNER, "other", "1") is None, "no runner may exist after a preview"


def test_a_changed_timeout_is_an_update_in_place_and_keeps_the_token(stack: Driver) -> None:
    stack.up(RUNNER, "small", SMALL)
    token = stack.states["small"].outputs["token"]
    diff = stack.up(RUNNER, "small", {**SMALL, "maximumTimeout": 7200, "paused": True})
    assert diff is not None
    assert (diff.changes, diff.replaces) == (["maximumTimeout", "paused"], [])
    state = stack.states["small"]
    assert (state.id, state.outputs["token"], state.outputs["maximumTimeout"]) == ("1", token, 7200)


@pytest.mark.parametrize("change", [{"groupId": 4321}, {"runnerType": "project_type", "projectId": 5678}])
def test_a_runner_that_moves_is_replaced(stack: Driver, change: dict[str, Any]) -> None:
    stack.up(RUNNER, "small", SMALL)
    state = stack.states["small"]
    news = stack.check(RUNNER, "small", {**SMALL, **change})
    diff = stack.provider.diff(stack.target(RUNNER, "small"), state.outputs, state.inputs, news, [])
    assert set(diff.replaces) == set(change)


def test_the_order_of_tags_is_no_change(stack: Driver) -> None:
    stack.up(RUNNER, "small", SMALL)
    diff = stack.up(RUNNER, "small", {**SMALL, "tagLists": ["cheap", "small"]})
    assert diff is not None
    assert diff.changes == []


def test_a_refresh_shows_what_somebody_changed_in_gitlab(stack: Driver, url: str) -> None:
    stack.up(RUNNER, "small", {**SMALL, "accessLevel": "ref_protected"})
    provider(url)._calls.call("PUT", "runners/1", {"access_level": "not_protected"})
    stack.refresh(RUNNER, "small")
    assert stack.states["small"].outputs["token"].startswith("glrt-"), "a refresh must not lose the token"
    diff = stack.up(RUNNER, "small", {**SMALL, "accessLevel": "ref_protected"})
    assert diff is not None
    assert diff.changes == ["accessLevel"]


def test_a_runner_deleted_in_gitlab_is_gone_after_a_refresh(stack: Driver, url: str) -> None:
    stack.up(RUNNER, "small", SMALL)
    provider(url)._calls.call("DELETE", "runners/1")
    assert stack.refresh(RUNNER, "small") is None


def test_an_import_has_all_properties_except_the_token(stack: Driver) -> None:
    stack.up(RUNNER, "small", SMALL)
    imported = stack.import_(RUNNER, "imported", "1")
    assert imported is not None
    assert "token" not in imported.outputs
    assert imported.inputs["groupId"] == 1234
    assert sorted(imported.inputs["tagLists"]) == ["cheap", "small"]


def test_deleting_twice_is_no_error(stack: Driver) -> None:
    stack.up(RUNNER, "small", SMALL)
    stack.provider.delete(stack.target(RUNNER, "small"), {}, {})
    stack.destroy(RUNNER, "small")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"maximumTimeout": 599}, "maximumTimeout"),
        ({"accessLevel": "protected"}, "accessLevel"),
        ({"runnerType": "project_type"}, "projectId"),
        ({"tags": ["x"]}, "tags"),
    ],
)
def test_bad_input_is_refused_before_gitlab_is_asked(change: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInputsError) as caught:
        Driver(GitLab()).check(RUNNER, "small", {**SMALL, **change})
    assert path in [failure.path for failure in caught.value.failures]


def test_a_refusal_names_gitlab_s_reason_and_never_the_token(url: str) -> None:
    stack = Driver(provider(url, "glpat-sandbox-developer"))
    with pytest.raises(ProviderError, match=r"Insufficient permissions.*Owner role") as caught:
        stack.up(RUNNER, "small", SMALL)
    assert "glpat-" not in str(caught.value)


def test_a_wrong_token_fails_at_once(url: str) -> None:
    with pytest.raises(ProviderError, match="401 Unauthorized; is GITLAB_TOKEN set"):
        provider(url, "glpat-nobody")


def test_a_missing_token_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITLAB_TOKEN", raising=False)
    with pytest.raises(ProviderError, match="set GITLAB_TOKEN"):
        GitLab().configure({})


def test_an_unreachable_gitlab_is_named(url: str) -> None:
    with pytest.raises(ProviderError, match="cannot be reached"):
        provider("http://127.0.0.1:9/api/v4/")
    del url


def test_the_address_must_end_with_a_slash() -> None:
    with pytest.raises(InvalidInputsError, match="must end with a slash"):
        GitLab().check_config({"baseUrl": "https://gitlab.example.com/api/v4"})


def test_other_types_are_refused_by_name(stack: Driver) -> None:
    with pytest.raises(ProviderError, match="gitlab:index/project:Project is not modelled"):
        stack.check("gitlab:index/project:Project", "x", {})
