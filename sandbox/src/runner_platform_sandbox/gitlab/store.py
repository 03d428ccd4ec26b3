"""The state of the GitLab stand-in, one JSON file: groups, projects, access tokens, runners, and the roles of callers.

Ids and runner tokens follow from a counter and a seed, so a kept state gives the same answers after a restart.
https://docs.gitlab.com/user/permissions/
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.disk import replace
from runner_platform_sandbox.environment import GITLAB_TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Body = dict[str, Any]


class Role(IntEnum):
    """GitLab's roles, with GitLab's numbers."""

    NONE = 0
    DEVELOPER = 30
    MAINTAINER = 40
    OWNER = 50


def default_seed() -> Body:
    """Return the groups, projects and tokens of a new sandbox.

    The ids are those of the committed stack files. `runner-platform sandbox env` prints the first token.
    """
    return {
        "groups": {"1234": {"path": "senncloud"}, "4321": {"path": "another-company"}},
        "projects": {
            "5678": {"path": "senncloud/deployments", "group": "1234"},
            "5679": {"path": "senncloud/website", "group": "1234"},
            "8765": {"path": "another-company/secrets", "group": "4321"},
        },
        "tokens": {
            GITLAB_TOKEN: {"user": "platform", "groups": {"1234": "OWNER"}},
            "glpat-sandbox-maintainer": {"user": "maintainer", "projects": {"5678": "MAINTAINER"}},
            "glpat-sandbox-developer": {"user": "developer", "groups": {"1234": "DEVELOPER"}},
        },
    }


class Store:
    """Groups, projects, tokens and runners of one GitLab stand-in. Not locked: the server runs one rule at a time.

    Args:
        folder: Folder of `gitlab.json`; made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "gitlab.json"
        folder.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self._state: Body = json.loads(self._file.read_text())
        else:
            self._state = {**default_seed(), "runners": {}, "next": 1, "seed": secrets.token_hex(16)}
            self.save()

    def save(self) -> None:
        """Write the state to disk."""
        replace(self._file, json.dumps(self._state, indent=1, sort_keys=True))

    def merge_seed(self, seed: Mapping[str, Mapping[str, Any]]) -> None:
        """Add or replace groups, projects, tokens, and jobs by the id of their runner."""
        for section in ("groups", "projects", "tokens", "jobs"):
            self._state.setdefault(section, {}).update(seed.get(section) or {})
        self.save()

    @property
    def runners(self) -> dict[str, Body]:
        """Runners by id; each holds GitLab's fields and, beside them, `token`, `group_id`, `project_ids`, `managers`."""
        runners: dict[str, Body] = self._state["runners"]
        return runners

    def jobs_of(self, runner: str) -> list[Body]:
        """Return the jobs of a runner, newest first."""
        return list((self._state.get("jobs") or {}).get(runner, []))

    def caller(self, token: str | None) -> Body | None:
        """Return the owner of an access token, or None for an unknown token."""
        owner = self._state["tokens"].get(token or "")
        return None if owner is None else dict(owner)

    def group(self, identifier: str) -> Body | None:
        """Return a group by id or path, with its id."""
        return self._find("groups", identifier)

    def project(self, identifier: str) -> Body | None:
        """Return a project by id or path, with its id and its default branch."""
        project = self._find("projects", identifier)
        return None if project is None else {"default_branch": "main", **project}

    def add_project(self, fields: Body) -> Body:
        """Keep a new project with an id, and return it."""
        number = 1 + max(int(key) for key in self._state["projects"])
        self._state["projects"][str(number)] = fields
        self.save()
        return {"id": number, **fields}

    def change_project(self, identifier: int, fields: Body) -> None:
        """Change fields of a project."""
        self._state["projects"][str(identifier)].update(fields)
        self.save()

    def _find(self, section: str, identifier: str) -> Body | None:
        for key, value in self._state[section].items():
            if identifier in {key, value["path"]}:
                return {"id": int(key), **value}
        return None

    def role(self, caller: Mapping[str, Any], *, group: int | None = None, project: int | None = None) -> Role:
        """Return a caller's role in a group or a project. A role in a group also counts in the group's projects."""
        if caller.get("admin"):
            return Role.OWNER
        role = Role.NONE
        if project is not None:
            role = Role[(caller.get("projects") or {}).get(str(project), "NONE")]
            group = int(self._state["projects"][str(project)]["group"])
        return max(role, Role[(caller.get("groups") or {}).get(str(group), "NONE")])

    def add_runner(self, fields: Body) -> Body:
        """Keep a new runner with an id and a token, and return it."""
        number = int(self._state["next"])
        self._state["next"] = number + 1
        runner = {**fields, "id": number, "token": self.new_token(number)}
        self.runners[str(number)] = runner
        self.save()
        return runner

    def new_token(self, number: int, generation: int = 0) -> str:
        """Return the authentication token of a runner after `generation` resets."""
        digest = hashlib.sha256(f"{self._state['seed']}/{number}/{generation}".encode()).digest()
        return "glrt-" + base64.urlsafe_b64encode(digest)[:20].decode()

    def runner_of_token(self, token: str) -> Body | None:
        """Return the runner with this authentication token."""
        return next((runner for runner in self.runners.values() if runner["token"] == token), None)
