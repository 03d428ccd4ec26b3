"""One run: push the folder, start the pipeline and the managers, show traces until the end, and leave nothing behind."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import gitlab
import gitlab.exceptions
import requests

from config import load
from runner_platform_sandbox import lock, organization
from runner_platform_sandbox.deployed_stack import running_state, settings_of
from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.errors import FAILED, INTERRUPTED, WRONG_USE, SandboxError
from runner_platform_sandbox.job_execution import executing
from runner_platform_sandbox.run import components, newcomer, snapshot
from runner_platform_sandbox.run.jobs import JobWatch
from runner_platform_sandbox.run.pods import remove_pods
from runner_platform_sandbox.run.report import conclusion, table
from runner_platform_sandbox.terminal import sayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gitlab.v4.objects import Project, ProjectPipeline
    from rich.console import Console

    from config.settings import Settings
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.runner_managers import RunnerManager

POLL_SECONDS: Final = 1.0
CANCEL_SECONDS: Final = 60.0
"""How long canceled jobs may take to end by themselves."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a person asked for."""

    file: Path | None
    """The pipeline file, or its folder; None for the newcomer's pipeline."""
    project: str
    """Full path of the project."""
    ref: str | None
    protected: bool
    job: str | None
    """The only job that is wanted."""
    stack: str
    real_pods: bool = False
    """Runs jobs in real pods, not as processes."""

    @property
    def branch(self) -> str:
        """The ref that was named, else a protected one or one that is not."""
        return self.ref or ("main" if self.protected else "trial")


def run(paths: Paths, order: Order, console: Console) -> int:
    """Run a pipeline to its end.

    Returns:
        Exit code: 0 if the pipeline succeeded, 1 if not, 3 after Ctrl-C.

    Raises:
        SandboxError: Something is missing or wrong; the message says the next step.
    """
    folder, text = _source(order)
    current, settings = running_state(paths), settings_of(order.stack)
    client = gitlab.Gitlab(f"http://127.0.0.1:{current.ports.gitlab}", private_token=GITLAB_TOKEN, timeout=30)
    # The managers of a class have one folder, so a stack has one run at a time.
    with lock.held(paths, file=paths.root / f"run-{order.stack}.lock"):
        return _run(paths, order, settings, client, folder, text, console)


def _run(
    paths: Paths,
    order: Order,
    settings: Settings,
    client: gitlab.Gitlab,
    folder: Path | None,
    text: str,
    console: Console,
) -> int:
    try:
        project = _project(client, order)
        text = text or newcomer.pipeline_text(settings, organization.read().accounts)
        components.publish(client, text)
        branch = f"refs/heads/{order.branch}"
        snapshot.push(project.http_url_to_repo, GITLAB_TOKEN, [branch], folder=folder, pipeline_file=text)
        with _interruptible():
            pipeline = _pipeline(project, order)
            sayer(console)(f"pipeline {pipeline.id} of {order.project}, branch {order.branch}: {pipeline.web_url}")
            return _finish(paths, order, settings, project, pipeline, console)
    except gitlab.exceptions.GitlabError as error:
        raise SandboxError(f"the sandbox's GitLab refuses: {error.error_message}") from error
    except requests.RequestException as error:
        raise SandboxError(
            f"the sandbox's GitLab does not answer: {type(error).__name__}",
            "look at it: `runner-platform sandbox status`",
        ) from error


def _source(order: Order) -> tuple[Path | None, str]:
    """Return the folder and the text of the pipeline file; None and nothing for the newcomer's."""
    if order.file is None:
        return None, ""
    file = order.file / snapshot.PIPELINE_FILE if order.file.is_dir() else order.file
    try:
        return file.resolve().parent, file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {type(error).__name__}"
        raise SandboxError(
            f"the pipeline file {file} {reason}",
            "name a file in GitLab's format, or none for the pipeline that the sandbox brings",
            exit_code=WRONG_USE,
        ) from error


def _project(client: gitlab.Gitlab, order: Order) -> Project:
    """Return the project, made if it does not exist, with the protection that was asked for."""
    project = components.project(client, order.project)
    if order.protected and order.branch not in [branch.name for branch in project.protectedbranches.list(get_all=True)]:
        project.protectedbranches.create({"name": order.branch})
    return project


