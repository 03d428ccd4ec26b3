"""All pipelines in work: making them, giving jobs to runners, and what the end of a job means for the others.

Every method is called while the caller holds `changed`. Waiting runners are woken when a job becomes pending.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from runner_platform_sandbox.gitlab.ci.variables import Variable, expand, expanded, merged, values_of
from runner_platform_sandbox.gitlab.jobs import order, queue, variables
from runner_platform_sandbox.gitlab.jobs.claims import claims
from runner_platform_sandbox.gitlab.jobs.payload import FAILURE_REASONS, kept_ref, payload
from runner_platform_sandbox.gitlab.jobs.records import ENDED, ON_A_RUNNER, Job, Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner_platform_sandbox.gitlab.ci import pipeline as ci
    from runner_platform_sandbox.gitlab.identity import Issuer
    from runner_platform_sandbox.gitlab.jobs.records import Records
    from runner_platform_sandbox.gitlab.repositories import Repository
    from runner_platform_sandbox.gitlab.store import Store

DEFAULT_TIMEOUT: Final = 3600
"""Seconds that a job of a new project may take."""
SILENCE: Final = 600.0
"""Seconds after which a running job that its runner does not mention has failed. GitLab waits an hour."""


class Reader(Protocol):
    """Turns the pipeline file of a commit into jobs."""

    def __call__(self, pipeline: Pipeline, predefined: Mapping[str, str]) -> ci.Pipeline:
        """Return the jobs of a pipeline, or raise `ci.errors.PipelineError`."""


class Board:
    """The pipelines of one GitLab.

    Args:
        store: Projects and runners.
        records: Pipelines and jobs.
        issuer: Makes ID tokens.
    """

    def __init__(self, store: Store, records: Records, issuer: Issuer) -> None:
        self.store = store
        self.records = records
        self.issuer = issuer
        self.changed = threading.Condition()
        self.queue_value = secrets.token_hex(8)
        """Changes with the queue; a runner sends the last one that it saw."""
        for _, job in self._on_runners():
            job.heartbeat = time.time()  # nobody could hear a runner while the server was down

    def wake(self) -> None:
        """Tell waiting runners that the queue, or a runner's settings, changed."""
        self.queue_value = secrets.token_hex(8)
        self.changed.notify_all()

    def create(self, pipeline: Pipeline, repository: Repository, base: str, read: Reader) -> Pipeline:
        """Make the jobs of a pipeline and start those that wait for nothing.

        Args:
            pipeline: The pipeline without jobs.
            repository: The project's repository.
            base: URL of the server.
            read: Reads the pipeline file.

        Raises:
            PipelineError: The file cannot be used; nothing was made.
        """
        project = self.project(pipeline.project)
        commit = repository.commit(pipeline.sha)
        predefined = variables.of_pipeline(pipeline, project, commit, base=base, issuer=self.issuer.url)
        definition = read(pipeline, predefined)
        repository.keep(kept_ref(pipeline), pipeline.sha)
        pipeline.name = definition.name
        pipeline.stages = list(definition.stages)
        pipeline.jobs = [self._new_job(pipeline, job, pipeline.user) for job in definition.jobs]
        self.records.save(pipeline)
        self._cancel_older(pipeline)
        self.settle(pipeline.project)
        return pipeline

    def _new_job(self, pipeline: Pipeline, definition: ci.Job, user: str) -> Job:
        timeout = definition.timeout or DEFAULT_TIMEOUT
        return Job(id=self.records.next_job(), pipeline=pipeline.id, definition=definition, user=user, timeout=timeout)

    def _cancel_older(self, pipeline: Pipeline) -> None:
        for older in self._of_project(pipeline.project):
            same_ref = (older.ref, older.tag) == (pipeline.ref, pipeline.tag)
            if same_ref and older.id < pipeline.id and order.interrupted_by_newer(older):
                self.cancel(older, older.latest)

    def project(self, identifier: int) -> dict[str, Any]:
        """Return a project that pipelines belong to."""
        project = self.store.project(str(identifier))
        if project is None:
            raise KeyError(identifier)
        return project

    def _of_project(self, project: int) -> Iterator[Pipeline]:
        return (pipeline for pipeline in self.records.pipelines.values() if pipeline.project == project)

    def settle(self, project: int) -> None:
        """Move on all jobs of a project whose time has come, and write down what changed."""
        for pipeline in self._of_project(project):
            if order.advance(pipeline, time.time(), lambda group: self._is_free(project, group)):
                self.records.save(pipeline)
                self.wake()

    def tick(self) -> None:
        """Do what only time brings: delayed jobs, and jobs whose runner is silent."""
        now = time.time()
        for project in {pipeline.project for pipeline in self.records.pipelines.values()}:
            self.settle(project)
        for pipeline, job in list(self._on_runners()):
            if now - (job.heartbeat or now) > SILENCE:
                self.finish(pipeline, job, success=False, reason="stuck_or_timeout_failure", exit_code=None)

    def _on_runners(self) -> Iterator[tuple[Pipeline, Job]]:
        for pipeline in self.records.pipelines.values():
            for job in pipeline.jobs:
                if job.status in ON_A_RUNNER:
                    yield pipeline, job

    def _is_free(self, project: int, group: str) -> bool:
        return not any(
            job.definition.resource_group == group and job.status in order.HOLDS_RESOURCE
            for pipeline in self._of_project(project)
            for job in pipeline.latest
        )

    # Runners

    def take(self, runner: Mapping[str, Any], manager: str, base: str) -> dict[str, Any] | None:
        """Give the oldest job that a runner may take to it, as the job's payload; None if there is no such job."""
        if runner["paused"]:
            return None
        for pipeline in self.records.pipelines.values():
            for job in pipeline.jobs:
                if job.status == "pending" and self._may_take(runner, pipeline, job):
                    return self._start(pipeline, job, runner, manager, base)
        return None

    def _may_take(self, runner: Mapping[str, Any], pipeline: Pipeline, job: Job) -> bool:
        return queue.serves(runner, self.project(pipeline.project)) and queue.takes(runner, pipeline, job)

    def _start(
        self, pipeline: Pipeline, job: Job, runner: Mapping[str, Any], manager: str, base: str
    ) -> dict[str, Any]:
        job.status = "running"
        job.started = job.heartbeat = time.time()
        job.runner = runner["id"]
        job.manager = manager
        job.timeout = min(job.timeout, runner["maximum_timeout"] or job.timeout)
        project = self.project(pipeline.project)
        job_variables = self._variables(pipeline, job, project, runner, base)
        self.records.save(pipeline)
        return payload(pipeline, job, project, job_variables, base)

    def _variables(
        self, pipeline: Pipeline, job: Job, project: Mapping[str, Any], runner: Mapping[str, Any], base: str
    ) -> tuple[Variable, ...]:
        own = variables.of_job(pipeline, job, project, runner, base)
        # The job's own variables come first, so that those of the file win, as in GitLab.
        together = expanded(merged(own, job.definition.variables))
        values = values_of(together)
        environment = job.definition.environment
        name = None if environment is None else expand(environment.name, values)
        if environment is not None and environment.url:
            url = expand(environment.url, values)
            together = merged(together, [Variable(name="CI_ENVIRONMENT_URL", value=url, raw=True)])
        server = urlsplit(self.issuer.url).netloc
        tokens = [
            Variable(
                name=token.name,
                value=self.issuer.token(
                    claims(
                        pipeline,
                        job,
                        project,
                        audiences=[expand(audience, values) for audience in token.audiences],
                        server=server,
                        environment=name,
                    )
                ),
                raw=True,
                public=False,
                masked=True,
            )
            for token in job.definition.id_tokens
        ]
        return merged(together, tokens)

    def finish(self, pipeline: Pipeline, job: Job, *, success: bool, reason: str | None, exit_code: int | None) -> None:
        """Record the end of a job, start it again if its `retry` says so, and move on what waited for it."""
        if reason is not None and reason not in FAILURE_REASONS:
            reason = "unknown_failure"
        order.finish(job, time.time(), success=success, reason=reason, exit_code=exit_code)
        if order.retries_by_itself(job):
            self._again(pipeline, job, job.user).retries = job.retries + 1
        self.records.save(pipeline)
        self.settle(pipeline.project)
        self.changed.notify_all()

    # People

    def play(self, pipeline: Pipeline, job: Job, user: str) -> None:
        """Start a manual or a delayed job."""
        job.user = user
        order.enqueue(job, time.time(), lambda group: self._is_free(pipeline.project, group))
        self._changed(pipeline)

    def retry(self, pipeline: Pipeline, job: Job, user: str) -> Job:
        """Start an ended job again as a new job; later jobs that were skipped wait for it again."""
        again = self._again(pipeline, job, user)
        later = pipeline.stages[pipeline.stages.index(job.stage) :]
        for skipped in pipeline.latest:
            if skipped.status == "skipped" and skipped.stage in later:
                skipped.status = "created"
                skipped.finished = None
        self._changed(pipeline)
        return again

    def _again(self, pipeline: Pipeline, job: Job, user: str) -> Job:
        job.retried = True
        again = self._new_job(pipeline, job.definition, user)
        pipeline.jobs.insert(pipeline.jobs.index(job) + 1, again)
        order.enqueue(again, time.time(), lambda group: self._is_free(pipeline.project, group))
        self.wake()
        return again

    def cancel(self, pipeline: Pipeline, jobs: list[Job], *, force: bool = False) -> None:
        """Cancel jobs of a pipeline that have not ended."""
        for job in jobs:
            if job.status not in ENDED:
                order.cancel(job, time.time(), force=force)
        self._changed(pipeline)

    def _changed(self, pipeline: Pipeline) -> None:
        self.records.save(pipeline)
        self.settle(pipeline.project)
        self.wake()
