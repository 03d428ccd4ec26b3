"""GitLab's rules of runners: who may create, see, change, share and delete them, and their valid fields.

Each endpoint is a function from caller and parameters to an answer; it raises `errors.RefusedError` with GitLab's words.
The rules are those of https://docs.gitlab.com/api/runners/ and
https://docs.gitlab.com/api/users/#create-a-runner-linked-to-a-user; jobs, statistics and instance runners are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab import errors
from runner_platform_sandbox.gitlab.store import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.gitlab.store import Body, Store

Parameters = dict[str, Any]

_LEAST_TIMEOUT: Final = 600
_LONGEST_NOTE: Final = 1024
_CREATED_AT: Final = "2026-01-01T00:00:00.000Z"
_TYPES: Final = ("instance_type", "group_type", "project_type")
_LEVELS: Final = ("not_protected", "ref_protected")
_FIELDS: Final[dict[str, Any]] = {
    "description": "",
    "maintenance_note": None,
    "paused": False,
    "locked": False,
    "access_level": "not_protected",
    "run_untagged": True,
    "tag_list": [],
    "maximum_timeout": None,
}
"""Settable fields with GitLab's defaults."""
_BOOLEANS: Final = ("paused", "locked", "run_untagged")
_SHOWN_IN_LISTS: Final = (
    "id",
    "description",
    "active",
    "paused",
    "is_shared",
    "runner_type",
    "name",
    "online",
    "status",
)


def create(store: Store, caller: Body, parameters: Parameters) -> Body:
    """Create a runner. The answer has the token; no later answer does."""
    runner_type = parameters.get("runner_type")
    if runner_type not in _TYPES:
        raise errors.malformed("runner_type does not have a valid value" if runner_type else "runner_type is missing")
    scope = _scope(store, caller, str(runner_type), parameters)
    fields = {**_FIELDS, **_typed(parameters)}
    broken = _broken(fields)
    if broken:
        sentences = [
            f"{field.replace('_', ' ').capitalize()} {rule}" for field, rules in broken.items() for rule in rules
        ]
        raise errors.bad_request(" and ".join(sentences))
    runner = store.add_runner({**fields, "runner_type": runner_type, "managers": {}, "resets": 0, **scope})
    return {"id": runner["id"], "token": runner["token"], "token_expires_at": None}


def _scope(store: Store, caller: Body, runner_type: str, parameters: Parameters) -> Body:
    """Return the runner's group and projects, if the caller may create a runner there."""
    if runner_type == "instance_type":
        if not caller.get("admin"):
            raise errors.forbidden("Insufficient permissions")
        return {"group_id": None, "project_ids": []}
    key = "group_id" if runner_type == "group_type" else "project_id"
    identifier = parameters.get(key)
    if identifier is None:
        raise errors.malformed(f"{key} is missing")
    owner = store.group(str(identifier)) if runner_type == "group_type" else store.project(str(identifier))
    if owner is None:
        raise errors.bad_request("Missing/invalid scope")
    if runner_type == "group_type":
        if store.role(caller, group=owner["id"]) < Role.OWNER:
            raise errors.forbidden("Insufficient permissions")
        return {"group_id": owner["id"], "project_ids": []}
    if store.role(caller, project=owner["id"]) < Role.MAINTAINER:
        raise errors.forbidden("Insufficient permissions")
    return {"group_id": None, "project_ids": [owner["id"]]}


def _typed(parameters: Mapping[str, Any]) -> Body:
    """Return the settable fields of a request in their types; a form sends every value as text."""
    fields: Body = {}
    for name, value in parameters.items():
        if name in _BOOLEANS:
            if str(value).lower() not in {"true", "false", "1", "0"}:
                raise errors.malformed(f"{name} is invalid")
            fields[name] = str(value).lower() in {"true", "1"}
        elif name == "maximum_timeout":
            if value not in (None, "") and not str(value).isdigit():
                raise errors.malformed("maximum_timeout is invalid")
            fields[name] = int(value) if value not in (None, "") else None
        elif name == "tag_list":
            tags = value.split(",") if isinstance(value, str) else list(value or [])
            fields[name] = sorted({str(tag).strip() for tag in tags if str(tag).strip()})
        elif name in _FIELDS:
            fields[name] = value
    if fields.get("access_level", _LEVELS[0]) not in _LEVELS:
        raise errors.malformed("access_level does not have a valid value")
    return fields


