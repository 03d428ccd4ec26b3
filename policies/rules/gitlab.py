"""The rule of runner objects in GitLab: what binds a class to protected branches is there, not in our files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from components.documents.runner_object import runner_attributes
from config.capabilities import Level
from policies.rule import stack_rule
from policies.tokens import RUNNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from policies.rule import Case
    from policies.stack import Stack


@stack_rule(
    "R08",
    "gitlab-runner-binds-its-class",
    demands="each class's runner in GitLab has its one tag, and a protected class's is locked, for protected refs, of its project",
    stops="A18: a merge request's pipeline runs on the runner that deploys to prod",
    remedy="Leave the runner to components/runner_object.py; level, project and tag stand in the stack file.",
    settings=("runners.{runner}",),
    source="https://docs.gitlab.com/ci/pipelines/merge_request_pipelines/; OWASP CICD-SEC-4",
    severity=Severity.CRITICAL,
)
def runners_are_bound(stack: Stack) -> Iterator[tuple[str, str]]:
    """Attributes of every runner, and a runner for every protected class."""
    settings = stack.surroundings.runners
    if settings is None or settings.gitlab.runners != "managed":
        return
    tags = {runner_attributes(settings, each).tag: each for each in settings.runners}
    served = set()
    for runner in stack.of(RUNNER):
        found = runner["tagLists"]
        named = found.texts()
        runner_class = tags.get(named[0]) if len(named) == 1 else None
        if found.unknown:
            continue
        if runner_class is None:
            yield runner.urn, "tagLists is not the tag of one class: jobs of others would run on it"
            continue
        served.add(runner_class)
        yield from ((runner.urn, text) for text in _differences(runner, settings, runner_class))
    for each, its in settings.runners.items():
        if its.level is Level.PROTECTED and each not in served:
            yield "", f"class {each} is protected and has no runner in GitLab that says so"


def _differences(runner: Case, settings: Settings, runner_class: str) -> Iterator[str]:
    wanted = runner_attributes(settings, runner_class)
    of_project = wanted.runner_type == "project_type"
    texts = {"runnerType": wanted.runner_type, "accessLevel": wanted.access_level}
    for key, expected in texts.items():
        if runner[key].text() not in {expected, None}:
            yield f"{key} is not {expected}"
    # GitLab's own defaults hold where nothing is said: untagged jobs run, and nothing is locked.
    for key, expected_flag, default in (("untagged", False, True), ("locked", wanted.locked, False)):
        if runner[key].flag(default=default) not in {expected_flag, None}:
            yield f"{key} is not {str(expected_flag).lower()}"
    numbers = {"projectId" if of_project else "groupId": wanted.owner, "maximumTimeout": wanted.maximum_timeout}
    for key, number in numbers.items():
        if runner[key].number(default=-1) not in {number, None}:
            yield f"{key} is not {number}"
