"""GitLab's API of pipelines and jobs for people: start, show, play, cancel, retry.

https://docs.gitlab.com/api/pipelines/ and https://docs.gitlab.com/api/jobs/
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab import errors, projects, views
from runner_platform_sandbox.gitlab.ci.context import Context
from runner_platform_sandbox.gitlab.ci.errors import EmptyPipelineError, PipelineError
from runner_platform_sandbox.gitlab.ci.reader import read_pipeline
from runner_platform_sandbox.gitlab.files import CommitFiles
from runner_platform_sandbox.gitlab.jobs import queue, selection
from runner_platform_sandbox.gitlab.jobs.records import ENDED, ON_A_RUNNER, Job, Pipeline
from runner_platform_sandbox.gitlab.jobs.runner_api import archive
from runner_platform_sandbox.gitlab.repositories import Commit, Repository
from runner_platform_sandbox.gitlab.store import Role
from runner_platform_sandbox.gitlab.transport import Answer, ok

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runner_platform_sandbox.gitlab.ci import pipeline as ci
    from runner_platform_sandbox.gitlab.jobs.board import Board, Reader
    from runner_platform_sandbox.gitlab.store import Body
    from runner_platform_sandbox.gitlab.transport import Request

FILE: Final = ".gitlab-ci.yml"
_EMPTY: Final = "Pipeline will not run for the selected trigger. The rules configuration prevented any jobs from being added to the pipeline."
_PLAYABLE: Final = frozenset({"manual", "scheduled"})


class PipelineApi:
    """The endpoints of one GitLab; called while `board.changed` is held.

    Args:
        board: The pipelines.
        repositories: Folder of the repositories.
    """

    def __init__(self, board: Board, repositories: Path) -> None:
        self._board = board
        self._folder = repositories
        self._commits: dict[str, Commit] = {}

    def repository(self, project: Mapping[str, Any]) -> Repository:
        """Return the repository of a project; it is made at its first use."""
        repository = Repository(self._folder / f"{project['id']}.git")
        repository.make(project["default_branch"])
        return repository

    def create(self, caller: Body, request: Request, identifier: str) -> Answer:
        """Start a pipeline for a branch or a tag."""
        project = projects.find(self._board.store, caller, identifier)
        ref = str(request.parameters.get("ref") or "")
        if not ref:
            raise errors.malformed("ref is missing")
        repository = self.repository(project)
        branch, tag = repository.resolve(f"refs/heads/{ref}"), repository.resolve(f"refs/tags/{ref}")
        sha = branch or tag
        if sha is None:
            raise errors.invalid({"base": ["Reference not found"]})
        protected = projects.is_protected(project, ref, tag=branch is None)
        if protected and self._board.store.role(caller, project=project["id"]) < Role.MAINTAINER:
            raise errors.invalid({"base": [f"You do not have sufficient permission to run a pipeline on '{ref}'."]})
        number, iid = self._board.records.next_pipeline(project["id"])
        pipeline = Pipeline(
            id=number,
            iid=iid,
            project=project["id"],
            ref=ref,
            tag=branch is None,
            sha=sha,
            protected=protected,
            user=caller["user"],
            variables=_variables(request.parameters.get("variables")),
        )
        try:
            job = request.parameters.get("sandbox_job")  # the sandbox's own: this job and what it waits for
            read = self._reader(caller, project, repository, job)
            self._board.create(pipeline, repository, request.base, read)
        except EmptyPipelineError as error:
            raise errors.invalid({"base": [_EMPTY]}) from error
        except PipelineError as error:
            raise errors.invalid({"base": [str(error)]}) from error
        return Answer(HTTPStatus.CREATED, views.pipeline_details(pipeline, project, request.base))

    def _reader(self, caller: Body, project: Body, repository: Repository, job: str | None) -> Reader:
        """Return a function that reads the pipeline file of a pipeline's commit, whole or for one job."""

        def visible(path: str) -> tuple[Body, Repository] | None:
            visited = self._board.store.project(path)
            if visited is None or self._board.store.role(caller, project=visited["id"]) == Role.NONE:
                return None
            return visited, self.repository(visited)

        def read(pipeline: Pipeline, predefined: Mapping[str, str]) -> ci.Pipeline:
            files = CommitFiles(repository, pipeline.sha, visible)
            text = files.read(FILE)
            if text is None:
                raise PipelineError("Missing CI config file")
            context = Context(
                ref=pipeline.ref,
                tag=pipeline.tag,
                protected=pipeline.protected,
                default_branch=project["default_branch"],
                source=pipeline.source,
                predefined=predefined,
                project_variables=projects.variables(project),
                pipeline_variables=pipeline.variables,
            )
            definition = read_pipeline(text, context=context, files=files)
            return definition if job is None else selection.only(definition, str(job))

        return read

    def list_all(self, caller: Body, request: Request, identifier: str) -> Answer:
        """List the pipelines of a project, the newest first."""
        project = projects.find(self._board.store, caller, identifier)
        summaries = [views.pipeline_summary(pipeline, project, request.base) for pipeline in self._of(project)]
        filters = {
            name: request.parameters[name] for name in ("ref", "status", "source", "sha") if name in request.parameters
        }
        return ok(
            [
                summary
                for summary in reversed(summaries)
                if all(summary[name] == value for name, value in filters.items())
            ]
        )

    def show(self, caller: Body, request: Request, identifier: str, number: str) -> Answer:
        """Show a pipeline."""
        project, pipeline = self._pipeline(caller, identifier, number)
        return ok(views.pipeline_details(pipeline, project, request.base))

    def jobs(self, caller: Body, request: Request, identifier: str, number: str) -> Answer:
        """List the jobs of a pipeline, the newest first, as GitLab does."""
        project, pipeline = self._pipeline(caller, identifier, number)
        again = str(request.parameters.get("include_retried", "")).lower() == "true"
        records = pipeline.jobs if again else pipeline.latest
        return ok([self.view(project, pipeline, record, request) for record in reversed(_in_scope(records, request))])

    def project_jobs(self, caller: Body, request: Request, identifier: str) -> Answer:
        """List the jobs of a project, the newest first."""
        project = projects.find(self._board.store, caller, identifier)
        listed = [
            self.view(project, pipeline, record, request)
            for pipeline in self._of(project)
            for record in _in_scope(pipeline.jobs, request)
        ]
        return ok(listed[::-1])

    def cancel(self, caller: Body, request: Request, identifier: str, number: str) -> Answer:
        """Cancel all jobs of a pipeline."""
        project, pipeline = self._pipeline(caller, identifier, number)
        self._require(caller, pipeline)
        self._board.cancel(pipeline, pipeline.latest)
        return ok(views.pipeline_details(pipeline, project, request.base))

    def retry(self, caller: Body, request: Request, identifier: str, number: str) -> Answer:
        """Start the failed and canceled jobs of a pipeline again."""
        project, pipeline = self._pipeline(caller, identifier, number)
        self._require(caller, pipeline)
        for record in [record for record in pipeline.latest if record.status in {"failed", "canceled"}]:
            self._board.retry(pipeline, record, caller["user"])
        return Answer(HTTPStatus.CREATED, views.pipeline_details(pipeline, project, request.base))

    def show_job(self, caller: Body, request: Request, identifier: str, number: str) -> Answer:
        """Show a job."""
        project, pipeline, record = self._job(caller, identifier, number)
        return ok(self.view(project, pipeline, record, request))

    def trace(self, caller: Body, _request: Request, identifier: str, number: str) -> Answer:
        """Send a job's trace."""
        _, _, record = self._job(caller, identifier, number)
        file = self._board.records.trace(record.id)
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        return Answer(HTTPStatus.OK, file.open("rb") if file.exists() else b"", headers)

    def artifacts(self, caller: Body, _request: Request, identifier: str, number: str) -> Answer:
        """Send a job's archive."""
        _, _, record = self._job(caller, identifier, number)
        return archive(self._board, record)

    def play_job(self, caller: Body, request: Request, identifier: str, number: str) -> Answer:
        """Start a manual or delayed job."""
        project, pipeline, record = self._job(caller, identifier, number)
        self._require(caller, pipeline)
        if record.status not in _PLAYABLE:
            raise errors.bad_request("Unplayable Job")
        self._board.play(pipeline, record, caller["user"])
        return ok(self.view(project, pipeline, record, request))

    def cancel_job(self, caller: Body, request: Request, identifier: str, number: str) -> Answer:
        """Cancel a job."""
        project, pipeline, record = self._job(caller, identifier, number)
        self._require(caller, pipeline)
        force = str(request.parameters.get("force", "")).lower() == "true"
        if record.status in ENDED or (record.status == "canceling" and not force):
            raise errors.forbidden("Job is not cancelable")
        self._board.cancel(pipeline, [record], force=force)
        return Answer(HTTPStatus.CREATED, self.view(project, pipeline, record, request))

    def retry_job(self, caller: Body, request: Request, identifier: str, number: str) -> Answer:
        """Start an ended job again."""
        project, pipeline, record = self._job(caller, identifier, number)
        self._require(caller, pipeline)
        if record.status not in ENDED - {"skipped"} or record.retried:
            raise errors.forbidden("Job is not retryable")
        again = self._board.retry(pipeline, record, caller["user"])
        return Answer(HTTPStatus.CREATED, self.view(project, pipeline, again, request))

    def environments(self, caller: Body, _request: Request, identifier: str) -> Answer:
        """List the environments of a project."""
        return ok(views.environments(self._of(projects.find(self._board.store, caller, identifier))))

    def resource_groups(self, caller: Body, _request: Request, identifier: str) -> Answer:
        """List the resource groups of a project."""
        return ok(views.resource_groups(self._of(projects.find(self._board.store, caller, identifier))))

    def of_runner(self, runner: int, request: Request) -> list[Body]:
        """Return the jobs that a runner has or had, the newest first."""
        listed = [
            self.view(self._board.project(pipeline.project), pipeline, record, request)
            for pipeline in self._board.records.pipelines.values()
            for record in pipeline.jobs
            if record.runner == runner
        ]
        return listed[::-1]

    def _of(self, project: Body) -> Sequence[Pipeline]:
        return [pipeline for pipeline in self._board.records.pipelines.values() if pipeline.project == project["id"]]

    def _pipeline(self, caller: Body, identifier: str, number: str) -> tuple[Body, Pipeline]:
        project = projects.find(self._board.store, caller, identifier)
        pipeline = self._board.records.pipelines.get(int(number))
        if pipeline is None or pipeline.project != project["id"]:
            raise errors.not_found("Pipeline")
        return project, pipeline

    def _job(self, caller: Body, identifier: str, number: str) -> tuple[Body, Pipeline, Job]:
        project = projects.find(self._board.store, caller, identifier)
        record = self._board.records.job(int(number))
        if record is None or record[0].project != project["id"]:
            raise errors.not_found()
        return project, *record

    def _require(self, caller: Body, pipeline: Pipeline) -> None:
        """Refuse to change a pipeline of a protected ref below Maintainer."""
        least = Role.MAINTAINER if pipeline.protected else Role.DEVELOPER
        if self._board.store.role(caller, project=pipeline.project) < least:
            raise errors.forbidden()

    def view(self, project: Body, pipeline: Pipeline, record: Job, request: Request) -> Body:
        """Return a job as GitLab shows it."""
        runner = self._board.store.runners.get(str(record.runner))
        if pipeline.sha not in self._commits:
            self._commits[pipeline.sha] = self.repository(project).commit(pipeline.sha)
        view = views.job(pipeline, record, project, self._commits[pipeline.sha], runner, request.base)
        if record.status not in ENDED | ON_A_RUNNER:
            # The sandbox's own field: GitLab says it on the job's page only.
            view["sandbox_stuck"] = queue.stuck(record, pipeline, project, self._board.store.runners.values())
        return view


def _in_scope(records: Sequence[Job], request: Request) -> Sequence[Job]:
    scope = request.parameters.get("scope")
    statuses = [scope] if isinstance(scope, str) else scope
    return [record for record in records if not statuses or record.status in statuses]


def _variables(parameter: Any) -> dict[str, str]:
    """Return the variables that the starter of a pipeline gives."""
    if parameter is None:
        return {}
    if not isinstance(parameter, list) or not all(isinstance(item, dict) and "key" in item for item in parameter):
        raise errors.malformed("variables is invalid")
    return {str(item["key"]): str(item.get("value", "")) for item in parameter}
