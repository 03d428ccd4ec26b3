"""The comparison of live runners: what somebody changed in GitLab is found and said."""

from __future__ import annotations

from typing import Any

import pytest

from components.documents.runner_object import runner_attributes
from config import load
from runner_platform.live_runners import differences

OWNERS = {"project_type": "projects", "group_type": "groups"}


def live_of(runner_class: str, **changed: Any) -> dict[str, Any]:
    wanted = runner_attributes(load.of_stack("prod").runner_class(runner_class))
    return {
        "runner_type": wanted.runner_type,
        "access_level": wanted.access_level,
        "locked": wanted.locked,
        "maximum_timeout": wanted.maximum_timeout,
        "paused": False,
        "run_untagged": False,
        "tag_list": [*wanted.tags],
        OWNERS[wanted.runner_type]: [{"id": wanted.owner}],
        **changed,
    }


def said(runner_class: str, **changed: Any) -> str:
    settings = load.of_stack("prod")
    wanted = runner_attributes(settings.runner_class(runner_class))
    return "; ".join(differences(wanted, live_of(runner_class, **changed), level=settings.runners[runner_class].level))


@pytest.mark.parametrize("runner_class", ["small", "medium", "big", "deploy", "review"])
def test_a_runner_as_the_settings_say_differs_in_nothing(runner_class: str) -> None:
    assert not said(runner_class)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"access_level": "not_protected"}, "access_level is 'not_protected' and should be 'ref_protected'"),
        ({"locked": False}, "locked is False and should be True"),
        ({"run_untagged": True}, "it runs untagged jobs"),
        ({"tag_list": ["deploy", "small"]}, "its tags are deploy, small and should be deploy"),
        ({"tag_list": []}, "its tags are none and should be deploy"),
        ({"maximum_timeout": None}, "maximum_timeout is None and should be 14400"),
        ({"paused": True}, "paused is True and should be False"),
        ({"projects": [{"id": 5678}, {"id": 9}]}, "it serves 9 too, and should serve 5678 alone"),
        ({"projects": [{"id": 9}]}, "it does not serve 5678"),
        ({"runner_type": "group_type"}, "runner_type is 'group_type' and should be 'project_type'"),
    ],
)
def test_what_a_maintainer_changes_on_a_protected_runner_is_said(changed: dict[str, Any], expected: str) -> None:
    assert expected in said("deploy", **changed), "the protected level's first hop is this runner's settings in GitLab"


def test_an_open_runner_of_another_group_is_said() -> None:
    assert "it does not serve 1234" in said("small", groups=[{"id": 77}])
