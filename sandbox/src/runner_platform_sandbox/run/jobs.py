"""The jobs of a running pipeline: what changed since the last look, and their traces."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import gitlab.exceptions

from runner_platform_sandbox.gitlab.jobs.records import ENDED
from runner_platform_sandbox.run.report import Job, Prefix, runner_name
from runner_platform_sandbox.run.traces import Trace

if TYPE_CHECKING:
    from gitlab.v4.objects import Project, ProjectPipeline
    from rich.console import Console

_QUIET_SECONDS: Final = 30.0
"""A job that waits so long is mentioned again."""


class JobWatch:
    """Follows a pipeline.

    Args:
        project: The pipeline's project.
        pipeline: The pipeline.
        console: Where traces go.
        chosen: A job that is started although it is manual.
    """

    def __init__(self, project: Project, pipeline: ProjectPipeline, console: Console, *, chosen: str | None) -> None:
        self._project = project
        self._pipeline = pipeline
        self._chosen = chosen
        self._traces: dict[int, Trace] = {}
        self._statuses: dict[int, str] = {}
        self._spoke = time.monotonic()
        self.jobs: list[Job] = self._read()
        self._prefix = Prefix(console, [job["name"] for job in self.jobs])

    @property
    def status(self) -> str:
        """Status of the pipeline at the last look."""
        return str(self._pipeline.status)

    def started_ids(self) -> list[int]:
        """Return the ids of all jobs that a runner may have made a pod for, those that were retried too."""
        return list(self._traces)

    def step(self) -> bool:
        """Show what is new; return whether nothing runs or can run any more."""
        self._pipeline.refresh()  # first: what has ended by now is in the jobs
        self.jobs = self._read()
        for job in self.jobs:
            if job["status"] == "manual" and self._chosen is not None and job["name"].startswith(self._chosen):
                self._project.jobs.get(job["id"], lazy=True).play()
                return False
            self._show(job)
        self._mention_waiting()
        return self.status in ENDED | {"manual"}

    def cancel(self, *, force: bool = False) -> None:
        """Cancel what has not ended; jobs end at once if forced, else after their `after_script`."""
        with contextlib.suppress(gitlab.exceptions.GitlabError):
            self._pipeline.cancel()
        for job in self._read() if force else ():
            if job["status"] not in ENDED:
                with contextlib.suppress(gitlab.exceptions.GitlabError):
                    path = f"/projects/{self._project.id}/jobs/{job['id']}/cancel"
                    self._project.manager.gitlab.http_post(path, post_data={"force": True})

    def _read(self) -> list[Job]:
        listed = self._pipeline.jobs.list(get_all=True)
        return sorted((job.attributes for job in listed), key=lambda job: job["id"])

    def _show(self, job: Job) -> None:
        status, number = job["status"], job["id"]
        before = self._statuses.get(number)
        if before in ENDED:
            return
        self._statuses[number] = status
        changed = status != before
        if changed and status not in ENDED:
            self._say(job, _sentence(job), style="bold")
        if job["started_at"]:
            trace = self._traces.setdefault(number, Trace())
            content: Any = self._project.jobs.get(number, lazy=True).trace()
            for line in trace.lines(content or b"", ended=status in ENDED):
                self._say(job, line.text, style="" if line.from_script else "dim")
        if changed and status in ENDED:
            self._say(job, _sentence(job), style="bold")

    def _say(self, job: Job, line: str, style: str = "") -> None:
        self._spoke = time.monotonic()
        self._prefix.show(job["name"], line, style)

    def _mention_waiting(self) -> None:
        if time.monotonic() - self._spoke < _QUIET_SECONDS:
            return
        for job in self.jobs:
            if job["status"] not in ENDED:
                self._say(job, f"still {job['status'].replace('_', ' ')}", style="dim")


def _sentence(job: Job) -> str:
    """Return a job's change as a sentence."""
    status = str(job["status"]).replace("_", " ")
    if job["status"] == "running":
        return f"runs on {runner_name(job) or 'a runner'}"
    if job["status"] in ENDED and job.get("duration") is not None:
        code = f", exit code {job['exit_code']}" if job.get("exit_code") else ""
        return f"{status} after {job['duration']:.0f} s{code}"
    return status
