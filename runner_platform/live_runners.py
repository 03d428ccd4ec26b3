"""Compares the runners in GitLab with the settings. Reads only.

A Maintainer of the project may edit a project's runner, and the group's Owner a group's runner, so a runner may differ from the settings
that created it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import gitlab
import gitlab.exceptions
import requests

from components.documents.runner_object import RunnerAttributes, runner_attributes
from config.capabilities import Level
from runner_platform import stacks
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class LiveRunner:
    """One class's runner in GitLab."""

    runner_class: str
    id: int | None
    """None if the class has no runner."""
    projects: tuple[str, ...]
    """Full paths of the projects that may use the runner, as far as GitLab lists them; empty for a group's runner."""
    differences: tuple[str, ...]
    """Sentences; empty if the runner is as the settings say."""


def differences(expected: RunnerAttributes, live: Mapping[str, Any], *, level: Level) -> list[str]:
    """Differences of a runner from its settings, as sentences.

    Args:
        expected: the settings.
        live: GitLab's description (`GET /runners/:id`).
        level: the class's trust level.
    """
    sentences: list[str] = []
    for key in ("runner_type", "access_level", "locked", "maximum_timeout", "paused"):
        setting, actual = getattr(expected, key), live.get(key)
        if actual != setting:
            sentences.append(f"{key} is {actual!r} and should be {setting!r}")
    if live.get("run_untagged"):
        sentences.append("it runs untagged jobs and should not")
    if sorted(live.get("tag_list") or ()) != sorted(expected.tags):
        tags = ", ".join(live.get("tag_list") or ()) or "none"
        sentences.append(f"its tags are {tags} and should be {', '.join(expected.tags)}")
    owners = live.get("projects" if expected.runner_type == "project_type" else "groups") or ()
    owner_ids = [int(owner["id"]) for owner in owners]
    strangers = [str(owner_id) for owner_id in owner_ids if owner_id != expected.owner]
    if level is Level.PROTECTED and strangers:
        sentences.append(f"it serves {', '.join(strangers)} too, and should serve {expected.owner} alone")
    if expected.owner not in owner_ids:
        sentences.append(f"it does not serve {expected.owner}")
    return sentences


def connection(url: str) -> gitlab.Gitlab:
    """A connection with `GITLAB_TOKEN`; `GITLAB_BASE_URL` replaces the address if this machine reaches GitLab by another one.

    Raises:
        FailedError: there is no token.
    """
    token = os.environ.get("GITLAB_TOKEN")
    if not token:
        raise FailedError("GITLAB_TOKEN is not set; the comparison needs a token that may read runners (manage_runner)")
    base = os.environ.get("GITLAB_BASE_URL", url).rstrip("/").removesuffix("/api/v4")
    return gitlab.Gitlab(base, private_token=token, retry_transient_errors=True, timeout=30)


def of_stack(stack: str, say: Callable[[str], None]) -> list[LiveRunner]:
    """Compare the runners of a deployed stack.

    Args:
        stack: name of the stack.
        say: gets the address of the GitLab that is asked.

    Raises:
        FailedError: the stack's outputs or GitLab cannot be read.
    """
    settings = stacks.settings_of(stack)
    api = connection(settings.gitlab.url)
    say(api.url)
    if settings.gitlab.runners == "external":
        return compare(settings, external_ids(settings, stacks.external_tokens(settings), api), api)
    outputs = stacks.outputs(stack).get("runner_ids") or {}
    return compare(settings, {name: int(runner_id) for name, runner_id in outputs.items()}, api)


def compare(settings: Settings, ids: Mapping[str, int], api: gitlab.Gitlab) -> list[LiveRunner]:
    """Compare every class's runner.

    Args:
        settings: settings of the stack.
        ids: runner ids by class; a missing class has no runner.
        api: the connection.

    Raises:
        FailedError: GitLab refuses or cannot be reached.
    """
    return [_compare_class(settings, name, ids.get(name), api) for name in settings.runners]


def _compare_class(settings: Settings, name: str, runner_id: int | None, api: gitlab.Gitlab) -> LiveRunner:
    if runner_id is None:
        problem = "the stack has no runner for this class; `pulumi up` creates it"
        return LiveRunner(runner_class=name, id=None, projects=(), differences=(problem,))
    try:
        live = api.runners.get(runner_id).attributes
    except gitlab.exceptions.GitlabGetError as error:
        if error.response_code == HTTPStatus.NOT_FOUND:
            problem = f"runner {runner_id} does not exist any more; `pulumi refresh`, then `pulumi up` creates another"
            return LiveRunner(runner_class=name, id=runner_id, projects=(), differences=(problem,))
        raise FailedError(f"GitLab refuses to show runner {runner_id}: {error.error_message}") from None
    except (gitlab.exceptions.GitlabError, requests.RequestException) as error:
        raise FailedError(f"GitLab at {api.url} does not answer: {error}") from None
    projects = live.get("projects") or ()
    expected, level = runner_attributes(settings.runner_class(name)), settings.runners[name].level
    return LiveRunner(
        runner_class=name,
        id=runner_id,
        projects=tuple(str(project.get("path_with_namespace", project["id"])) for project in projects),
        differences=tuple(differences(expected, live, level=level)),
    )


def external_ids(settings: Settings, tokens: Mapping[str, str], api: gitlab.Gitlab) -> dict[str, int]:
    """Ids of runners that were created outside of the program, looked up by their tokens (`POST /runners/verify`).

    Raises:
        FailedError: GitLab does not know a token.
    """
    ids: dict[str, int] = {}
    for name in settings.runners:
        if name not in tokens:
            continue
        try:
            runner = api.http_post("/runners/verify", post_data={"token": tokens[name]})
        except gitlab.exceptions.GitlabError as error:
            raise FailedError(f"GitLab does not know the token of class {name}: {error.error_message}") from None
        ids[name] = int(runner["id"])  # type: ignore[index]  # a JSON object, by GitLab's reference
    return ids
