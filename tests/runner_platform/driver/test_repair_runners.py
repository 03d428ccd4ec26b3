"""A runner that a killed run left in GitLab is found by its inputs and deleted, since its token is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gitlab
import pytest

from runner_platform.driver import repair
from runner_platform.driver.repair import RUNNER
from runner_platform.errors import FailedError
from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.providers import schema
from tests.support.gitlab_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INPUTS: dict[str, Any] = {
    "runnerType": "group_type",
    "groupId": 1234,
    "description": "rp-small of runner-platform, generation 1",
    "tagLists": ["rp-small"],
    "untagged": False,
    "paused": False,
}
PROJECT_INPUTS = {key: value for key, value in INPUTS.items() if key != "groupId"} | {
    "runnerType": "project_type",
    "projectId": 5678,
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[gitlab.Gitlab]:
    with serving(tmp_path) as url:
        monkeypatch.setenv("GITLAB_BASE_URL", url)
        monkeypatch.setenv("GITLAB_TOKEN", GITLAB_TOKEN)
        yield gitlab.Gitlab(url.removesuffix("/api/v4/"), private_token=GITLAB_TOKEN)


def create(api: gitlab.Gitlab, inputs: dict[str, Any], **changed: Any) -> str:
    """Create a runner as a provider that is killed before it can answer."""
    words = {"runnerType": "runner_type", "groupId": "group_id", "projectId": "project_id", "untagged": "run_untagged"}
    body = {words.get(key, key): value for key, value in (inputs | changed).items() if key != "tagLists"}
    body["tag_list"] = ",".join((inputs | changed)["tagLists"])
    answer = api.http_post("/user/runners", post_data=body)
    assert isinstance(answer, dict)
    return str(answer["id"])


def lost(inputs: dict[str, Any], *known_ids: str) -> list[str | None]:
    search = repair.Search(type=RUNNER, inputs=inputs, profile=None, region=None, known_ids=list(known_ids))
    return repair.find_all([search])


@pytest.mark.parametrize("inputs", [INPUTS, PROJECT_INPUTS], ids=["group", "project"])
def test_a_lost_runner_is_found_by_description_tag_and_owner(api: gitlab.Gitlab, inputs: dict[str, Any]) -> None:
    assert lost(inputs) == [None]
    identifier = create(api, inputs)
    assert lost(inputs) == [identifier]
    assert lost(inputs, identifier) == [None], "one that is in the state is not lost"


@pytest.mark.parametrize(
    "changed",
    [
        {"description": "rp-small of runner-platform, generation 2"},
        {"tagLists": ["rp-big"]},
        {"tagLists": ["rp-small", "x"]},
    ],
)
def test_a_runner_that_differs_is_another_one(api: gitlab.Gitlab, changed: dict[str, Any]) -> None:
    create(api, INPUTS, **changed)
    assert lost(INPUTS) == [None]


def test_the_same_runner_of_another_owner_is_not_taken(api: gitlab.Gitlab) -> None:
    create(api, INPUTS)
    assert lost(PROJECT_INPUTS) == [None], "a project's list shows its group's runners, too"


def test_a_runner_that_a_manager_uses_is_not_the_lost_one(api: gitlab.Gitlab) -> None:
    create(api, INPUTS)
    answer = api.http_post(f"/runners/{lost(INPUTS)[0]}/reset_authentication_token")
    assert isinstance(answer, dict)
    api.http_post("/runners/verify", post_data={"token": answer["token"], "system_id": "r_1"})
    assert lost(INPUTS) == [None], "deleting it would take a working class away"


def test_two_that_fit_are_an_error_since_one_may_be_in_use(api: gitlab.Gitlab) -> None:
    identifiers = [create(api, INPUTS), create(api, INPUTS)]
    with pytest.raises(FailedError, match=", ".join(identifiers)):
        lost(INPUTS)


def test_a_refusal_of_gitlab_is_an_error_and_not_an_absence(
    api: gitlab.Gitlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(api, INPUTS)
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-wrong")
    with pytest.raises(FailedError, match="GITLAB_TOKEN"):
        lost(INPUTS)


def test_a_lost_runner_is_deleted_and_one_that_is_gone_is_no_error(api: gitlab.Gitlab) -> None:
    identifier = create(api, INPUTS)
    repair.delete_runner(None, identifier)
    assert lost(INPUTS) == [None]
    repair.delete_runner(None, identifier)


def test_a_runner_that_cannot_be_deleted_stops_the_run(api: gitlab.Gitlab, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = create(api, INPUTS)
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-sandbox-developer")
    with pytest.raises(FailedError, match=f"runner {identifier}.*delete it in GitLab"):
        repair.delete_runner(None, identifier)


def test_the_search_uses_the_providers_gitlab(api: gitlab.Gitlab, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = create(api, INPUTS)
    monkeypatch.setenv("GITLAB_BASE_URL", "http://127.0.0.1:9/api/v4/")
    provider = {"urn": "urn:gitlab", "type": "pulumi:providers:gitlab", "inputs": {"baseUrl": f"{api.url}/api/v4/"}}
    pending = {"urn": "urn:runner", "type": RUNNER, "inputs": INPUTS, "provider": "urn:gitlab::1"}
    assert repair.find_all([repair.search_for(pending, [provider])]) == [identifier]


@pytest.mark.parametrize(
    "changed", [{"runnerType": "instance_type"}, {"runnerType": None}, {"description": ""}, {"description": None}]
)
def test_without_an_owner_or_a_description_gitlab_is_not_asked(changed: dict[str, Any]) -> None:
    assert repair.find_runners("https://127.0.0.1:1", {**INPUTS, **changed}) == []


def test_the_inputs_of_a_runner_exist_in_the_sdk() -> None:
    assert set(INPUTS) | set(PROJECT_INPUTS) <= set(schema.package("gitlab").resource(RUNNER).inputs)
