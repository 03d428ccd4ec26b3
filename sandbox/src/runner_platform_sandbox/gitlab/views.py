"""Pipelines, jobs and environments as GitLab's REST API shows them.

https://docs.gitlab.com/api/pipelines/, /jobs/, /environments/ and /resource_groups/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.gitlab.jobs import order
from runner_platform_sandbox.gitlab.jobs.records import ENDED
from runner_platform_sandbox.gitlab.jobs.variables import slug, timestamp
from runner_platform_sandbox.gitlab.runners import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner_platform_sandbox.gitlab.jobs.records import Job, Pipeline
    from runner_platform_sandbox.gitlab.repositories import Commit

View = dict[str, Any]


def pipeline_summary(pipeline: Pipeline, project: Mapping[str, Any], base: str) -> View:
    """Return a pipeline as lists show it."""
    ends = [job.finished for job in pipeline.jobs if job.finished is not None]
    return {
        "id": pipeline.id,
        "iid": pipeline.iid,
        "project_id": pipeline.project,
        "sha": pipeline.sha,
        "ref": pipeline.ref,
        "status": order.status(pipeline),
        "source": pipeline.source,
        "name": pipeline.name,
        "created_at": timestamp(pipeline.created),
        "updated_at": timestamp(max(ends, default=pipeline.created)),
        "web_url": f"{base}/{project['path']}/-/pipelines/{pipeline.id}",
    }


def pipeline_details(pipeline: Pipeline, project: Mapping[str, Any], base: str) -> View:
    """Return a pipeline with all fields."""
    starts = [job.started for job in pipeline.jobs if job.started is not None]
    ends = [job.finished for job in pipeline.jobs if job.finished is not None]
    over = order.status(pipeline) in ENDED
    finished = max(ends, default=pipeline.created) if over else None
    return {
        **pipeline_summary(pipeline, project, base),
        "before_sha": "0" * 40,
        "tag": pipeline.tag,
        "yaml_errors": None,
        "user": user(pipeline.user),
        "started_at": _time(min(starts, default=None)),
        "finished_at": _time(finished),
        "committed_at": None,
        "duration": round(finished - min(starts)) if finished is not None and starts else None,
        "queued_duration": round(min(starts) - pipeline.created) if starts else None,
        "coverage": None,
        "archived": False,
        "detailed_status": {"text": order.status(pipeline), "group": order.status(pipeline)},
    }


def job(
    pipeline: Pipeline, record: Job, project: Mapping[str, Any], commit: Commit, runner: View | None, base: str
) -> View:
    """Return a job with all fields.

    Args:
        pipeline: Its pipeline.
        record: The job.
        project: Its project.
        commit: Its commit.
        runner: The runner that has or had it, if there is one.
        base: URL of the server.
    """
    begin = record.started
    return {
        "id": record.id,
        "status": record.status,
        "stage": record.stage,
        "name": record.name,
        "ref": pipeline.ref,
        "tag": pipeline.tag,
        "coverage": None,
        "allow_failure": record.allowed_to_fail,
        "created_at": timestamp(record.created),
        "started_at": _time(begin),
        "finished_at": _time(record.finished),
        "erased_at": None,
        "duration": round(record.finished - begin, 3) if record.finished and begin else None,
        "queued_duration": round(begin - record.queued, 3) if begin and record.queued else None,
        "user": user(record.user),
        "commit": _commit(commit),
        "pipeline": pipeline_summary(pipeline, project, base),
        "web_url": f"{base}/{project['path']}/-/jobs/{record.id}",
        "project": {"ci_job_token_scope_enabled": True},
        "artifacts": [artifact.model_dump(exclude={"expire_in"}) for artifact in record.artifacts],
        "artifacts_file": record.archive_file,
        "artifacts_expire_at": None,
        "runner": None if runner is None else summary(runner),
        "runner_manager": {"system_id": record.manager} if record.manager else None,
        "archived": False,
        "source": pipeline.source,
        "tag_list": list(record.definition.tags),
        **({"failure_reason": record.failure_reason} if record.failure_reason else {}),
        **({"exit_code": record.exit_code} if record.exit_code is not None else {}),
    }


def user(name: str) -> View:
    """Return a user."""
    return {"id": 1, "username": name, "name": name, "state": "active", "web_url": ""}


def environments(pipelines: Iterable[Pipeline]) -> list[View]:
    """Return the environments that jobs of a project started, in the order of their first deployment."""
    states: dict[str, str] = {}
    tiers: dict[str, str] = {}
    for pipeline in pipelines:
        for record in pipeline.jobs:
            environment = record.definition.environment
            if environment is None or record.status != "success" or environment.action not in {"start", "stop"}:
                continue
            states[environment.name] = "stopped" if environment.action == "stop" else "available"
            tiers.setdefault(environment.name, environment.deployment_tier)
    return [
        {"id": number, "name": name, "slug": slug(name), "external_url": None, "state": state, "tier": tiers[name]}
        for number, (name, state) in enumerate(states.items(), 1)
    ]


def resource_groups(pipelines: Iterable[Pipeline]) -> list[View]:
    """Return the resource groups that jobs of a project name."""
    names = [record.definition.resource_group for pipeline in pipelines for record in pipeline.jobs]
    unique = dict.fromkeys(name for name in names if name is not None)
    return [{"id": number, "key": name, "process_mode": "unordered"} for number, name in enumerate(unique, 1)]


def _commit(commit: Commit) -> View:
    name, _, address = commit.author.removesuffix(">").partition(" <")
    return {
        "id": commit.sha,
        "short_id": commit.sha[:8],
        "title": commit.title,
        "message": commit.message,
        "author_name": name,
        "author_email": address,
        "created_at": commit.created_at,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(seconds)
