"""What a runner's configuration lets its jobs be: their service accounts, and the tokens that their pods carry.

Owns reading one Helm release: the TOML text with all its `[[runners]]`, the environment twins of its settings, patches of the pod's
specification, and overwrites by jobs, whose regular expressions GitLab does not anchor. What cannot be read is undecided.
Source: https://docs.gitlab.com/runner/executors/kubernetes/
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from access.answers import Truth, Undecided
from access.resources import UNKNOWN, at

DEFAULT_ACCOUNT = "default"
KUBERNETES_AUDIENCE = "https://kubernetes.default.svc"


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """One `[[runners]]`: where its jobs run, and as whom."""

    namespace: str
    accounts: tuple[str, ...]
    """Service accounts that its pods have: the configured one, and what patches name."""
    audiences: tuple[str, ...]
    """Of the tokens that its pods carry by themselves."""
    namespace_overwrite: str = ""
    account_overwrite: str = ""
    images: tuple[str, ...] = ()
    """Patterns of the images that jobs may name, services included; empty means every image."""
    default_images: tuple[str, ...] = ()
    """Images that run without being named."""
    cache: str = ""
    """`<bucket>/<path>/`; empty without a cache on S3."""

    def may_run_as(self, namespace: str, account: str) -> Truth:
        """Whether a job may run as a service account."""
        if isinstance(found := _allowed(self.namespace, self.namespace_overwrite, namespace), Undecided) or not found:
            return found
        if account in self.accounts:
            return True
        return _allowed("", self.account_overwrite, account)


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """A release's configuration."""

    runners: tuple[Kubernetes, ...] = ()
    undecided: Undecided | None = None
    """Why it could not be read, whole or in part."""
    manager_account: str = DEFAULT_ACCOUNT
    environment: Mapping[str, str] = field(default_factory=dict)


def read(values: Any, namespace: str) -> RunnerConfig:
    """The configuration of a release.

    Args:
        values: its Helm values.
        namespace: its own namespace, which jobs run in if nothing else is said.
    """
    manager = at(values, "serviceAccount", "name")
    manager = manager if isinstance(manager, str) and manager else DEFAULT_ACCOUNT
    text = at(values, "runners", "config")
    if not isinstance(text, str):
        return RunnerConfig(undecided=Undecided("the runner's configuration is not known"), manager_account=manager)
    try:
        sections = tomllib.loads(text).get("runners", [])
        environment = _environment(values)
        found = tuple(_kubernetes(section, environment, namespace) for section in sections)
    except (
        tomllib.TOMLDecodeError,
        yaml.YAMLError,
        TypeError,
        AttributeError,
        ValueError,
        LookupError,
        RecursionError,
    ) as error:
        return RunnerConfig(
            undecided=Undecided(f"the runner's configuration cannot be read: {type(error).__name__}"),
            manager_account=manager,
        )
    return RunnerConfig(runners=found, manager_account=manager, environment=environment)


def _environment(values: Any) -> dict[str, str]:
    # Every setting has a variable of the manager that says the same; the two are taken together.
    listed = at(values, "envVars")
    if listed is UNKNOWN:
        raise ValueError("the manager's variables are not known")
    return {str(each["name"]): str(each.get("value", "")) for each in listed or ()}


def _kubernetes(section: Mapping[str, Any], environment: Mapping[str, str], namespace: str) -> Kubernetes:
    its = section.get("kubernetes", {})
    patches = [_patch(each) for each in its.get("pod_spec", ())]
    audiences = [audience for patch in patches for audience in _audiences(patch)]
    if its.get("automount_service_account_token", True):
        audiences.append(KUBERNETES_AUDIENCE)
    accounts = [
        environment.get("KUBERNETES_SERVICE_ACCOUNT", ""),
        its.get("service_account", ""),
        *(str(patch.get(key, "")) for patch in patches for key in ("serviceAccountName", "serviceAccount")),
    ]
    images = [*its.get("allowed_images", ()), *its.get("allowed_services", ())]
    both = "allowed_images" in its and "allowed_services" in its
    return Kubernetes(
        namespace=environment.get("KUBERNETES_NAMESPACE") or its.get("namespace") or namespace,
        accounts=tuple(dict.fromkeys(each for each in accounts if each)) or (DEFAULT_ACCOUNT,),
        audiences=tuple(dict.fromkeys(audiences)),
        namespace_overwrite=_overwrite(its, environment, "namespace"),
        account_overwrite=_overwrite(its, environment, "service_account"),
        images=tuple(dict.fromkeys(images)) if both else (),
        default_images=tuple(each for each in (its.get("image"), its.get("helper_image")) if each),
        cache=_cache(section.get("cache", {})),
    )


def _overwrite(its: Mapping[str, Any], environment: Mapping[str, str], what: str) -> str:
    expressions = [
        str(its.get(f"{what}_overwrite_allowed", "")),
        environment.get(f"KUBERNETES_{what.upper()}_OVERWRITE_ALLOWED", ""),
    ]
    given = [each for each in expressions if each]
    return "|".join(f"(?:{each})" for each in given)


def _patch(each: Mapping[str, Any]) -> Mapping[str, Any]:
    """A patch as an object; JSON patches are lists, and are read as if each value were merged in."""
    found = yaml.safe_load(str(each.get("patch", ""))) or {}
    if isinstance(found, Mapping):
        return found
    merged: dict[str, Any] = {}
    for operation in found:
        path, value = str(operation.get("path", "")).strip("/").split("/"), operation.get("value")
        if path[0] in ("serviceAccountName", "serviceAccount"):
            merged[path[0]] = value
        elif path[0] == "volumes":
            merged.setdefault("volumes", []).extend(value if isinstance(value, list) else [value])
    return merged


def _audiences(patch: Mapping[str, Any]) -> list[str]:
    return [
        str(token.get("audience") or KUBERNETES_AUDIENCE)
        for volume in patch.get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if (token := source.get("serviceAccountToken")) is not None
    ]


def _cache(cache: Mapping[str, Any]) -> str:
    bucket = (cache.get("s3") or {}).get("BucketName") if str(cache.get("Type", "")).lower() == "s3" else None
    path = str(cache.get("Path", "")).strip("/")
    return f"{bucket}/{path}/" if bucket and path else f"{bucket}/" if bucket else ""


def _allowed(own: str, expression: str, wanted: str) -> Truth:
    """Whether a job gets what it wants: its own, or what an expression finds anywhere in it, as the runner looks."""
    if wanted == own:
        return True
    if not expression:
        return False
    try:
        return re.search(expression, wanted) is not None
    except re.error:
        return Undecided(f"the expression {expression} cannot be read")
