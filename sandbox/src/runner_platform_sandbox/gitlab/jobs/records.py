"""Pipelines and jobs as GitLab keeps them, one JSON file a pipeline, and the files of a job: its trace and artifacts."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from runner_platform_sandbox.disk import replace
from runner_platform_sandbox.gitlab.ci import pipeline as ci  # noqa: TC001 - pydantic reads the type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDED: Final = frozenset({"success", "failed", "canceled", "skipped"})
"""Statuses of a job or a pipeline that nothing changes but a retry."""
ON_A_RUNNER: Final = frozenset({"running", "canceling"})


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Artifact(_Model):
    """A file that a job uploaded."""

    file_type: str
    """archive, or the type of a report: junit, dotenv, terraform, ..."""
    file_format: str
    """zip, gzip or raw."""
    filename: str
    size: int
    expire_in: str | None = None


class Job(_Model):
    """A job of a pipeline."""

    id: int
    pipeline: int
    definition: ci.Job
    status: str = "created"
    created: float = Field(default_factory=time.time)
    """Seconds since the epoch, as all times of the record."""
    due: float | None = None
    """When a delayed job starts."""
    queued: float | None = None
    started: float | None = None
    finished: float | None = None
    heartbeat: float | None = None
    """When the runner spoke of the job last."""
    runner: int | None = None
    manager: str = ""
    """System id of the runner's manager."""
    token: str = Field(default_factory=lambda: f"glcbt-{secrets.token_urlsafe(15)}")
    user: str = ""
    """Person who started the job: with the pipeline, or by `play` or `retry`."""
    timeout: int = 3600
    """Seconds."""
    failure_reason: str | None = None
    exit_code: int | None = None
    retries: int = 0
    """How often `retry` of the file started the job again."""
    retried: bool = False
    """Whether a newer job has the place of this one."""
    artifacts: list[Artifact] = Field(default_factory=list)
    reported_variables: dict[str, str] = Field(default_factory=dict)
    """Variables of the job's dotenv report."""

    @property
    def name(self) -> str:
        """Name, unique among the jobs of the pipeline that are not retried."""
        return self.definition.name

    @property
    def stage(self) -> str:
        """Stage."""
        return self.definition.stage

    @property
    def archive(self) -> Artifact | None:
        """The archive of its artifacts, if it uploaded one."""
        return next((artifact for artifact in self.artifacts if artifact.file_type == "archive"), None)

    @property
    def archive_file(self) -> dict[str, Any] | None:
        """Name and size of the archive, as GitLab shows them to people and to runners."""
        return {"filename": self.archive.filename, "size": self.archive.size} if self.archive else None

    @property
    def allowed_to_fail(self) -> bool:
        """Whether the pipeline goes on although the job failed."""
        return self.definition.allow_failure or (
            self.exit_code is not None and self.exit_code in self.definition.allow_failure_exit_codes
        )


class Pipeline(_Model):
    """A pipeline."""

    id: int
    iid: int
    """Number within the project."""
    project: int
    ref: str
    tag: bool = False
    sha: str
    protected: bool = False
    source: str = "api"
    user: str = ""
    name: str | None = None
    created: float = Field(default_factory=time.time)
    stages: list[str] = Field(default_factory=list)
    variables: dict[str, str] = Field(default_factory=dict)
    """Variables that the starter gave."""
    jobs: list[Job] = Field(default_factory=list)

    @property
    def ref_type(self) -> str:
        """`tag` or `branch`."""
        return "tag" if self.tag else "branch"

    @property
    def ref_path(self) -> str:
        """The full ref, such as `refs/heads/main`."""
        return f"refs/{'tags' if self.tag else 'heads'}/{self.ref}"

    @property
    def latest(self) -> list[Job]:
        """Jobs that no retry replaced."""
        return [job for job in self.jobs if not job.retried]


class Records:
    """All pipelines of one GitLab.

    Args:
        folder: Folder of the pipelines' files and of the jobs' folders; made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted(folder.glob("*.json"), key=lambda file: int(file.stem))
        self.pipelines = {
            pipeline.id: pipeline for pipeline in (Pipeline.model_validate_json(file.read_bytes()) for file in files)
        }
        self._last_job = max((job.id for job in self.jobs()), default=0)

    def jobs(self) -> Iterator[Job]:
        """Iterate over all jobs, the oldest pipeline first."""
        for pipeline in self.pipelines.values():
            yield from pipeline.jobs

    def job(self, identifier: int) -> tuple[Pipeline, Job] | None:
        """Return a job and its pipeline, or None."""
        for pipeline in self.pipelines.values():
            for job in pipeline.jobs:
                if job.id == identifier:
                    return pipeline, job
        return None

    def next_pipeline(self, project: int) -> tuple[int, int]:
        """Return the id and the number within the project of the next pipeline."""
        numbers = [pipeline.iid for pipeline in self.pipelines.values() if pipeline.project == project]
        return max(self.pipelines, default=0) + 1, max(numbers, default=0) + 1

    def next_job(self) -> int:
        """Return the id of the next job."""
        self._last_job += 1
        return self._last_job

    def save(self, pipeline: Pipeline) -> None:
        """Write a pipeline to disk."""
        self.pipelines[pipeline.id] = pipeline
        replace(self._folder / f"{pipeline.id}.json", pipeline.model_dump_json())

    def trace(self, job: int) -> Path:
        """Return the file of a job's trace; its folder exists."""
        return self._job_folder(job) / "trace"

    def artifact(self, job: int, file_type: str) -> Path:
        """Return the file of a job's artifact; its folder exists."""
        return self._job_folder(job) / f"artifact-{file_type}"

    def _job_folder(self, job: int) -> Path:
        folder = self._folder / "jobs" / str(job)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
