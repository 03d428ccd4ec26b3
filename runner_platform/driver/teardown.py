"""Destroying a stack: its runners take no more jobs, running jobs end or are not waited for, then the engine deletes.

That is the same for classes on Kubernetes and on machines. The group of a manager on EC2 deletes its instance when the manager has finished
its jobs, which it does at once after a drain; `--now` does not shorten that.

A protected stack is refused before anything is touched, runners included.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import gitlab
import gitlab.exceptions
import requests

from runner_platform import live_runners
from runner_platform.driver import deployment, stack_state
from runner_platform.driver.engine_progress import label
from runner_platform.driver.repair import DEFAULT_GITLAB, RUNNER
from runner_platform.driver.run import update_message
from runner_platform.errors import FailedError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner_platform.driver.deployment import Result
    from runner_platform.driver.run import Run
    from runner_platform.driver.stack_state import StateEntry

POLL_SECONDS: Final = 15.0
MOST: Final = 8
"""Resources, or jobs, that a message names."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A runner of the stack in GitLab."""

    id: int
    name: str
    longest_job: timedelta


def destroy(run: Run, *, drain: bool) -> Result:
    """Delete all resources of a stack, except those that are kept on purpose.

    Args:
        run: the run.
        drain: whether to wait for running jobs.

    Raises:
        FailedError: a resource is protected, GitLab cannot be asked, or the engine failed.
    """
    refuse_protected(run)
    deployment.prepare(run)
    runners = _runners(run, stack_state.require(run.project).of_type(RUNNER))
    if runners:
        settings = run.project.runner_settings
        api = live_runners.connection(settings.gitlab.url if settings else DEFAULT_GITLAB)
        pause(run, api, runners)
        if drain:
            wait_for_jobs(run, api, runners)
    run.drive(lambda on_event: run.stack.destroy(on_event=on_event, message=update_message()))
    return deployment.result(run)


def refuse_protected(run: Run) -> None:
    """Refuse a stack with protected resources.

    Raises:
        FailedError: names the resources, and says how to unprotect them.
    """
    project = run.project
    protected = [entry for entry in stack_state.require(project).resources if entry.get("protect")]
    if not protected:
        return
    names = ", ".join(label(entry["urn"]) for entry in protected[:MOST])
    more = f" and {len(protected) - MOST} more" if len(protected) > MOST else ""
    raise FailedError(
        f"stack {project.stack} is protected, nothing was touched: {names}{more}. To take it down, set "
        f"`platform: {{protect: false}}` in {project.settings_file.name}, `runner-platform up --stack {project.stack}`, "
        "then destroy"
    )


def pause(run: Run, api: gitlab.Gitlab, runners: Sequence[Runner]) -> None:
    """Stop the runners from taking jobs. A missing runner is no error.

    Raises:
        FailedError: GitLab refuses.
    """
    for runner in runners:
        _ask(api, lambda runner=runner: api.runners.update(runner.id, {"paused": True}))
    run.say(f"paused in GitLab: {', '.join(runner.name for runner in runners)}")


def wait_for_jobs(run: Run, api: gitlab.Gitlab, runners: Sequence[Runner]) -> None:
    """Wait until the runners have no running job, at most for the longest job's time.

    Raises:
        FailedError: jobs are still running after that time.
        InterruptedRunError: a signal stopped the run; the runners stay paused.
    """
    deadline, reported = time.monotonic() + max(runner.longest_job for runner in runners).total_seconds(), -1
    try:
        while jobs := [job for runner in runners for job in _running_jobs(api, runner)]:
            if len(jobs) != reported:
                reported = len(jobs)
                urls = ", ".join(str(job.get("web_url") or job["id"]) for job in jobs[:MOST])
                run.say(f"{reported} jobs still run: {urls}")
            if time.monotonic() > deadline:
                raise FailedError(
                    f"{reported} jobs still run after the longest time that their classes allow; the runners stay paused. "
                    "Cancel them in GitLab, or destroy with --now"
                )
            time.sleep(POLL_SECONDS)
    except InterruptedRunError:
        run.say("the runners stay paused; `runner-platform refresh`, then `up`, lets them take jobs again")
        raise
    run.say("no job runs any more")


def _runners(run: Run, entries: Sequence[StateEntry]) -> list[Runner]:
    settings = run.project.runner_settings
    seconds_by_tags = (
        {frozenset(settings.runner_tags(name)): runner.longest_job for name, runner in settings.runners.items()}
        if settings
        else {}
    )
    longest = max(seconds_by_tags.values(), default=0)

    def longest_job(entry: StateEntry) -> timedelta:
        return timedelta(seconds=seconds_by_tags.get(frozenset(entry["inputs"].get("tagLists") or ()), longest))

    return [
        Runner(
            id=int(entry["id"]),
            name=str(entry["inputs"].get("description") or entry["id"]),
            longest_job=longest_job(entry),
        )
        for entry in entries
    ]


def _running_jobs(api: gitlab.Gitlab, runner: Runner) -> list[dict[str, Any]]:
    jobs = _ask(api, lambda: api.http_list(f"/runners/{runner.id}/jobs", {"status": "running"}, get_all=True))
    return [dict(job) for job in jobs or ()]


def _ask(api: gitlab.Gitlab, call: Any) -> Any:
    """Call GitLab; return None if the runner does not exist."""
    try:
        return call()
    except gitlab.exceptions.GitlabError as error:
        if error.response_code == requests.codes.not_found:
            return None
        raise FailedError(f"GitLab at {api.url} refuses: {error}; its token needs manage_runner") from None
    except requests.RequestException as error:
        raise FailedError(f"GitLab at {api.url} cannot be reached: {error}") from None
