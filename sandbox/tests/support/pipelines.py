"""Pipelines with jobs of one line each, for tests of their order."""

from __future__ import annotations

from typing import Any

from runner_platform_sandbox.gitlab.ci import pipeline as ci
from runner_platform_sandbox.gitlab.jobs.records import Job, Pipeline

STAGES = ["build", "test", "deploy"]
PROJECT: dict[str, Any] = {"id": 5678, "path": "senncloud/deployments", "group": "1234", "default_branch": "main"}


def job(
    name: str, stage: str = "build", *, needs: list[str] | None = None, status: str = "created", **fields: Any
) -> Job:
    """Return a job; its id follows from `pipeline`."""
    wanted = None if needs is None else tuple(ci.Need(job=need) for need in needs)
    definition = ci.Job(name=name, group=name, stage=stage, script=("true",), needs=wanted, **fields)
    return Job(id=0, pipeline=1, definition=definition, status=status, user="platform")


def pipeline(*jobs: Job, **fields: Any) -> Pipeline:
    """Return a pipeline of the three stages."""
    record = Pipeline(id=1, iid=1, project=5678, sha="a" * 40, stages=STAGES, **{"ref": "main", **fields})
    record.jobs = list(jobs)
    for number, entry in enumerate(record.jobs, 1):
        entry.id = number
    return record


def statuses(record: Pipeline) -> dict[str, str]:
    """Return the statuses of the jobs by name."""
    return {entry.name: entry.status for entry in record.latest}