def _broken(fields: Body) -> dict[str, list[str]]:
    """Return the broken rules of a runner, by field."""
    broken: dict[str, list[str]] = {}
    if not fields["run_untagged"] and not fields["tag_list"]:
        broken["tags_list"] = ["can not be empty when runner is not allowed to pick untagged jobs"]
    timeout = fields["maximum_timeout"]
    if timeout is not None and timeout < _LEAST_TIMEOUT:
        broken["maximum_timeout"] = ["needs to be at least 10 minutes"]
    if len(fields["maintenance_note"] or "") > _LONGEST_NOTE:
        broken["maintenance_note"] = [f"is too long (maximum is {_LONGEST_NOTE} characters)"]
    return broken


def find(store: Store, identifier: str) -> Body:
    """Return a runner by id."""
    if not identifier.isdigit():
        raise errors.malformed("id is invalid")
    runner = store.runners.get(identifier)
    if runner is None:
        raise errors.not_found()
    return runner


def role(store: Store, caller: Body, runner: Body) -> Role:
    """Return the caller's greatest role over a runner, in the runner's group or in one of its projects."""
    if runner["group_id"] is not None:
        return store.role(caller, group=runner["group_id"])
    roles = [store.role(caller, project=project) for project in runner["project_ids"]]
    return max([*roles, Role.OWNER if caller.get("admin") else Role.NONE])


def _require(store: Store, caller: Body, runner: Body) -> None:
    """Refuse a caller below Owner of the runner's group and below Maintainer of its projects."""
    least = Role.OWNER if runner["group_id"] is not None else Role.MAINTAINER
    if role(store, caller, runner) < least:
        raise errors.forbidden("No access granted")


def show(store: Store, caller: Body, identifier: str) -> Body:
    """Return a runner's details."""
    runner = find(store, identifier)
    if role(store, caller, runner) < Role.MAINTAINER:
        raise errors.forbidden("No access granted")
    return details(store, runner)


def update(store: Store, caller: Body, identifier: str, parameters: Parameters) -> Body:
    """Change a runner and return its details."""
    runner = find(store, identifier)
    _require(store, caller, runner)
    fields = _typed(parameters)
    if not fields:
        raise errors.malformed(f"{', '.join(_FIELDS)} are missing, at least one parameter must be provided")
    broken = _broken({**runner, **fields})
    if broken:
        raise errors.invalid(broken)
    runner.update(fields)
    store.save()
    return details(store, runner)


def delete(store: Store, caller: Body, identifier: str) -> None:
    """Delete a runner. GitLab refuses while several projects share it."""
    runner = find(store, identifier)
    if len(runner["project_ids"]) > 1:
        raise errors.forbidden("Runner associated with more than one project")
    _require(store, caller, runner)
    del store.runners[identifier]
    store.save()


def reset_token(store: Store, caller: Body, identifier: str) -> Body:
    """Give a runner a new token. The old token ends at once."""
    runner = find(store, identifier)
    _require(store, caller, runner)
    runner["resets"] += 1
    runner["token"] = store.new_token(runner["id"], runner["resets"])
    store.save()
    return {"token": runner["token"], "token_expires_at": None}


