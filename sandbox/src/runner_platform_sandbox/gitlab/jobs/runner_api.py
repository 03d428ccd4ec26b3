"""GitLab's API for runners: jobs, traces and artifacts.

The statuses, headers and words are those that GitLab Runner 19.4 reads (`network/gitlab.go` of gitlab-org/gitlab-runner) and that
https://docs.gitlab.com/api/ describes. A job that ended or was canceled is told to its runner by 403 and `Job-Status`.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import time
from email.message import Message
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Final

from runner_platform_sandbox.gitlab import errors
from runner_platform_sandbox.gitlab.jobs.records import ON_A_RUNNER, Artifact, Job, Pipeline
from runner_platform_sandbox.gitlab.transport import Answer, ok

if TYPE_CHECKING:
    from runner_platform_sandbox.gitlab.jobs.board import Board
    from runner_platform_sandbox.gitlab.transport import Request

LONGEST_POLL: Final = 20.0
"""Seconds that a runner waits for a job; GitLab's default is 50."""
UPDATE_SECONDS: Final = 1
"""How often a runner sends its trace. GitLab asks for 3 seconds while somebody looks, else for 60."""
_TICK: Final = 1.0
_QUEUE_HEADER: Final = "X-GitLab-Last-Update"
_LARGEST_REPORT: Final = 1024 * 1024


