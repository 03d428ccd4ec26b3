"""External runners, compared over HTTP with the GitLab stand-in: shared, unknown, refused and deleted ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gitlab
import pytest

from components.documents.runner_object import runner_attributes
from config import load
from runner_platform import stacks
from runner_platform.errors import FailedError
from runner_platform.live_runners import compare, external_ids
from runner_platform_sandbox.environment import GITLAB_TOKEN
from tests.support.gitlab_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.settings import Settings

DEVELOPER = "glpat-sandbox-developer"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as served:
        yield served.removesuffix("/api/v4/")


def api(url: str, token: str = GITLAB_TOKEN) -> gitlab.Gitlab:
    return gitlab.Gitlab(url, private_token=token)


def external(*classes: str) -> Settings:
    settings = load.of_stack("prod")
    runners = {name: settings.runners[name] for name in classes}
    return replace(settings, gitlab=settings.gitlab.model_copy(update={"runners": "external"}), runners=runners)


def create_by_hand(url: str, settings: Settings, runner_class: str, **different: Any) -> dict[str, Any]:
    """Create a runner as a person does in GitLab, with the attributes from the settings except the `different` ones."""
    expected = runner_attributes(settings.runner_class(runner_class))
    owner = {"project_id" if expected.runner_type == "project_type" else "group_id": expected.owner}
    attributes = {
        "runner_type": expected.runner_type,
        "access_level": expected.access_level,
        "locked": expected.locked,
        "maximum_timeout": expected.maximum_timeout,
        "tag_list": ",".join(expected.tags),
        "run_untagged": False,
        **owner,
        **different,
    }
    answer: Any = api(url).http_post("/user/runners", post_data=attributes)
    return dict(answer)


def test_external_runners_are_found_by_their_tokens_and_compared(url: str) -> None:
    settings = external("small", "deploy")
    runners = {name: create_by_hand(url, settings, name) for name in settings.runners}
    ids = external_ids(settings, {name: runner["token"] for name, runner in runners.items()}, api(url))
    assert ids == {name: runner["id"] for name, runner in runners.items()}
    assert [comparison.differences for comparison in compare(settings, ids, api(url))] == [(), ()]


def test_an_external_runner_that_differs_from_the_settings_is_reported(url: str) -> None:
    settings = external("deploy")
    runner = create_by_hand(url, settings, "deploy", access_level="not_protected", locked=False, run_untagged=True)
    ids = external_ids(settings, {"deploy": runner["token"]}, api(url))
    (comparison,) = compare(settings, ids, api(url))
    differences = "; ".join(comparison.differences)
    for words in ("access_level is 'not_protected'", "locked is False", "it runs untagged jobs"):
        assert words in differences, "a runner created by hand must have what its level needs"


def test_a_protected_runner_shared_with_a_second_project_is_reported(url: str) -> None:
    settings = external("deploy")
    runner = create_by_hand(url, settings, "deploy", locked=False)
    api(url).http_post("/projects/5679/runners", post_data={"runner_id": runner["id"]})
    (comparison,) = compare(settings, {"deploy": runner["id"]}, api(url))
    assert "it serves 5679 too, and should serve 5678 alone" in comparison.differences
    assert len(comparison.projects) == 2, "`access` shows both projects as able to use the class"


def test_a_class_without_a_runner_is_one_difference(url: str) -> None:
    (comparison,) = compare(external("small"), {}, api(url))
    assert (comparison.id, len(comparison.differences)) == (None, 1)


def test_a_runner_deleted_in_gitlab_is_reported_with_the_remedy(url: str) -> None:
    (comparison,) = compare(external("small"), {"small": 77}, api(url))
    assert "runner 77 does not exist any more" in comparison.differences[0]


def test_an_unknown_token_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(FailedError, match="GitLab does not know the token of class small") as caught:
        external_ids(external("small"), {"small": "glrt-unknown"}, api(url))
    assert "glrt-unknown" not in str(caught.value)


def test_a_refusal_by_gitlab_is_an_error_and_not_a_difference(url: str) -> None:
    settings = external("deploy")
    runner = create_by_hand(url, settings, "deploy")
    with pytest.raises(FailedError, match=rf"GitLab refuses to show runner {runner['id']}: 403 Forbidden"):
        compare(settings, {"deploy": runner["id"]}, api(url, DEVELOPER))


def test_tokens_of_the_environment_lose_their_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_TOKEN_SMALL", "glrt-x\n")
    assert stacks.external_tokens(external("small")) == {"small": "glrt-x"}, (
        "7.5: the comparison uses the same token as the program"
    )
