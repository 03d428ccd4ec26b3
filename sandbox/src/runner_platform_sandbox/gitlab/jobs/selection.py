"""One job of a pipeline, with the jobs that it waits for: what `runner-platform sandbox run --job` makes of a file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runner_platform_sandbox.gitlab.ci.errors import PipelineError

if TYPE_CHECKING:
    from runner_platform_sandbox.gitlab.ci.pipeline import Job, Pipeline


def only(definition: Pipeline, name: str) -> Pipeline:
    """Return a pipeline without the jobs that a job does not wait for.

    Args:
        definition: The whole pipeline.
        name: Name of a job, or the name in the file of all its copies.

    Raises:
        PipelineError: There is no such job.
    """
    chosen = [job for job in definition.jobs if name in {job.name, job.group}]
    if not chosen:
        names = ", ".join(job.name for job in definition.jobs)
        raise PipelineError(f"the pipeline has no job `{name}`; it has {names}")
    names_kept = set[str]()
    waiting = [*chosen]
    while waiting:
        job = waiting.pop()
        if job.name not in names_kept:
            names_kept.add(job.name)
            waiting += _before(definition, job)
    kept = tuple(job for job in definition.jobs if job.name in names_kept)
    stages = tuple(stage for stage in definition.stages if any(job.stage == stage for job in kept))
    return replace(definition, jobs=kept, stages=stages)


def _before(definition: Pipeline, job: Job) -> list[Job]:
    """Return the jobs that a job waits for. Optional manual jobs are not among them: nothing waits for those."""
    if job.needs is not None:
        names = {need.job for need in job.needs}
        return [candidate for candidate in definition.jobs if candidate.name in names]
    earlier = definition.stages[: definition.stages.index(job.stage)]
    optional = (candidate for candidate in definition.jobs if candidate.when == "manual" and candidate.allow_failure)
    skipped = {candidate.name for candidate in optional}
    return [candidate for candidate in definition.jobs if candidate.stage in earlier and candidate.name not in skipped]