class RunnerApi:
    """The endpoints for runners; called while `board.changed` is held."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def request_job(self, request: Request) -> Answer:
        """Give a job to a runner, or let the runner wait until there may be one."""
        runner = self._board.store.runner_of_token(str(request.parameters.get("token") or request.token or ""))
        if runner is None:
            raise errors.forbidden()
        manager = str(request.parameters.get("system_id") or "")
        if manager and manager not in runner["managers"]:
            runner["managers"][manager] = len(runner["managers"]) + 1
            self._board.store.save()
        deadline = time.monotonic() + LONGEST_POLL
        while True:
            self._board.tick()
            if not request.connected() or str(runner["id"]) not in self._board.store.runners:
                break
            job = self._board.take(runner, manager, request.base)
            if job is not None:
                return Answer(HTTPStatus.CREATED, job)
            # As in GitLab, a runner that has not seen the newest state of the queue gets it at once.
            if request.parameters.get("last_update") != self._board.queue_value or time.monotonic() > deadline:
                break
            self._board.changed.wait(_TICK)
        return Answer(HTTPStatus.NO_CONTENT, None, {_QUEUE_HEADER: self._board.queue_value})

    def update(self, request: Request, identifier: str) -> Answer:
        """Take a runner's word about its job: running, success or failed."""
        pipeline, job = self._running(request, identifier)
        state = request.parameters.get("state")
        if state in {"success", "failed"}:
            code = request.parameters.get("exit_code")
            self._board.finish(
                pipeline,
                job,
                success=state == "success",
                reason=request.parameters.get("failure_reason") or None,
                exit_code=int(code) if code is not None else (0 if state == "success" else None),
            )
        return Answer(HTTPStatus.OK, b"200", self._headers(job))

    def append_trace(self, request: Request, identifier: str) -> Answer:
        """Write a part of a job's trace at its place."""
        _, job = self._running(request, identifier)
        match = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("content-range", ""))
        if match is None:
            raise errors.malformed("400 Missing header Content-Range")
        begin, end = int(match[1]), int(match[2]) + 1
        data = b"" if request.content is None else request.content.read()
        trace = self._board.records.trace(job.id)
        size = trace.stat().st_size if trace.exists() else 0
        if begin > size or begin + len(data) != end:
            body, headers = {"error": "416 Range Not Satisfiable"}, {"Range": f"0-{size}"}
            return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, body, headers)
        with trace.open("r+b" if trace.exists() else "w+b") as file:
            file.seek(begin)
            file.write(data)
            file.truncate()
        self._board.changed.notify_all()
        return Answer(HTTPStatus.ACCEPTED, None, {**self._headers(job), "Range": f"0-{end}"})

    def authorize_artifacts(self, request: Request, identifier: str) -> Answer:
        """Allow an upload."""
        self._running(request, identifier)
        return ok({})

    def upload_artifacts(self, request: Request, identifier: str) -> Answer:
        """Keep a file of a job."""
        pipeline, job = self._running(request, identifier)
        kind = str(request.parameters.get("artifact_type", "archive"))
        if not re.fullmatch(r"[a-z_]+", kind):
            raise errors.malformed("artifact_type does not have a valid value")
        if any(artifact.file_type == kind for artifact in job.artifacts):
            raise errors.bad_request("another artifact of the same type already exists")
        if request.content is None:
            raise errors.malformed("file is missing")
        target = self._board.records.artifact(job.id, kind)
        with target.open("wb") as file:
            name = _copy_file_part(request.content, request.headers.get("content-type", ""), file)
        artifact = Artifact(
            file_type=kind,
            file_format=str(request.parameters.get("artifact_format", "zip")),
            filename=name,
            size=target.stat().st_size,
            expire_in=request.parameters.get("expire_in"),
        )
        job.artifacts.append(artifact)
        if kind == "dotenv":
            with gzip.open(target) as report:
                job.reported_variables = _dotenv(report.read(_LARGEST_REPORT).decode(errors="replace"))
        self._board.records.save(pipeline)
        return Answer(HTTPStatus.CREATED, b"201")

    def download_artifacts(self, request: Request, identifier: str) -> Answer:
        """Send the archive of a job to that job, or to a running job of the same project."""
        record = self._board.records.job(int(identifier))
        caller = self.job_of_token(str(request.token or request.parameters.get("token") or ""))
        if record is None or caller is None or caller[0].project != record[0].project:
            raise errors.forbidden()
        return archive(self._board, record[1])

    def job_of_token(self, token: str) -> tuple[Pipeline, Job] | None:
        """Return the job on a runner whose token this is, or None; a job's token ends with the job."""
        if not token:
            return None
        for pipeline in self._board.records.pipelines.values():
            for job in pipeline.jobs:
                if job.token == token and job.status in ON_A_RUNNER:
                    return pipeline, job
        return None

    def _running(self, request: Request, identifier: str) -> tuple[Pipeline, Job]:
        """Return a job by its own token; it must be on a runner."""
        record = self._board.records.job(int(identifier))
        token = request.token or str(request.parameters.get("token") or "")
        if record is None or record[1].token != token:
            raise errors.forbidden()
        pipeline, job = record
        if job.status not in ON_A_RUNNER:
            refused = errors.forbidden("Job is not running")
            refused.headers = {"Job-Status": job.status}
            raise refused
        job.heartbeat = time.time()
        return pipeline, job

    def _headers(self, job: Job) -> dict[str, str]:
        # A runner takes `failed` or `canceled` for a job that was ended behind its back, so its own word is not repeated.
        status = {"Job-Status": job.status} if job.status in ON_A_RUNNER else {}
        return {**status, "X-GitLab-Trace-Update-Interval": str(UPDATE_SECONDS)}


def archive(board: Board, job: Job) -> Answer:
    """Return the archive of a job as an answer."""
    artifact = job.archive
    if artifact is None:
        raise errors.not_found()
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{artifact.filename}"',
    }
    return Answer(HTTPStatus.OK, board.records.artifact(job.id, "archive").open("rb"), headers)


def _copy_file_part(content: IO[bytes], content_type: str, target: IO[bytes]) -> str:
    """Copy the file of a multipart body with one part, as runners send it, and return the file's name."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if not boundary or content.readline().strip() != f"--{boundary}".encode():
        raise errors.malformed("file is invalid")
    name = "artifacts.zip"
    while line := content.readline().strip():
        match = re.search(rb'filename="([^"/\\]+)"', line)
        name = match[1].decode() if match else name
    begin = content.tell()
    ending = f"\r\n--{boundary}--\r\n".encode()
    size = content.seek(0, os.SEEK_END) - begin - len(ending)
    if size < 0 or content.seek(begin + size) is None or content.read() != ending:
        raise errors.malformed("file is invalid")
    content.seek(begin)
    shutil.copyfileobj(content, target)
    target.truncate(size)
    return name


def _dotenv(text: str) -> dict[str, str]:
    """Return the variables of a dotenv report: https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs if name.strip()}
