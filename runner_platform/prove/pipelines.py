"""A proof by pipelines: each attempt is a job that GitLab gives to a runner of the stack, in the pod that the runner makes.

One pipeline per branch: a protected one for protected classes, others for open classes and for strangers. Branches and pipelines are removed
at the end. Jobs that no runner may take are watched for as long as the others run, and some time longer.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gitlab.exceptions import GitlabError

from config import load
from runner_platform import live_runners, stacks
from runner_platform.errors import FailedError, WrongUseError
from runner_platform.prove import pipeline_branches, pipeline_jobs
from runner_platform.prove.proof import Proof, compare_runners
from runner_platform.prove.results import roles_in, with_controls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import gitlab
    from gitlab.v4.objects import Project, ProjectPipeline

    from config.settings import Settings
    from runner_platform.prove.pipeline_jobs import Branch, PipelineJob
    from runner_platform.prove.proof import Watcher
    from runner_platform.prove.results import Result

POLL_SECONDS: Final = 2.0
LONGEST_SECONDS: Final = 1800.0
"""Time limit of the whole proof: a class without nodes starts one first, and jobs wait for each other."""
WATCH_SECONDS: Final = 15.0
"""How long jobs that no runner may take are watched at least. Managers ask for jobs every 3 seconds (`check_interval`)."""
ENDED: Final = frozenset({"success", "failed", "canceled", "skipped"})
WAITING: Final = frozenset({"created", "pending", "waiting_for_resource", "preparing"})


@dataclass(frozen=True, kw_only=True)
class _Pipeline:
    """A pipeline of the proof, with its planned jobs by name."""

    project: Project
    pipeline: ProjectPipeline
    jobs: Mapping[str, PipelineJob]

    def live(self) -> dict[str, dict[str, Any]]:
        """Return GitLab's jobs by name."""
        return {job.name: job.attributes for job in self.pipeline.jobs.list(get_all=True)}


def prove(stack: str, watcher: Watcher, *, project: str = "", strangers: Sequence[str] = ()) -> Proof:
    """Try every class by jobs of its own runner, and jobs that no runner may take.

    Args:
        stack: name of the stack; it is deployed, and its managers run.
        watcher: receives the progress.
        project: full path or id of a project in the platform's group, for jobs of group runners; by default the project of a protected class.
        strangers: projects outside of the group.

    Raises:
        WrongUseError: no project is named, and no class has one.
        FailedError: GitLab refuses, or cannot be reached.
    """
    start = time.monotonic()
    settings = stacks.settings_of(stack)
    accounts = load.of_foundation().accounts
    jobs = pipeline_jobs.plan(settings, accounts, project or _default_project(settings), strangers)
    api = live_runners.connection(settings.gitlab.url)
    watcher.say(f"target: GitLab at {api.url}, {len(jobs)} jobs in {len({job.branch for job in jobs})} pipelines")
    watcher.expect(len(jobs))
    try:
        results = _results(api, jobs, watcher)
    except GitlabError as error:
        raise FailedError(
            f"GitLab at {api.url} refuses: {error.error_message}; GITLAB_TOKEN needs the scope api"
        ) from None
    runners, gitlab_problem = compare_runners(stack, watcher.say)
    return Proof(
        settings=settings,
        accounts=list(accounts),
        results=results,
        runners=runners,
        gitlab_problem=gitlab_problem,
        seconds=time.monotonic() - start,
    )


def _default_project(settings: Settings) -> str:
    project = next((runner.project for runner in settings.runners.values() if runner.project), None)
    if project is None:
        raise WrongUseError(
            f"no class of stack {settings.stack} has a project; name one of the platform's group: `--project <group>/<project>`"
        )
    return project


def _results(api: gitlab.Gitlab, jobs: Sequence[PipelineJob], watcher: Watcher) -> list[Result]:
    by_branch: dict[Branch, list[PipelineJob]] = {}
    for job in jobs:
        by_branch.setdefault(job.branch, []).append(job)
    roles = roles_in(job.attempt for job in jobs)
    results: dict[str, Result] = {}
    with contextlib.ExitStack() as open_pipelines:
        pipelines = [
            open_pipelines.enter_context(_started(api, branch, branch_jobs, number, watcher))
            for number, (branch, branch_jobs) in enumerate(by_branch.items())
        ]
        _wait(pipelines, watcher)
        for pipeline in pipelines:
            for name, live in pipeline.live().items():
                job = pipeline.jobs[name]
                trace = (
                    pipeline.project.jobs.get(live["id"], lazy=True).trace() if live["status"] not in WAITING else b""
                )
                results[_key(job)] = pipeline_jobs.result(
                    job, live["status"], bytes(trace).decode(errors="replace"), roles
                )
    return with_controls(results[_key(job)] for job in jobs)


def _key(job: PipelineJob) -> str:
    return f"{job.branch} {job.name}"


def _project(api: gitlab.Gitlab, path: str) -> Project:
    try:
        return api.projects.get(path)
    except GitlabError as error:
        raise FailedError(
            f"GitLab at {api.url} refuses to show project {path}: {error.error_message}; name one that GITLAB_TOKEN may see"
        ) from None


@contextlib.contextmanager
def _started(
    api: gitlab.Gitlab, branch: Branch, jobs: Sequence[PipelineJob], number: int, watcher: Watcher
) -> Iterator[_Pipeline]:
    """Push a branch and start its pipeline; cancel the pipeline and remove the branch when the block ends."""
    project = _project(api, branch.project)
    name = f"runner-platform-prove-{int(time.time())}-{number}"
    text = pipeline_jobs.pipeline_text(jobs)
    with pipeline_branches.pushed(project, name, text, str(os.environ.get("GITLAB_TOKEN")), protected=branch.protected):
        pipeline = project.pipelines.create({"ref": name})
        watcher.say(f"pipeline {pipeline.id} of {project.path_with_namespace}, {len(jobs)} jobs: {pipeline.web_url}")
        try:
            yield _Pipeline(project=project, pipeline=pipeline, jobs={job.name: job for job in jobs})
        finally:
            with contextlib.suppress(GitlabError):
                pipeline.cancel()


def _wait(pipelines: Sequence[_Pipeline], watcher: Watcher) -> None:
    """Wait until every job that must start has ended, and watch the others for some time longer."""
    start, ended = time.monotonic(), 0
    while True:
        statuses = [
            (pipeline.jobs[name], live["status"]) for pipeline in pipelines for name, live in pipeline.live().items()
        ]
        now_ended = sum(status in ENDED for _, status in statuses)
        for _ in range(now_ended - ended):
            watcher.advance()
        ended = now_ended
        seconds = time.monotonic() - start
        if all(status in ENDED for job, status in statuses if job.starts) and seconds >= WATCH_SECONDS:
            return
        if seconds > LONGEST_SECONDS:
            watcher.say(f"some jobs did not end within {LONGEST_SECONDS:.0f} s")
            return
        time.sleep(POLL_SECONDS)
