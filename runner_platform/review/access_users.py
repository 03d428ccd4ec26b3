"""The first hop, which is GitLab's: which projects may use a class.

Owns the sentence per class, from the settings, with names where a token lets GitLab be asked. Whether the live runner is as the settings say
is `runner-platform runners`' business.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from config.capabilities import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings


def users(settings: Settings, say: Callable[[str], None] | None = None) -> dict[str, str]:
    """Who may use each class.

    Args:
        settings: of the stack.
        say: is told which GitLab is asked, and why it could not be; None to ask nobody.
    """
    owners = {
        name: ("project", runner.project) if runner.project else ("group", runner.group or settings.gitlab.group)
        for name, runner in settings.runners.items()
    }
    names = (
        _names({owner for owner in owners.values() if owner[1]}, settings, say)
        if say is not None and os.environ.get("GITLAB_TOKEN")
        else {}
    )
    found = {}
    for name, runner in settings.runners.items():
        kind, number = owners[name]
        shown = names.get((kind, number), f"{kind} {number}") if number else "whoever holds its token"
        whose = shown if kind == "project" or not number else f"every project of {shown}"
        found[name] = f"{whose}, protected branches and tags" if runner.level is Level.PROTECTED else whose
    return found


def _names(
    owners: set[tuple[str, str | None]], settings: Settings, say: Callable[[str], None]
) -> dict[tuple[str, str | None], str]:
    from gitlab.exceptions import GitlabError  # noqa: PLC0415  # same
    from requests import RequestException  # noqa: PLC0415  # same

    from runner_platform import live_runners  # noqa: PLC0415  # GitLab's client takes a while to import

    api = live_runners.connection(settings.gitlab.url)
    say(f"target: GitLab at {api.url}")
    found = {}
    for kind, number in sorted(owners, key=str):
        try:
            if kind == "project":
                found[kind, number] = str(api.projects.get(str(number)).path_with_namespace)
            else:
                found[kind, number] = str(api.groups.get(str(number), with_projects=False).full_path)
        except (GitlabError, RequestException) as error:
            say(f"{kind} {number} is shown by its number: GitLab says {getattr(error, 'error_message', error)}")
    return found
