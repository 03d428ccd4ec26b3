"""What a release may configure beyond the values that can be read: templates, files, other sources of variables, expressions.

GitLab Runner's chart runs the configuration through Helm's templates, and the runner reads patches from files in its own container. A service
account or an overwrite that comes from there is not known, so nothing about the jobs of that runner is certain.
Sources: https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/,
https://docs.gitlab.com/runner/executors/kubernetes/#overwrite-generated-pod-specifications, https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from access import runner_toml
from access.decision import Undecided
from access.resource import UNKNOWN, at, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
"""A name in Kubernetes; another text is filled in by something."""
OTHER_SYNTAX = re.compile(r"\[\[:|\[\^?\[:|\\[pPQECzAB]|\$\{|\{\{")
"""Parts of an expression that Go reads otherwise than Python, or that something fills in."""
OTHER_SOURCES = (("runners", "configPath"), ("preEntrypointScript",))
"""Helm values that bring another configuration."""
VARIABLES = (("extraEnv",), ("extraEnvFrom",))
"""Helm values with further variables of the manager, by name."""
ACCOUNT_KEYS = ("serviceAccountName", "serviceAccount")
VOLUME_DEPTH = 2
"""Parts of the path of a volume in a JSON patch."""


def doubt_of(values: Any, namespace: str) -> Undecided | None:
    """Return the first reason why a release's jobs may run otherwise than its values say; None without one.

    Args:
        values: the release's Helm values, whose configuration can be read.
        namespace: the release's namespace.
    """
    reason = next(_doubts(values), None)
    return Undecided(f"the runner's configuration in namespace {namespace}: {reason}") if reason else None


def _doubts(values: Any) -> Iterator[str]:
    text = str(at(values, "runners", "config"))
    if "{{" in text:
        yield "the chart fills in template expressions"
    for path in OTHER_SOURCES:
        if at(values, *path):
            yield f"{'.'.join(path)} can replace it"
    for path in VARIABLES:
        variables = at(values, *path)
        names = variables if isinstance(variables, Mapping) else ["KUBERNETES_"] if variables else []
        yield from (f"{path[0]} sets {name}" for name in names if str(name).startswith("KUBERNETES_"))
    environment = {str(at(entry, "name")): entry for entry in listed(at(values, "envVars"))}
    for name, entry in environment.items():
        if name.startswith("KUBERNETES_") and ("valueFrom" in entry or at(entry, "value") is UNKNOWN):
            yield f"the value of the variable {name} is not known"
    for section in listed(runner_toml.read(text).runners):
        yield from _of_section(section.get("kubernetes", {}), environment)


def _of_section(settings: Mapping[str, Any], environment: Mapping[str, Any]) -> Iterator[str]:
    for key in ("namespace", "service_account"):
        expression = f"{key}_overwrite_allowed"
        for name, texts in ((key, NAME), (expression, None)):
            variable = at(environment.get(f"KUBERNETES_{name.upper()}"), "value")
            for value in (settings.get(name), variable):
                if texts is not None and value and texts.fullmatch(str(value)) is None:
                    yield f"the {key} {value!r} is not a name of Kubernetes"
                if texts is None and value and OTHER_SYNTAX.search(str(value)):
                    yield f"{expression} {value!r} is read otherwise by the runner"
    if settings.get("namespace_per_job"):
        yield "every job gets a namespace of its own"
    for patch in settings.get("pod_spec", ()):
        yield from _of_patch(patch)


def _of_patch(patch: Mapping[str, Any]) -> Iterator[str]:
    if patch.get("patch_path"):
        yield f"a patch of pods is in the file {patch['patch_path']}"
    content = yaml.safe_load(str(patch.get("patch", ""))) or {}
    if isinstance(content, Mapping):
        names = [content[key] for key in ACCOUNT_KEYS if content.get(key) is not None]
    else:
        names = [at(step, "value") for step in content if _path(step)[0] in ACCOUNT_KEYS]
        yield from (f"the patch {step.get('path')!r} of pods cannot be read" for step in content if _is_opaque(step))
    for name in names:
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            yield f"the service account {name!r} in a patch of pods is not a name of Kubernetes"


def _path(step: Mapping[str, Any]) -> list[str]:
    return str(step.get("path", "")).strip("/").split("/")


def _is_opaque(step: Mapping[str, Any]) -> bool:
    """Whether a step of a JSON patch changes a service account or a volume in a way that is not read."""
    path = _path(step)
    if path[0] in ("", *ACCOUNT_KEYS, "volumes") and step.get("op") in ("copy", "move"):
        return True
    return path == [""] or (path[0] == "volumes" and len(path) > VOLUME_DEPTH)
