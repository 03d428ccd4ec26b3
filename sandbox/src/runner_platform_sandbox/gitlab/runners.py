"""The rules of runners: who may create, see, change, share and delete which, and what a runner must look like.

Owns each endpoint as a function from caller and parameters to an answer; raises `errors.RefusedError` with GitLab's words.
Leaves out HTTP and storage. The rules are those of https://docs.gitlab.com/api/runners/ and
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
"""What can be set, with GitLab's defaults."""
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
    """Create a runner; its token is in the answer and never shown again."""
    kind = parameters.get("runner_type")
    if kind not in _TYPES:
        raise errors.malformed("runner_type does not have a valid value" if kind else "runner_type is missing")
    scope = _scope(store, caller, str(kind), parameters)
    fields = {**_FIELDS, **_typed(parameters)}
    broken = _broken(fields)
    if broken:
        sentences = [f"{field.replace('_', ' ').capitalize()} {why}" for field, whys in broken.items() for why in whys]
        raise errors.bad_request(" and ".join(sentences))
    runner = store.add_runner({**fields, "runner_type": kind, "managers": {}, "resets": 0, **scope})
    return {"id": runner["id"], "token": runner["token"], "token_expires_at": None}


def _scope(store: Store, caller: Body, kind: str, parameters: Parameters) -> Body:
    """Return where the runner lives, if the caller may put one there."""
    if kind == "instance_type":
        if not caller.get("admin"):
            raise errors.forbidden("Insufficient permissions")
        return {"group_id": None, "project_ids": []}
    key = "group_id" if kind == "group_type" else "project_id"
    given = parameters.get(key)
    if given is None:
        raise errors.malformed(f"{key} is missing")
    found = store.group(str(given)) if kind == "group_type" else store.project(str(given))
    if found is None:
        raise errors.bad_request("Missing/invalid scope")
    if kind == "group_type":
        if store.role(caller, group=found["id"]) < Role.OWNER:
            raise errors.forbidden("Insufficient permissions")
        return {"group_id": found["id"], "project_ids": []}
    if store.role(caller, project=found["id"]) < Role.MAINTAINER:
        raise errors.forbidden("Insufficient permissions")
    return {"group_id": None, "project_ids": [found["id"]]}


def _typed(parameters: Mapping[str, Any]) -> Body:
    """Return the settable fields of a request in their types; forms send everything as text."""
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
    """Return the greatest role that a caller has over a runner: that of its group or of one of its projects."""
    if runner["group_id"] is not None:
        return store.role(caller, group=runner["group_id"])
    roles = [store.role(caller, project=project) for project in runner["project_ids"]]
    return max([*roles, Role.OWNER if caller.get("admin") else Role.NONE])


def _require(store: Store, caller: Body, runner: Body) -> None:
    """Refuse whoever may not administer the runner: Owner of its group, Maintainer of one of its projects."""
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
    """Delete a runner; one that several projects share must be taken from them first."""
    runner = find(store, identifier)
    if len(runner["project_ids"]) > 1:
        raise errors.forbidden("Runner associated with more than one project")
    _require(store, caller, runner)
    del store.runners[identifier]
    store.save()


def reset_token(store: Store, caller: Body, identifier: str) -> Body:
    """Give a runner a new token; the old one ends at once."""
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
    """List the runners that a project may use: its own and those of its group."""
    project = store.project(project_id)
    if project is None or store.role(caller, project=project["id"]) == Role.NONE:
        raise errors.not_found("Project")
    if store.role(caller, project=project["id"]) < Role.MAINTAINER:
        raise errors.forbidden()
    mine = [
        runner
        for runner in store.runners.values()
        if project["id"] in runner["project_ids"] or str(runner["group_id"]) == project["group"]
    ]
    return [summary(runner) for runner in mine]


def summary(runner: Body) -> Body:
    """Return a runner as lists show it."""
    status = "online" if runner["managers"] else "never_contacted"
    shown = {
        **runner,
        "active": not runner["paused"],
        "is_shared": runner["runner_type"] == "instance_type",
        "name": "gitlab-runner" if runner["managers"] else None,
        "online": bool(runner["managers"]),
        "status": status,
    }
    return {key: shown[key] for key in _SHOWN_IN_LISTS}


def details(store: Store, runner: Body) -> Body:
    """Return a runner as its own page shows it; the token is not on it."""
    group = store.group(str(runner["group_id"])) if runner["group_id"] is not None else None
    projects = [found for found in (store.project(str(identifier)) for identifier in runner["project_ids"]) if found]
    return {
        **summary(runner),
        **{key: runner[key] for key in _FIELDS},
        "contacted_at": None,
        "created_at": _CREATED_AT,
        "groups": [{"id": group["id"], "name": group["path"], "web_url": ""}] if group else [],
        "projects": [{"id": item["id"], "path_with_namespace": item["path"]} for item in projects],
    }


def managers(store: Store, caller: Body, identifier: str) -> list[Body]:
    """List the processes that use a runner's token."""
    runner = find(store, identifier)
    if role(store, caller, runner) < Role.MAINTAINER:
        raise errors.forbidden("No access granted")
    return [{"id": number, "system_id": system} for system, number in runner["managers"].items()]


def verify(store: Store, parameters: Parameters) -> Body:
    """Accept a runner's token, as a manager does at its start, and remember the manager."""
    runner = store.runner_of_token(str(parameters.get("token", "")))
    if runner is None:
        raise errors.forbidden()
    system = parameters.get("system_id")
    if system and system not in runner["managers"]:
        runner["managers"][str(system)] = len(runner["managers"]) + 1
        store.save()
    return {"id": runner["id"], "token": runner["token"], "token_expires_at": None}


def unregister_manager(store: Store, parameters: Parameters) -> None:
    """Forget a manager, as its end does."""
    runner = store.runner_of_token(str(parameters.get("token", "")))
    if runner is None:
        raise errors.forbidden()
    if runner["managers"].pop(str(parameters.get("system_id")), None) is None:
        raise errors.not_found()
    store.save()
