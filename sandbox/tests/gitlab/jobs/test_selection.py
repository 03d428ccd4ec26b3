"""One job with the jobs that it waits for."""

from __future__ import annotations

import pytest

from runner_platform_sandbox.gitlab.ci import pipeline as ci
from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.jobs.selection import only
from sandbox.tests.support.pipelines import STAGES, job

JOBS = (
    job("build"),
    job("other"),
    job("ask", "test", when="manual", allow_failure=True),
    job("check", "test", needs=["build"]),
    job("test 1/2", "test"),
    job("deploy", "deploy"),
    job("fast", "deploy", needs=["check"]),
    job("alone", "deploy", needs=[]),
)
WHOLE = ci.Pipeline(stages=tuple(STAGES), jobs=tuple(record.definition for record in JOBS))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("build", ["build"]),
        ("check", ["build", "check"]),
        ("fast", ["build", "check", "fast"]),
        ("alone", ["alone"]),
        ("test 1/2", ["build", "other", "test 1/2"]),
        ("deploy", ["build", "other", "check", "test 1/2", "deploy"]),
        ("ask", ["build", "other", "ask"]),
    ],
)
def test_a_job_brings_the_jobs_that_it_waits_for(name: str, expected: list[str]) -> None:
    kept = only(WHOLE, name)
    assert [entry.name for entry in kept.jobs] == expected
    assert set(kept.stages) == {entry.stage for entry in kept.jobs}


def test_an_unknown_job_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(PipelineError, match="no job `deply`; it has build, other, ask"):
        only(WHOLE, "deply")
