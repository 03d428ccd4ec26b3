"""The order of jobs: which job becomes pending, manual, scheduled or skipped, and the pipeline's status. Pure functions.

A job without `needs` waits for all jobs of earlier stages, a job with `needs` for those alone. The rules are those of
https://docs.gitlab.com/ci/yaml/#when, #needs, #allow_failure, #retry and #resource_group, and of
https://docs.gitlab.com/ci/jobs/job_control/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.gitlab.jobs.records import ENDED, ON_A_RUNNER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runner_platform_sandbox.gitlab.jobs.records import Job, Pipeline

HOLDS_RESOURCE: Final = ON_A_RUNNER | {"pending"}
"""Statuses of a job that keeps its resource group from other jobs."""
_STARTS_AFTER: Final = {
    "on_success": frozenset({"success"}),
    "manual": frozenset({"success"}),
    "delayed": frozenset({"success"}),
    "on_failure": frozenset({"failed"}),
    "always": frozenset({"success", "failed", "skipped"}),
}
"""Outcomes of the jobs before, by `when`."""
_OPEN: Final = ("running", "pending", "waiting_for_resource", "manual", "canceling", "scheduled")
"""Statuses that a pipeline takes over from its jobs, the strongest first; a pending job beside others counts as running."""


def advance(pipeline: Pipeline, now: float, is_free: Callable[[str], bool]) -> bool:
    """Move the jobs on whose time has come.

    Args:
        pipeline: The pipeline; the statuses of its jobs change.
        now: Seconds since the epoch.
        is_free: Whether no job of the project holds a resource group.

    Returns:
        Whether a job changed.
    """
    changed = False
    while any(_step(pipeline, job, now, is_free) for job in pipeline.latest):
        changed = True
    return changed


def _step(pipeline: Pipeline, job: Job, now: float, is_free: Callable[[str], bool]) -> bool:
    if job.status == "created":
        outcome = _outcome_before(pipeline, job)
        if outcome is None:
            return False
        _begin(job, outcome, now, is_free)
        return True
    if job.status == "scheduled" and job.due is not None and job.due <= now:
        enqueue(job, now, is_free)
        return True
    if job.status == "waiting_for_resource" and is_free(str(job.definition.resource_group)):
        enqueue(job, now, is_free)
        return True
    return False


def _outcome_before(pipeline: Pipeline, job: Job) -> str | None:
    """Return success, failed, canceled or skipped of the jobs that a job waits for, or None while they are not done."""
    needs = job.definition.needs
    if needs is None:
        earlier = pipeline.stages[: pipeline.stages.index(job.stage)]
        before = [earlier_job for earlier_job in pipeline.latest if earlier_job.stage in earlier]
        # An optional manual job holds nobody up, except one that needs it by name.
        before = [
            earlier_job
            for earlier_job in before
            if not (earlier_job.status == "manual" and earlier_job.allowed_to_fail)
        ]
    else:
        names = {need.job for need in needs}
        before = [earlier_job for earlier_job in pipeline.latest if earlier_job.name in names]
        if any(earlier_job.status == "skipped" for earlier_job in before):
            return "skipped"
    if any(earlier_job.status not in ENDED for earlier_job in before):
        return None
    return _outcome(before)


def _outcome(jobs: Iterable[Job]) -> str:
    statuses = {job.status for job in jobs if not (job.status in {"failed", "canceled"} and job.allowed_to_fail)}
    for status in ("failed", "canceled"):
        if status in statuses:
            return status
    return "success"


def _begin(job: Job, outcome: str, now: float, is_free: Callable[[str], bool]) -> None:
    when = job.definition.when
    if outcome not in _STARTS_AFTER[when]:
        job.status = "skipped"
        job.finished = now
    elif when == "manual":
        job.status = "manual"
    elif when == "delayed":
        job.status = "scheduled"
        job.due = now + (job.definition.start_in or 0)
    else:
        enqueue(job, now, is_free)


def enqueue(job: Job, now: float, is_free: Callable[[str], bool]) -> None:
    """Make a job pending, or let it wait for its resource group."""
    group = job.definition.resource_group
    job.due = None
    if group is not None and not is_free(group):
        job.status = "waiting_for_resource"
        return
    job.status = "pending"
    job.queued = now


def cancel(job: Job, now: float, *, force: bool = False) -> None:
    """Cancel a job. A running job goes on with its `after_script` first, unless it is forced."""
    if job.status == "running" and not force:
        job.status = "canceling"
    elif job.status not in ENDED:
        job.status = "canceled"
        job.finished = now


def finish(job: Job, now: float, *, success: bool, reason: str | None, exit_code: int | None) -> None:
    """Record the end of a running or canceling job."""
    job.finished = now
    job.exit_code = exit_code
    if job.status == "canceling":
        job.status = "canceled"
    elif success:
        job.status = "success"
    else:
        job.status = "failed"
        job.failure_reason = reason or "script_failure"


def retries_by_itself(job: Job) -> bool:
    """Whether `retry` of the file starts the failed job again."""
    retry = job.definition.retry
    if job.status != "failed" or job.retries >= retry.max:
        return False
    if retry.exit_codes and job.exit_code in retry.exit_codes:
        return True
    return "always" in retry.when or job.failure_reason in retry.when


def interrupted_by_newer(pipeline: Pipeline) -> bool:
    """Whether a newer pipeline of the same ref cancels this one: no job that is not interruptible has started.

    https://docs.gitlab.com/ci/yaml/#workflowauto_cancelon_new_commit, `conservative`.
    """
    started = [job for job in pipeline.latest if job.started is not None]
    return status(pipeline) not in ENDED and all(job.definition.interruptible for job in started)


def status(pipeline: Pipeline) -> str:
    """Return the status of a pipeline: https://docs.gitlab.com/ci/pipelines/."""
    jobs = [job for job in pipeline.latest if not (job.status == "manual" and job.allowed_to_fail)]
    statuses = {job.status for job in jobs}
    if statuses <= ENDED:
        return _ended_status(jobs)
    if statuses == {"created"}:
        return "created"
    if statuses <= {"pending", "created", "skipped"}:
        return "pending"
    if statuses & {"running", "pending"}:
        return "running"
    return next((name for name in _OPEN if name in statuses), "running")


def _ended_status(jobs: Sequence[Job]) -> str:
    if not jobs or all(job.status == "skipped" for job in jobs):
        return "skipped"
    return _outcome(jobs)
