"""A runner that a killed run left in GitLab is found by what was asked for, deleted and made again: never doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandbox import finders, lost_runners, recovery
from sandbox.engine_run import Engine
from sandbox.environment import GITLAB_TOKEN
from sandbox.errors import SandboxError
from sandbox.paths import Paths
from sandbox.providers import schema
from sandbox.providers.base import ProviderError
from sandbox.providers.gitlab import RUNNER, Api
from tests.unit.fake_gitlab import serving

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
PENDING = {
    "urn": "urn:pulumi:dev::runner-platform::gitlab:index/userRunner:UserRunner::small-object-1-runner",
    "type": RUNNER,
    "custom": True,
    "inputs": ASKED,
    "provider": "urn:gitlab::1",
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with serving(tmp_path) as url:
        monkeypatch.setenv("GITLAB_BASE_URL", url)
        monkeypatch.setenv("GITLAB_TOKEN", GITLAB_TOKEN)
        yield Api(url=url, token=GITLAB_TOKEN)


@pytest.fixture
def engine(api: Api, tmp_path: Path) -> Engine:
    surroundings = {"GITLAB_BASE_URL": api.url, "GITLAB_TOKEN": api.token}
    return Engine(paths=Paths(cache=tmp_path, root=tmp_path), program="pulumi", environment=surroundings)


def made(api: Api, asked: dict[str, Any], **changed: Any) -> str:
    """Create a runner as a provider that is killed before it can answer."""
    words = {"runnerType": "runner_type", "groupId": "group_id", "projectId": "project_id", "untagged": "run_untagged"}
    body = {words.get(key, key): value for key, value in (asked | changed).items() if key != "tagLists"}
    body["tag_list"] = ",".join((asked | changed)["tagLists"])
    return str(api.call("POST", "user/runners", body)["id"])


def lost(asked: dict[str, Any], *known: str) -> list[str | None]:
    return finders.assign([finders.Wanted(token=RUNNER, inputs=asked, profile=None, region=None, known=list(known))])


@pytest.mark.parametrize("asked", [ASKED, OF_A_PROJECT], ids=["group", "project"])
def test_a_lost_runner_is_found_by_description_tag_and_owner(api: Api, asked: dict[str, Any]) -> None:
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
def test_a_runner_that_differs_is_somebody_elses(api: Api, changed: dict[str, Any]) -> None:
    made(api, ASKED, **changed)
    assert lost(ASKED) == [None]


def test_the_same_runner_of_another_owner_is_not_taken(api: Api) -> None:
    made(api, ASKED)
    assert lost(OF_A_PROJECT) == [None], "a project's list shows its group's runners, too"


def test_a_runner_that_a_manager_uses_is_not_the_lost_one(api: Api) -> None:
    made(api, ASKED)
    token = api.call("POST", f"runners/{lost(ASKED)[0]}/reset_authentication_token")["token"]
    api.call("POST", "runners/verify", {"token": token, "system_id": "r_1"})
    assert lost(ASKED) == [None], "deleting it would take a working class away"


def test_two_that_fit_are_an_error_because_one_of_them_may_be_somebodys(api: Api) -> None:
    identifiers = [made(api, ASKED), made(api, ASKED)]
    with pytest.raises(LookupError, match=", ".join(identifiers)):
        lost(ASKED)


def test_a_long_list_is_read_to_its_end() -> None:
    runners = [{"id": number, "runner_type": "group_type"} for number in range(250)]

    class Paging(Api):
        def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
            del method, body
            page = int(path.rpartition("page=")[2])
            return runners[100 * (page - 1) : 100 * page]

    found = list(lost_runners._listed(Paging(url="", token=""), "groups/1/runners", "group_type"))
    assert found == runners, "GitLab shows at most 100 at a time"


def test_a_refusal_of_gitlab_is_an_error_and_not_an_absence(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made(api, ASKED)
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-wrong")
    with pytest.raises(ProviderError, match="GITLAB_TOKEN"):
        lost(ASKED)


def test_a_lost_runner_is_deleted_and_made_again_because_its_token_is_lost(api: Api, engine: Engine) -> None:
    identifier = made(api, ASKED)
    said: list[str] = []
    assert recovery.usable(engine, PENDING, identifier, [], said.append) is None
    assert api.call("GET", f"runners/{identifier}") is None
    assert f"runner {identifier}" in said[0]
    assert "token once" in said[0]
    assert recovery.settle([], [PENDING], [None]) == [], "the engine makes it again"


def test_one_that_cannot_be_deleted_stops_the_run_before_it_is_doubled(api: Api, tmp_path: Path) -> None:
    identifier = made(api, ASKED)
    surroundings = {"GITLAB_BASE_URL": api.url, "GITLAB_TOKEN": "glpat-sandbox-developer"}
    engine = Engine(paths=Paths(cache=tmp_path, root=tmp_path), program="pulumi", environment=surroundings)
    with pytest.raises(SandboxError, match=f"runner {identifier}.*cannot be deleted"):
        recovery.usable(engine, PENDING, identifier, [], lambda _: None)


def test_gitlab_is_asked_where_the_provider_made_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = made(api, ASKED)
    monkeypatch.setenv("GITLAB_BASE_URL", "http://127.0.0.1:9/api/v4/")
    provider = {"urn": "urn:gitlab", "type": "pulumi:providers:gitlab", "id": "1", "inputs": {"baseUrl": api.url}}
    question = recovery._question(PENDING, [provider])
    assert finders.assign([finders.Wanted(**question)]) == [identifier]


def test_what_a_runner_is_known_by_exists_in_the_sdk() -> None:
    assert set(ASKED) | set(OF_A_PROJECT) <= set(schema.package("gitlab").resource(RUNNER).inputs)
