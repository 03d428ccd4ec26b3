"""Taking a stack down: its runners take no more jobs first, running jobs end or not as was asked, then the engine deletes.

What is protected is refused before anything is touched, runners included.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import gitlab
import gitlab.exceptions
import requests

from config.settings import Settings
from runner_platform import live_runners
from runner_platform.driver import lost_runners, operations, state
from runner_platform.driver.events import label
from runner_platform.driver.session import message
from runner_platform.errors import FailedError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner_platform.driver.operations import Result
    from runner_platform.driver.session import Session
    from runner_platform.driver.state import Resource

POLL_SECONDS: Final = 15.0
SHOWN: Final = 8


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A runner of the stack in GitLab."""

    id: int
    name: str
    patience: timedelta
    """The longest time that one of its jobs may take."""


def destroy(session: Session, *, drain: bool) -> Result:
    """Delete everything of a stack but what is kept on purpose.

    Args:
        session: the run.
        drain: whether running jobs are waited for.

    Raises:
        FailedError: something is protected, GitLab cannot be asked, or the engine failed.
    """
    refuse_protected(session)
    operations.ready(session)
    runners = _runners(session, state.require(session.project).of_type(lost_runners.RUNNER))
    if runners:
        api = _connection(session)
        pause(session, api, runners)
        if drain:
            wait_for_jobs(session, api, runners)
    session.drive(lambda on_event: session.stack.destroy(on_event=on_event, message=message()))
    return operations.result(session)


def refuse_protected(session: Session) -> None:
    """Refuse while something of the stack is protected.

    Raises:
        FailedError: names what is, and how to unprotect it.
    """
    guarded = [each for each in state.require(session.project).resources if each.get("protect")]
    if not guarded:
        return
    named = ", ".join(label(each["urn"]) for each in guarded[:SHOWN])
    more = f" and {len(guarded) - SHOWN} more" if len(guarded) > SHOWN else ""
    raise FailedError(
        f"stack {session.project.stack} is protected, nothing was touched: {named}{more}. To take it down, set "
        f"`platform: {{protect: false}}` in {session.project.settings_file.name}, `runner-platform up --stack {session.project.stack}`, "
        "then destroy"
    )


def pause(session: Session, api: gitlab.Gitlab, runners: Sequence[Runner]) -> None:
    """Let the runners take no more jobs; one that is gone already is no error.

    Raises:
        FailedError: GitLab refuses.
    """
    for runner in runners:
        _asked(api, lambda runner=runner: api.runners.update(runner.id, {"paused": True}))
    session.say(f"paused in GitLab: {', '.join(runner.name for runner in runners)}")


def wait_for_jobs(session: Session, api: gitlab.Gitlab, runners: Sequence[Runner]) -> None:
    """Wait until no job runs on any of them, at most the longest job's time.

    Raises:
        FailedError: jobs are still running after that time.
        InterruptedRunError: somebody asked the run to stop; the runners stay paused.
    """
    deadline, told = time.monotonic() + max(runner.patience for runner in runners).total_seconds(), -1
    try:
        while running := [(runner, job) for runner in runners for job in _jobs(api, runner)]:
            if len(running) != told:
                told = len(running)
                urls = ", ".join(str(job.get("web_url") or job["id"]) for _, job in running[:SHOWN])
                session.say(f"{told} jobs still run: {urls}")
            if time.monotonic() > deadline:
                raise FailedError(
                    f"{told} jobs still run after the longest time that their classes allow; the runners stay paused. "
                    "Cancel them in GitLab, or destroy with --now"
                )
            time.sleep(POLL_SECONDS)
    except InterruptedRunError:
        session.say("the runners stay paused; `runner-platform refresh`, then `up`, lets them take jobs again")
        raise
    session.say("no job runs any more")


def _runners(session: Session, known: Sequence[Resource]) -> list[Runner]:
    settings = session.project.settings if session.project.ours else None
    tags = (
        {settings.names.tag(name): each.longest_job for name, each in settings.runners.items()}
        if isinstance(settings, Settings)
        else {}
    )
    longest = max(tags.values(), default=0)
    return [
        Runner(
            id=int(each["id"]),
            name=str(each["inputs"].get("description") or each["id"]),
            patience=timedelta(
                seconds=max((tags.get(tag, longest) for tag in each["inputs"].get("tagLists") or ()), default=longest)
            ),
        )
        for each in known
    ]


def _connection(session: Session) -> gitlab.Gitlab:
    settings = session.project.settings if session.project.ours else None
    return live_runners.connection(settings.gitlab.url if settings else lost_runners.DEFAULT_URL)


def _jobs(api: gitlab.Gitlab, runner: Runner) -> list[dict[str, Any]]:
    found = _asked(api, lambda: api.http_list(f"/runners/{runner.id}/jobs", {"status": "running"}, get_all=True))
    return [dict(each) for each in found or ()]


def _asked(api: gitlab.Gitlab, call: Any) -> Any:
    try:
        return call()
    except gitlab.exceptions.GitlabError as error:
        if error.response_code == requests.codes.not_found:
            return None
        raise FailedError(f"GitLab at {api.url} refuses: {error}; its token needs manage_runner") from None
    except requests.RequestException as error:
        raise FailedError(f"GitLab at {api.url} cannot be reached: {error}") from None
