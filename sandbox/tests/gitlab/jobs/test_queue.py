"""The queue of runners: which runner may take a job, and the sentence about a job that no runner takes."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.gitlab.jobs import queue
from sandbox.tests.support.pipelines import PROJECT, job, pipeline


def runner(**fields: Any) -> dict[str, Any]:
    defaults = {
        "id": 1,
        "description": "gitlab-runner-small",
        "runner_type": "group_type",
        "group_id": 1234,
        "project_ids": [],
        "tag_list": ["small"],
        "run_untagged": False,
        "access_level": "not_protected",
        "paused": False,
    }
    return {**defaults, **fields}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"group_id": 4321}, False),
        ({"runner_type": "project_type", "group_id": None, "project_ids": [5678]}, True),
        ({"runner_type": "project_type", "group_id": None, "project_ids": [5679]}, False),
        ({"runner_type": "instance_type", "group_id": None}, True),
    ],
)
def test_a_runner_serves_its_group_or_its_projects(fields: dict[str, Any], *, expected: bool) -> None:
    assert queue.serves(runner(**fields), PROJECT) is expected


@pytest.mark.parametrize(
    ("fields", "tags", "protected", "expected"),
    [
        ({}, ("small",), False, ""),
        ({}, ("small", "gpu"), False, "has no tag `gpu`"),
        ({"tag_list": ["small", "other"]}, ("small",), False, ""),
        ({}, (), False, "takes no job without tags"),
        ({"run_untagged": True}, (), False, ""),
        ({"paused": True}, ("small",), False, "is paused"),
        (
            {"access_level": "ref_protected"},
            ("small",),
            False,
            "takes jobs of protected branches and tags only, and `main` is not protected",
        ),
        ({"access_level": "ref_protected"}, ("small",), True, ""),
    ],
)
def test_a_runner_says_why_it_does_not_take_a_job(
    fields: dict[str, Any], tags: tuple[str, ...], expected: str, *, protected: bool
) -> None:
    record = pipeline(job("a", tags=tags), protected=protected)
    assert queue.refusal(runner(**fields), record, record.jobs[0]) == expected


@pytest.mark.parametrize(
    ("runners", "expected"),
    [
        ([], "job `a` is stuck: project senncloud/deployments has no runners"),
        ([runner(group_id=4321)], "job `a` is stuck: project senncloud/deployments has no runners"),
        (
            [runner(), runner(description="gitlab-runner-deploy", tag_list=["deploy"])],
            "job `a` is stuck: no runner has the tag `gpu`; runners that the project may use: gitlab-runner-small [small], gitlab-runner-deploy [deploy]",
        ),
        ([runner(tag_list=["gpu"], paused=True)], "job `a` is stuck: gitlab-runner-small [gpu] is paused"),
        ([runner(tag_list=["gpu"])], ""),
    ],
)
def test_a_stuck_job_is_explained(runners: list[dict[str, Any]], expected: str) -> None:
    record = pipeline(job("a", tags=("gpu",)))
    assert queue.stuck(record.jobs[0], record, PROJECT, runners) == expected
