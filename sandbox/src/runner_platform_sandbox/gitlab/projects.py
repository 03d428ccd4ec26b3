"""GitLab's rules of projects: creating and showing them, protected branches and tags, variables.

Each endpoint is a function from caller and parameters to an answer, as in `runners`. The rules are those of
https://docs.gitlab.com/api/projects/, /protected_branches/, /protected_tags/ and /project_level_variables/.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab import errors
from runner_platform_sandbox.gitlab.ci.variables import Variable
from runner_platform_sandbox.gitlab.store import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.gitlab.store import Body, Store

_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_VARIABLE: Final = re.compile(r"[A-Za-z0-9_]{1,255}")
_MAINTAINERS: Final = {"access_level": 40, "access_level_description": "Maintainers"}
_CREATED_AT: Final = "2026-01-01T00:00:00.000Z"
PROTECTED: Final = {"branches": "protected_branches", "tags": "protected_tags"}
"""Keys of a project's protected names, by kind."""


def find(store: Store, caller: Body, identifier: str, least: Role = Role.DEVELOPER) -> Body:
    """Return a project by id or path.

    Raises:
        RefusedError: 404 if the caller may not see it, 403 below the least role.
    """
    project = store.project(identifier)
    role = Role.NONE if project is None else store.role(caller, project=project["id"])
    if project is None or role == Role.NONE:
        raise errors.not_found("Project")
    if role < least:
        raise errors.forbidden()
    return project


def create(store: Store, caller: Body, parameters: Mapping[str, Any]) -> Body:
    """Create a project in a group."""
    path = str(parameters.get("path") or parameters.get("name") or "")
    if not path:
        raise errors.malformed("name, path are missing, at least one parameter must be provided")
    group = store.group(str(parameters.get("namespace_id", "")))
    if group is None:
        raise errors.invalid({"namespace": ["is not valid"]})
    if store.role(caller, group=group["id"]) < Role.DEVELOPER:
        raise errors.forbidden()
    if not _PATH.fullmatch(path):
        raise errors.invalid({"path": ["can contain only letters, digits, '_', '-' and '.'"]})
    full = f"{group['path']}/{path}"
    if store.project(full) is not None:
        raise errors.invalid({"path": ["has already been taken"], "name": ["has already been taken"]})
    branch = str(parameters.get("default_branch") or "main")
    return store.add_project({"path": full, "group": str(group["id"]), "default_branch": branch})


def details(project: Mapping[str, Any], base: str) -> Body:
    """Return a project as GitLab shows it."""
    path = str(project["path"])
    namespace, _, name = path.rpartition("/")
    return {
        "id": project["id"],
        "name": name,
        "path": name,
        "name_with_namespace": path.replace("/", " / "),
        "path_with_namespace": path,
        "description": None,
        "created_at": _CREATED_AT,
        "default_branch": project["default_branch"],
        "http_url_to_repo": f"{base}/{path}.git",
        "web_url": f"{base}/{path}",
        "visibility": "private",
        "namespace": {
            "id": int(project["group"]),
            "name": namespace,
            "path": namespace,
            "kind": "group",
            "full_path": namespace,
        },
        "ci_default_git_depth": 20,
        "build_timeout": 3600,
        "auto_cancel_pending_pipelines": "enabled",
    }


def protected_names(project: Mapping[str, Any], kind: str) -> list[str]:
    """Return the protected names and patterns of a kind: `branches` or `tags`. A new project protects its default branch."""
    first = [project["default_branch"]] if kind == "branches" else []
    return list(project.get(PROTECTED[kind], first))


def is_protected(project: Mapping[str, Any], ref: str, *, tag: bool = False) -> bool:
    """Whether a branch or tag is protected."""
    return any(fnmatchcase(ref, name) for name in protected_names(project, "tags" if tag else "branches"))


def protect(store: Store, project: Body, kind: str, parameters: Mapping[str, Any]) -> Body:
    """Protect a branch or a tag, or all that match a pattern."""
    name = str(parameters.get("name") or "")
    if not name:
        raise errors.malformed("name is missing")
    names = protected_names(project, kind)
    if name in names:
        message = f"Protected {kind[:-2] if kind == 'branches' else kind[:-1]} '{name}' already exists"
        raise errors.conflict(message)
    store.change_project(project["id"], {PROTECTED[kind]: [*names, name]})
    return protection(name, kind)


def unprotect(store: Store, project: Body, kind: str, name: str) -> None:
    """Take the protection away."""
    names = protected_names(project, kind)
    if name not in names:
        raise errors.not_found()
    store.change_project(project["id"], {PROTECTED[kind]: [kept for kept in names if kept != name]})


def protection(name: str, kind: str) -> Body:
    """Return a protected name as GitLab shows it."""
    if kind == "tags":
        return {"name": name, "create_access_levels": [_MAINTAINERS]}
    return {
        "id": 1,
        "name": name,
        "push_access_levels": [_MAINTAINERS],
        "merge_access_levels": [_MAINTAINERS],
        "allow_force_push": False,
        "code_owner_approval_required": False,
    }


def add_variable(store: Store, project: Body, parameters: Mapping[str, Any]) -> Body:
    """Add a variable to a project's settings."""
    key, value = str(parameters.get("key") or ""), parameters.get("value")
    if not key or value is None:
        raise errors.malformed(", ".join(f"{name} is missing" for name in ("key", "value") if not parameters.get(name)))
    if not _VARIABLE.fullmatch(key):
        raise errors.invalid({"key": ["can contain only letters, digits and '_'."]})
    variables = dict(project.get("variables", {}))
    if key in variables:
        raise errors.invalid({"key": [f"({key}) has already been taken"]})
    variable = {
        "variable_type": str(parameters.get("variable_type", "env_var")),
        "key": key,
        "value": str(value),
        "protected": _truth(parameters.get("protected")),
        "masked": _truth(parameters.get("masked")),
        "raw": _truth(parameters.get("raw")),
        "environment_scope": str(parameters.get("environment_scope", "*")),
    }
    store.change_project(project["id"], {"variables": {**variables, key: variable}})
    return variable


def remove_variable(store: Store, project: Body, key: str) -> None:
    """Take a variable out of a project's settings."""
    variables = dict(project.get("variables", {}))
    if variables.pop(key, None) is None:
        raise errors.not_found("Variable")
    store.change_project(project["id"], {"variables": variables})


def variables(project: Mapping[str, Any]) -> list[Variable]:
    """Return the variables of a project's settings."""
    return [
        Variable(
            name=variable["key"],
            value=variable["value"],
            raw=variable["raw"],
            public=False,
            masked=variable["masked"],
            file=variable["variable_type"] == "file",
            protected=variable["protected"],
            environment_scope=variable["environment_scope"],
        )
        for variable in project.get("variables", {}).values()
    ]


def _truth(value: object) -> bool:
    return str(value).lower() in {"true", "1"}
