"""A runner that a killed run left in GitLab is found by what was asked for, and deleted: its token is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gitlab
import pytest

from runner_platform.driver import finders, lost_runners, repair
from runner_platform.driver.lost_runners import RUNNER
from runner_platform.errors import FailedError
from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.providers import schema
from tests.support.gitlab_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASKED: dict[str, Any] = {
    "runnerType": "group_type",
    "groupId": 1234,
    "description": "rp-small of runner-platform, generation 1",
    "tagLists": ["rp-small"],
    "untagged": False,
    "paused": False,
}
OF_A_PROJECT = {key: value for key, value in ASKED.items() if key != "groupId"} | {
    "runnerType": "project_type",
    "projectId": 5678,
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[gitlab.Gitlab]:
    with serving(tmp_path) as url:
        monkeypatch.setenv("GITLAB_BASE_URL", url)
        monkeypatch.setenv("GITLAB_TOKEN", GITLAB_TOKEN)
        yield gitlab.Gitlab(url.removesuffix("/api/v4/"), private_token=GITLAB_TOKEN)


def made(api: gitlab.Gitlab, asked: dict[str, Any], **changed: Any) -> str:
    """Create a runner as a provider that is killed before it can answer."""
    words = {"runnerType": "runner_type", "groupId": "group_id", "projectId": "project_id", "untagged": "run_untagged"}
    body = {words.get(key, key): value for key, value in (asked | changed).items() if key != "tagLists"}
    body["tag_list"] = ",".join((asked | changed)["tagLists"])
    answer = api.http_post("/user/runners", post_data=body)
    assert isinstance(answer, dict)
    return str(answer["id"])


def lost(asked: dict[str, Any], *known: str) -> list[str | None]:
    return finders.assign([finders.Wanted(token=RUNNER, inputs=asked, profile=None, region=None, known=list(known))])


@pytest.mark.parametrize("asked", [ASKED, OF_A_PROJECT], ids=["group", "project"])
def test_a_lost_runner_is_found_by_description_tag_and_owner(api: gitlab.Gitlab, asked: dict[str, Any]) -> None:
    assert lost(asked) == [None]
    identifier = made(api, asked)
    assert lost(asked) == [identifier]
    assert lost(asked, identifier) == [None], "one that is in the state is not lost"


@pytest.mark.parametrize(
    "changed",
    [
        {"description": "rp-small of runner-platform, generation 2"},
        {"tagLists": ["rp-big"]},
        {"tagLists": ["rp-small", "x"]},
    ],
)
def test_a_runner_that_differs_is_somebody_elses(api: gitlab.Gitlab, changed: dict[str, Any]) -> None:
    made(api, ASKED, **changed)
    assert lost(ASKED) == [None]


def test_the_same_runner_of_another_owner_is_not_taken(api: gitlab.Gitlab) -> None:
    made(api, ASKED)
    assert lost(OF_A_PROJECT) == [None], "a project's list shows its group's runners, too"


def test_a_runner_that_a_manager_uses_is_not_the_lost_one(api: gitlab.Gitlab) -> None:
    made(api, ASKED)
    answer = api.http_post(f"/runners/{lost(ASKED)[0]}/reset_authentication_token")
    assert isinstance(answer, dict)
    api.http_post("/runners/verify", post_data={"token": answer["token"], "system_id": "r_1"})
    assert lost(ASKED) == [None], "deleting it would take a working class away"


def test_two_that_fit_are_an_error_because_one_of_them_may_be_somebodys(api: gitlab.Gitlab) -> None:
    identifiers = [made(api, ASKED), made(api, ASKED)]
    with pytest.raises(FailedError, match=", ".join(identifiers)):
        lost(ASKED)


def test_a_refusal_of_gitlab_is_an_error_and_not_an_absence(
    api: gitlab.Gitlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(api, ASKED)
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-wrong")
    with pytest.raises(FailedError, match="GITLAB_TOKEN"):
        lost(ASKED)


def test_a_lost_runner_is_deleted_and_one_that_is_gone_is_no_error(api: gitlab.Gitlab) -> None:
    identifier = made(api, ASKED)
    lost_runners.delete(None, identifier)
    assert lost(ASKED) == [None]
    lost_runners.delete(None, identifier)


def test_one_that_cannot_be_deleted_stops_the_run_before_it_is_doubled(
    api: gitlab.Gitlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = made(api, ASKED)
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-sandbox-developer")
    with pytest.raises(FailedError, match=f"runner {identifier}.*delete it in GitLab"):
        lost_runners.delete(None, identifier)


def test_gitlab_is_asked_where_the_provider_made_it(api: gitlab.Gitlab, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = made(api, ASKED)
    monkeypatch.setenv("GITLAB_BASE_URL", "http://127.0.0.1:9/api/v4/")
    provider = {"urn": "urn:gitlab", "type": "pulumi:providers:gitlab", "inputs": {"baseUrl": f"{api.url}/api/v4/"}}
    pending = {"urn": "urn:runner", "type": RUNNER, "inputs": ASKED, "provider": "urn:gitlab::1"}
    assert finders.assign([repair.question(pending, [provider])]) == [identifier]


def test_what_a_runner_is_known_by_exists_in_the_sdk() -> None:
    assert set(ASKED) | set(OF_A_PROJECT) <= set(schema.package("gitlab").resource(RUNNER).inputs)