def assign(store: Store, caller: Body, project_id: str, parameters: Parameters) -> Body:
    """Let one more project use a project runner."""
    project = store.project(project_id)
    if project is None or store.role(caller, project=project["id"]) == Role.NONE:
        raise errors.not_found("Project")
    if store.role(caller, project=project["id"]) < Role.MAINTAINER:
        raise errors.forbidden()
    runner = find(store, str(parameters.get("runner_id", "")))
    if runner["group_id"] is not None:
        raise errors.forbidden("Runner is a group runner")
    if runner["locked"] and not caller.get("admin"):
        raise errors.forbidden("Runner is locked")
    if role(store, caller, runner) < Role.MAINTAINER:
        raise errors.forbidden("No access granted")
    if project["id"] not in runner["project_ids"]:
        runner["project_ids"].append(project["id"])
        store.save()
    return summary(runner)


def of_group(store: Store, caller: Body, group_id: str) -> list[Body]:
    """List the runners of a group."""
    group = store.group(group_id)
    if group is None or store.role(caller, group=group["id"]) == Role.NONE:
        raise errors.not_found("Group")
    if store.role(caller, group=group["id"]) < Role.MAINTAINER:
        raise errors.forbidden()
    return [summary(runner) for runner in store.runners.values() if runner["group_id"] == group["id"]]


def of_project(store: Store, caller: Body, project_id: str) -> list[Body]:
    """List the runners of a project and of its group."""
    project = store.project(project_id)
    if project is None or store.role(caller, project=project["id"]) == Role.NONE:
        raise errors.not_found("Project")
    if store.role(caller, project=project["id"]) < Role.MAINTAINER:
        raise errors.forbidden()
    usable = [
        runner
        for runner in store.runners.values()
        if project["id"] in runner["project_ids"] or str(runner["group_id"]) == project["group"]
    ]
    return [summary(runner) for runner in usable]


def summary(runner: Body) -> Body:
    """Return the fields of a runner in lists."""
    status = "online" if runner["managers"] else "never_contacted"
    fields = {
        **runner,
        "active": not runner["paused"],
        "is_shared": runner["runner_type"] == "instance_type",
        "name": "gitlab-runner" if runner["managers"] else None,
        "online": bool(runner["managers"]),
        "status": status,
    }
    return {key: fields[key] for key in _SHOWN_IN_LISTS}


def details(store: Store, runner: Body) -> Body:
    """Return all fields of a runner except the token."""
    group = store.group(str(runner["group_id"])) if runner["group_id"] is not None else None
    projects = [project for identifier in runner["project_ids"] if (project := store.project(str(identifier)))]
    return {
        **summary(runner),
        **{key: runner[key] for key in _FIELDS},
        "contacted_at": None,
        "created_at": _CREATED_AT,
        "groups": [{"id": group["id"], "name": group["path"], "web_url": ""}] if group else [],
        "projects": [{"id": project["id"], "path_with_namespace": project["path"]} for project in projects],
    }


def managers(store: Store, caller: Body, identifier: str) -> list[Body]:
    """List the managers of a runner: the processes with its token."""
    runner = find(store, identifier)
    if role(store, caller, runner) < Role.MAINTAINER:
        raise errors.forbidden("No access granted")
    return [{"id": number, "system_id": system} for system, number in runner["managers"].items()]


def verify(store: Store, parameters: Parameters) -> Body:
    """Accept a runner's token at a manager's start, and remember the manager."""
    runner = store.runner_of_token(str(parameters.get("token", "")))
    if runner is None:
        raise errors.forbidden()
    system = parameters.get("system_id")
    if system and system not in runner["managers"]:
        runner["managers"][str(system)] = len(runner["managers"]) + 1
        store.save()
    return {"id": runner["id"], "token": runner["token"], "token_expires_at": None}


def unregister_manager(store: Store, parameters: Parameters) -> None:
    """Forget a manager at its end."""
    runner = store.runner_of_token(str(parameters.get("token", "")))
    if runner is None:
        raise errors.forbidden()
    if runner["managers"].pop(str(parameters.get("system_id")), None) is None:
        raise errors.not_found()
    store.save()