def _pipeline(project: Project, order: Order) -> ProjectPipeline:
    parameters = {"ref": order.branch} | ({} if order.job is None else {"sandbox_job": order.job})
    try:
        return project.pipelines.create(parameters)
    except gitlab.exceptions.GitlabCreateError as error:
        message = error.error_message
        reasons = message.get("base", [message]) if isinstance(message, dict) else [message]
        raise SandboxError(
            f"{order.file or 'the pipeline file'}: {'; '.join(map(str, reasons))}", exit_code=WRONG_USE
        ) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C inside the block."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _finish(
    paths: Paths, order: Order, settings: Settings, project: Project, pipeline: ProjectPipeline, console: Console
) -> int:
    """Run the jobs of a pipeline to their ends, whatever happens, and show the table."""
    say = sayer(console)
    class_of = {tag: name for name in settings.runners for tag in settings.runner_tags(name)}
    watch = JobWatch(project, pipeline, console, chosen=order.job)
    interrupted = False
    try:
        classes = _classes(watch, settings, class_of, order)
        with executing(paths, order.stack, classes, say, real_pods=order.real_pods) as managers:
            try:
                while not watch.step():
                    _require_alive(managers)
                    time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                interrupted = True
                _cancel(watch, say)
    except BaseException as error:
        watch.cancel(force=True)
        if isinstance(error, KeyboardInterrupt):
            raise SandboxError("interrupted", f"pipeline {pipeline.id} is canceled", exit_code=INTERRUPTED) from None
        raise
    finally:
        removed = remove_pods(paths, order.stack, watch.started_ids())
        if removed:
            say(f"{removed} pods of jobs stayed behind and were removed")
    watch.step()
    console.print(table(watch.jobs, class_of))
    say(conclusion(pipeline.id, watch.status, watch.jobs))
    if interrupted:
        return INTERRUPTED
    return 0 if watch.status == "success" else FAILED


def _classes(watch: JobWatch, settings: Settings, class_of: dict[str, str], order: Order) -> list[str]:
    """Return the classes that the jobs' tags name.

    Raises:
        SandboxError: A job can never run: no class of the stack, or no runner, takes it.
    """
    classes: dict[str, None] = {}
    for job in watch.jobs:
        names = [class_of[tag] for tag in job["tag_list"] if tag in class_of]
        if not names:
            tags = ", ".join(f"`{tag}`" for tag in job["tag_list"]) or "no tag"
            raise SandboxError(
                f"job `{job['name']}` has {tags}, and no runner class of stack {order.stack} takes it",
                f"use one of {', '.join(class_of)}{_other_stack(job['tag_list'], order.stack)}",
            )
        if job.get("sandbox_stuck"):
            raise SandboxError(str(job["sandbox_stuck"]), _unstuck(str(job["sandbox_stuck"]), order))
        classes |= dict.fromkeys(names)
    return [name for name in settings.runners if name in classes]


def _other_stack(tags: list[str], stack: str) -> str:
    for name in load.stacks():
        settings = load.of_stack(name)
        if name != stack and any({*tags} & {*settings.runner_tags(runner)} for runner in settings.runners):
            return f", or run it on stack {name}: `--stack {name}`"
    return ""


def _unstuck(sentence: str, order: Order) -> str:
    if "is not protected" in sentence:
        return "run it on a protected branch: `--protected`"
    if "is paused" in sentence:
        return f"`pulumi up -s {order.stack}` makes the runner take jobs again"
    return f"deploy the stack if it is not: `make up`; a locked runner takes jobs of its own project only: `--project`, now {order.project}"


def _require_alive(managers: list[RunnerManager]) -> None:
    for manager in managers:
        if not manager.alive:
            raise SandboxError(
                f"the runner manager of class {manager.runner_class} ended in the middle of the pipeline\n{manager.log_end()}"
            )


def _cancel(watch: JobWatch, say: Callable[[str], None]) -> None:
    """Cancel the pipeline and wait until its jobs have ended; a second Ctrl-C does not wait."""
    say("interrupted: canceling the pipeline, and waiting until its jobs have ended (Ctrl-C again: not waiting)")
    watch.cancel()
    deadline = time.monotonic() + CANCEL_SECONDS
    try:
        while not watch.step() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        say("interrupted again")
    watch.cancel(force=True)
