"""Pipelines and jobs as the REST API shows them, held against the answers that GitLab's documentation gives as examples."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.gitlab import views
from runner_platform_sandbox.gitlab.ci.pipeline import Environment
from runner_platform_sandbox.gitlab.jobs.records import Artifact
from runner_platform_sandbox.gitlab.repositories import Commit
from sandbox.tests.support.pipelines import PROJECT, job, pipeline

BASE = "http://127.0.0.1:8080"
COMMIT = Commit(
    sha="a" * 40,
    title="Test the CI integration.",
    message="Test the CI integration.\n",
    author="Administrator <admin@example.com>",
    created_at="2015-12-24T16:51:14.000+01:00",
)
# Fields and JSON types of the examples on https://docs.gitlab.com/api/jobs/ and https://docs.gitlab.com/api/pipelines/, without
# what says nothing about a pipeline: avatars, links and addresses of people, icons.
JOB = {
    "commit": {
        "author_email": str,
        "author_name": str,
        "created_at": str,
        "id": str,
        "message": str,
        "short_id": str,
        "title": str,
    },
    "coverage": None,
    "allow_failure": bool,
    "created_at": str,
    "started_at": str,
    "finished_at": str,
    "duration": float,
    "queued_duration": float,
    "artifacts_file": {"filename": str, "size": int},
    "artifacts": [{"file_type": str, "size": int, "filename": str, "file_format": str}],
    "artifacts_expire_at": None,
    "tag_list": [str],
    "id": int,
    "name": str,
    "pipeline": {"id": int, "project_id": int, "ref": str, "sha": str, "status": str},
    "ref": str,
    "runner": None,
    "stage": str,
    "status": str,
    "failure_reason": str,
    "tag": bool,
    "web_url": str,
    "project": {"ci_job_token_scope_enabled": bool},
    "user": {"id": int, "name": str, "username": str, "state": str, "web_url": str},
}
PIPELINE = {
    "id": int,
    "iid": int,
    "project_id": int,
    "name": str,
    "sha": str,
    "ref": str,
    "status": str,
    "source": str,
    "created_at": str,
    "updated_at": str,
    "web_url": str,
    "before_sha": str,
    "tag": bool,
    "yaml_errors": None,
    "user": {"id": int, "username": str, "name": str, "state": str, "web_url": str},
    "started_at": str,
    "finished_at": str,
    "committed_at": None,
    "duration": int,
    "queued_duration": int,
    "coverage": None,
    "detailed_status": {"text": str, "group": str},
}


def differences(value: Any, expected: Any, place: str) -> list[str]:
    if expected is None:
        return [] if value is None else [f"{place}: {value!r} is not null"]
    if isinstance(expected, list):
        return [text for item in value for text in differences(item, expected[0], f"{place}[]")]
    if isinstance(expected, dict):
        missing = [f"{place}.{name} is missing" for name in expected if name not in value]
        present = ((name, kind) for name, kind in expected.items() if name in value)
        return [
            *missing,
            *(text for name, kind in present for text in differences(value[name], kind, f"{place}.{name}")),
        ]
    return [] if isinstance(value, expected) else [f"{place}: {value!r} is no {expected.__name__}"]


def test_an_ended_job_has_the_documented_fields() -> None:
    record = job("teaspoon", status="failed", tags=("docker runner",))
    record.queued, record.started, record.finished = 10.0, 11.5, 20.25
    record.failure_reason = "script_failure"
    record.artifacts = [Artifact(file_type="archive", file_format="zip", filename="artifacts.zip", size=1000)]
    view = views.job(pipeline(record), record, PROJECT, COMMIT, None, BASE)
    assert differences(view, JOB, "job") == []
    assert (view["duration"], view["queued_duration"]) == (8.75, 1.5)
    assert view["web_url"] == f"{BASE}/senncloud/deployments/-/jobs/1"


def test_an_ended_pipeline_has_the_documented_fields() -> None:
    record = job("a", status="success")
    record.started, record.finished = 20.0, 54.4
    ended = pipeline(record, name="Build pipeline", created=14.0)
    view = views.pipeline_details(ended, PROJECT, BASE)
    assert differences(view, PIPELINE, "pipeline") == []
    assert (view["status"], view["duration"], view["queued_duration"]) == ("success", 34, 6)


def test_what_has_not_happened_is_null() -> None:
    record = job("a", status="pending")
    view = views.job(pipeline(record), record, PROJECT, COMMIT, None, BASE)
    assert [view[name] for name in ("started_at", "finished_at", "duration", "queued_duration")] == [None] * 4
    assert "failure_reason" not in view
    running = views.pipeline_details(pipeline(record), PROJECT, BASE)
    assert [running[name] for name in ("started_at", "finished_at", "duration")] == [None] * 3


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([], []),
        (["start"], ["available"]),
        (["start", "stop"], ["stopped"]),
        (["start", "stop", "start"], ["available"]),
    ],
)
def test_an_environment_follows_from_the_jobs_that_started_and_stopped_it(
    actions: list[str], expected: list[str]
) -> None:
    jobs = [
        job(
            f"j{number}",
            status="success",
            environment=Environment(name="prod", action=action, deployment_tier="production"),
        )
        for number, action in enumerate(actions)
    ]
    jobs.append(job("failed", status="failed", environment=Environment(name="prod", deployment_tier="production")))
    assert [environment["state"] for environment in views.environments([pipeline(*jobs)])] == expected
