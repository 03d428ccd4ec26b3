"""Job pods as GitLab Runner makes them from a class's rendered configuration.

Owns what `prove` and the sandbox's tests need of the executor: containers, requests, placement, security, and the patch of the pod's
specification. Leaves out scripts, caches and services. The input is the text that the manager registers with, so a patch that is lost
on the way there is missing here too.
Source: https://docs.gitlab.com/runner/executors/kubernetes/
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import yaml

from components.documents.job_identity import FEATURE_FLAG
from runner_platform.prove.merge import UnknownPatchError, merged

if TYPE_CHECKING:
    from collections.abc import Mapping

BUILD = "build"
HELPER = "helper"


def runner_section(template: str) -> dict[str, Any]:
    """The one `[[runners]]` of a configuration template.

    Raises:
        ValueError: it is not TOML, or has no runner.
    """
    runners = tomllib.loads(template).get("runners") or [{}]
    if len(runners) != 1 or "kubernetes" not in runners[0]:
        raise ValueError(f"it has {len(runners)} runners, and none with a [runners.kubernetes] section")
    section: dict[str, Any] = runners[0]
    return section


def job_pod(runner: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A job pod of this configuration.

    Raises:
        UnknownPatchError: it is patched in a way that is not understood here.
    """
    kubernetes = runner["kubernetes"]
    tolerations = kubernetes.get("node_tolerations", {}).items()
    context = kubernetes.get("pod_security_context", {})
    spec: dict[str, Any] = {
        "serviceAccountName": kubernetes.get("service_account", "default"),
        "automountServiceAccountToken": kubernetes.get("automount_service_account_token", True),
        "nodeSelector": kubernetes.get("node_selector", {}),
        "tolerations": [_toleration(each, effect) for each, effect in tolerations],
        "securityContext": {_camel(key): value for key, value in context.items()},
        "restartPolicy": "Never",
        "initContainers": [_container("init-permissions", kubernetes, "helper_")],
        "containers": [_container(BUILD, kubernetes, ""), _container(HELPER, kubernetes, "helper_")],
        "volumes": [{"name": each, "emptyDir": {}} for each in ("repo", "scripts", "logs")],
    }
    metadata = {"name": name, "namespace": kubernetes["namespace"], "labels": kubernetes.get("pod_labels", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": _patched(runner, spec)}


def variables(runner: Mapping[str, Any]) -> dict[str, str]:
    """What `environment` of the runner gives every job, besides the patch."""
    return {name: value for name, _, value in (each.partition("=") for each in runner.get("environment", []))}


def _patched(runner: Mapping[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    if not runner.get("feature_flags", {}).get(FEATURE_FLAG):
        return spec  # the runner passes over `pod_spec` without its flag
    for patch in runner["kubernetes"].get("pod_spec", []):
        if patch.get("patch_type", "strategic") != "strategic":
            raise UnknownPatchError(
                f"patch {patch.get('name')!r} is of type {patch['patch_type']}; only strategic ones are understood"
            )
        spec = merged(spec, yaml.safe_load(patch["patch"]))
    return spec


def _toleration(text: str, effect: str) -> dict[str, str]:
    key, _, value = text.partition("=")
    return {"key": key, "operator": "Equal", "value": value, "effect": effect}


def _container(name: str, kubernetes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    keys = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeral_storage"}
    requests = {resource: kubernetes[f"{prefix}{key}_request"] for resource, key in keys.items()}
    return {
        "name": name,
        "image": kubernetes["image"],
        "resources": {"requests": requests, "limits": {"memory": kubernetes[f"{prefix}memory_limit"]}},
        "securityContext": {
            "privileged": kubernetes["privileged"],
            "allowPrivilegeEscalation": kubernetes["allow_privilege_escalation"],
            "capabilities": {"drop": kubernetes["cap_drop"]},
        },
    }


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)
