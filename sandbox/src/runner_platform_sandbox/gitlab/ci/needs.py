"""Jobs that a job waits for, and jobs whose artifacts it gets. https://docs.gitlab.com/ci/yaml/#needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab.ci import copies
from runner_platform_sandbox.gitlab.ci.document import likely
from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.ci.pipeline import Job, Need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST: Final = 50


class Graph:
    """Names of a file's jobs and their copies, their stages, and which of them run.

    Args:
        configs: Keywords of all jobs by name.
        stages: All stages in order.
        running: Jobs of the pipeline.
    """

    def __init__(self, configs: Mapping[str, Mapping[str, Any]], stages: Sequence[str], running: Sequence[Job]) -> None:
        self._copies = {
            name: [copy.name for copy in copies.of_job(name, job.get("parallel"))] for name, job in configs.items()
        }
        self._groups = {copy: name for name, names in self._copies.items() for copy in names}
        self._order = {name: stages.index(job.get("stage", "test")) for name, job in configs.items()}
        self._running = {job.name for job in running}

    def needs(self, job: Job, config: Sequence[Any] | None) -> tuple[Need, ...] | None:
        """Return what a job waits for.

        Args:
            job: The job.
            config: `needs` as written, or None.
        """
        if config is None:
            return None
        needs: dict[str, Need] = {}
        for entry in config:
            need: Mapping[str, Any] = {"job": entry} if isinstance(entry, str) else entry
            for name in self._names(job, need):
                if self._runs(job, name, optional=need.get("optional", False)):
                    needs[name] = Need(job=name, artifacts=need.get("artifacts", True))
        if len(needs) > _MOST:
            raise PipelineError(
                f"job {job.group}: `needs` has {len(needs)} jobs, and GitLab allows {_MOST}; use stages"
            )
        return tuple(needs.values())

    def dependencies(self, job: Job, needs: tuple[Need, ...] | None) -> tuple[str, ...] | None:
        """Return the jobs whose artifacts a job asks for, without those that do not run."""
        if job.dependencies is None:
            return None
        names = [name for written in job.dependencies for name in self._expanded(job, written, "dependencies")]
        for name in names:
            if needs is not None and name in self._running and name not in {need.job for need in needs}:
                raise PipelineError(
                    f"job {job.group}: `dependencies` has {name}, which `needs` lacks; add it to `needs` or remove it"
                )
            if needs is None and self._order[self._groups[name]] >= self._order[job.group]:
                raise PipelineError(
                    f"job {job.group}: `dependencies` has {name}, which is in no earlier stage; change a stage or use `needs`"
                )
        return tuple(name for name in names if name in self._running)

    def _names(self, job: Job, need: Mapping[str, Any]) -> list[str]:
        if "parallel" in need:
            return [copy.name for copy in copies.of_job(need["job"], need["parallel"])]
        if need.get("optional") and need["job"] not in {*self._copies, *self._groups}:
            return []
        names = self._expanded(job, need["job"], "needs")
        if self._order[self._groups[names[0]]] > self._order[job.group]:
            raise PipelineError(
                f"job {job.group}: `needs` has {need['job']}, which is in a later stage; change a stage"
            )
        return names

    def _expanded(self, job: Job, name: str, keyword: str) -> list[str]:
        if name in self._copies:
            return self._copies[name]
        if name in self._groups:
            return [name]
        raise PipelineError(
            f"job {job.group}: `{keyword}` has {name}, and no file has such a job{likely(name, self._copies)}; correct the name"
        )

    def _runs(self, job: Job, name: str, *, optional: bool) -> bool:
        if name in self._running:
            return True
        if optional:
            return False
        raise PipelineError(
            f"job {job.group}: `needs` has {name}, which is not in this pipeline because of its rules; give it the same rules, or write `optional: true`"
        )


def check_order(jobs: Sequence[Job]) -> None:
    """Refuse jobs that wait for each other in a circle."""
    waiting = {job.name: {need.job for need in job.needs or ()} for job in jobs}
    while waiting:
        ready = {name for name, needs in waiting.items() if not needs & waiting.keys()}
        if not ready:
            raise PipelineError(f"jobs {', '.join(waiting)}: `needs` goes round; remove a need")
        waiting = {name: needs for name, needs in waiting.items() if name not in ready}
