"""The runners as GitLab has them, against the settings.

A Maintainer of the project may edit a project's runner, and a group's Owner may edit the group's: so what the program once set is
compared with what is there now. Reads only.
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
    """One class's runner as it was found."""

    runner_class: str
    id: int | None
    """None where there is no runner to look at."""
    projects: tuple[str, ...]
    """Full paths of the projects that may use it, as far as GitLab lists them; empty for a group's runner."""
    differences: tuple[str, ...]
    """Sentences; empty where the runner is as the settings say."""


def differences(wanted: RunnerAttributes, live: Mapping[str, Any], *, level: Level) -> list[str]:
    """What differs between a runner as it should be and as GitLab describes it (`GET /runners/:id`)."""
    found: list[str] = []
    for key in ("runner_type", "access_level", "locked", "maximum_timeout", "paused"):
        expected, actual = getattr(wanted, key), live.get(key)
        if actual != expected:
            found.append(f"{key} is {actual!r} and should be {expected!r}")
    if live.get("run_untagged"):
        found.append("it runs untagged jobs and should not")
    if sorted(live.get("tag_list") or ()) != [wanted.tag]:
        found.append(f"its tags are {', '.join(live.get('tag_list') or ()) or 'none'} and should be {wanted.tag}")
    owners = [
        int(each["id"]) for each in live.get("projects" if wanted.runner_type == "project_type" else "groups") or ()
    ]
    strangers = [each for each in owners if each != wanted.owner]
    if level is Level.PROTECTED and strangers:
        found.append(f"it serves {', '.join(map(str, strangers))} too, and should serve {wanted.owner} alone")
    if wanted.owner not in owners:
        found.append(f"it does not serve {wanted.owner}")
    return found


def connection(url: str) -> gitlab.Gitlab:
    """A connection with `GITLAB_TOKEN`; `GITLAB_BASE_URL`, where it is set, says how to reach the instance from here.

    Raises:
        FailedError: there is no token.
    """
    token = os.environ.get("GITLAB_TOKEN")
    if not token:
        raise FailedError("GITLAB_TOKEN is not set; the comparison needs a token that may read runners (manage_runner)")
    base = os.environ.get("GITLAB_BASE_URL", url).rstrip("/").removesuffix("/api/v4")
    return gitlab.Gitlab(base, private_token=token, retry_transient_errors=True, timeout=30)


def of_stack(stack: str, say: Callable[[str], None]) -> list[LiveRunner]:
    """Compare the runners of a deployed stack; `say` is told first which GitLab is asked.

    Raises:
        FailedError: the stack's outputs or GitLab cannot be read.
    """
    settings = stacks.settings_of(stack)
    api = connection(settings.gitlab.url)
    say(api.url)
    if settings.gitlab.runners == "external":
        return compare(settings, external_ids(settings, stacks.external_tokens(settings), api), api)
    ids = {name: int(found) for name, found in (stacks.outputs(stack).get("runner_ids") or {}).items()}
    return compare(settings, ids, api)


def compare(settings: Settings, ids: Mapping[str, int], api: gitlab.Gitlab) -> list[LiveRunner]:
    """Compare every class's runner.

    Args:
        settings: settings of the stack.
        ids: runner ids by class; a class that is missing has no runner.
        api: the connection.

    Raises:
        FailedError: GitLab refuses or cannot be reached.
    """
    return [_compare_one(settings, name, ids.get(name), api) for name in settings.runners]


def _compare_one(settings: Settings, name: str, runner_id: int | None, api: gitlab.Gitlab) -> LiveRunner:
    if runner_id is None:
        return LiveRunner(
            runner_class=name,
            id=None,
            projects=(),
            differences=("the stack has no runner for this class; `pulumi up` makes it",),
        )
    try:
        live = api.runners.get(runner_id).attributes
    except gitlab.exceptions.GitlabGetError as error:
        if error.response_code == HTTPStatus.NOT_FOUND:
            text = f"runner {runner_id} does not exist any more; `pulumi refresh`, then `pulumi up` makes another"
            return LiveRunner(runner_class=name, id=runner_id, projects=(), differences=(text,))
        raise FailedError(f"GitLab refuses to show runner {runner_id}: {error.error_message}") from None
    except (gitlab.exceptions.GitlabError, requests.RequestException) as error:
        raise FailedError(f"GitLab at {api.url} cannot be asked: {error}") from None
    projects = tuple(str(each.get("path_with_namespace", each["id"])) for each in live.get("projects") or ())
    wanted, level = runner_attributes(settings.runner_class(name)), settings.runners[name].level
    return LiveRunner(
        runner_class=name, id=runner_id, projects=projects, differences=tuple(differences(wanted, live, level=level))
    )


def external_ids(settings: Settings, tokens: Mapping[str, str], api: gitlab.Gitlab) -> dict[str, int]:
    """Ids of runners that somebody else made, found by their tokens (`POST /runners/verify`).

    Raises:
        FailedError: a token is not known to GitLab.
    """
    found: dict[str, int] = {}
    for name in settings.runners:
        if name not in tokens:
            continue
        try:
            answer = api.http_post("/runners/verify", post_data={"token": tokens[name]})
        except gitlab.exceptions.GitlabError as error:
            raise FailedError(f"GitLab does not know the token of class {name}: {error.error_message}") from None
        found[name] = int(answer["id"])  # type: ignore[index]  # a JSON object, by GitLab's reference
    return found
