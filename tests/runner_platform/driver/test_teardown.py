"""Taking a stack down: how long its running jobs may take, whatever runs them."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from runner_platform.driver import teardown
from tests.support.machine_stack import RUNNERS, small_stack

SETTINGS = small_stack(
    {
        "small": {**RUNNERS["small"], "longest_job": "4h", "tags": ["docker", "small"]},
        "medium": {**RUNNERS["medium"], "longest_job": "1h", "tags": ["docker", "medium"]},
    }
)


@pytest.mark.parametrize(
    ("tags", "hours"),
    [(["small", "docker"], 4), (["medium", "docker"], 1), (["gone"], 4), (None, 4)],
    ids=["in another order", "with a tag of another class", "of a class that left the file", "none"],
)
def test_a_runner_has_the_longest_job_of_the_class_with_all_of_its_tags(tags: list[str] | None, hours: int) -> None:
    run: Any = SimpleNamespace(project=SimpleNamespace(runner_settings=SETTINGS))
    entry: Any = {"id": "7", "inputs": {"tagLists": tags, "description": "r"}}
    (runner,) = teardown._runners(run, [entry])
    assert runner.longest_job == timedelta(hours=hours)
