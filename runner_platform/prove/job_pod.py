"""A class's job pod, computed from its rendered configuration as GitLab Runner, Kubernetes and EKS would do it.

`runner_section` and `job_pod` do the part of the runner's Kubernetes executor: containers, requests, placement, security and the patches
of the pod's specification; no scripts, caches or services. The input is the text that the manager registers with, so a patch that is lost
on the way there is missing here too. `merged` is Kubernetes' strategic merge patch. `with_webhook` is EKS's identity webhook.
A test compares the pod with the one that the real GitLab Runner makes: `sandbox/tests/running/test_gitlab_runner.py`.
Source: https://docs.gitlab.com/runner/executors/kubernetes/
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import yaml

from components.documents.config_toml import GITLAB_HELPER_IMAGE
from components.documents.job_identity import FEATURE_FLAG
from components.documents.trust import WEB_IDENTITY_AUDIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUILD = "build"
HELPER = "helper"
JOB_TIMEOUT = 3600
"""GitLab's default, in seconds."""
KUBERNETES_GRACE = 30
DEADLINE_FLAG = "FF_USE_POD_ACTIVE_DEADLINE_SECONDS"
PULL_POLICIES = {"always": "Always", "if-not-present": "IfNotPresent", "never": "Never"}
FOLDERS = {"repo": "/builds", "scripts": "/scripts", "logs": "/logs"}
"""Empty folders that the containers share; the runner adds project and job to the last two names."""
WEBHOOK_PREFIX = "eks.amazonaws.com/"
WEBHOOK_FOLDER = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
WEBHOOK_VOLUME = "aws-iam-token"
WEBHOOK_TOKEN_SECONDS = 86400
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
}
"""`patchMergeKey` of the lists in a pod specification."""


class UnknownPatchError(ValueError):
    """A patch uses a feature that this module does not implement."""


def runner_section(template: str) -> dict[str, Any]:
    """Return the only `[[runners]]` section of a configuration template.

    Raises:
        ValueError: the text is not TOML, or does not have exactly one runner with a Kubernetes section.
    """
    runners = tomllib.loads(template).get("runners") or [{}]
    if len(runners) != 1 or "kubernetes" not in runners[0]:
        raise ValueError(f"it needs one [[runners]] section with [runners.kubernetes] and has {len(runners)} sections")
    section: dict[str, Any] = runners[0]
    return section


def job_pod(runner: Mapping[str, Any], name: str, timeout: int = JOB_TIMEOUT) -> dict[str, Any]:
    """Return a job pod of a `[[runners]]` section.

    Args:
        runner: the section.
        name: name of the pod.
        timeout: the job's, in seconds.

    Raises:
        UnknownPatchError: a patch uses a feature that this module does not implement.
    """
    kubernetes = runner["kubernetes"]
    tolerations = kubernetes.get("node_tolerations", {}).items()
    context = kubernetes.get("pod_security_context", {})
    spec: dict[str, Any] = {
        "serviceAccountName": kubernetes.get("service_account", "default"),
        "automountServiceAccountToken": kubernetes.get("automount_service_account_token", True),
        "nodeSelector": kubernetes.get("node_selector", {}),
        "tolerations": [_toleration(taint, effect) for taint, effect in tolerations],
        "securityContext": {_camel(key): value for key, value in context.items()},
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": kubernetes.get("pod_termination_grace_period_seconds", KUBERNETES_GRACE),
        "initContainers": [_container("init-permissions", kubernetes, "helper_")],
        "containers": [
            {**_container(BUILD, kubernetes, ""), "stdin": True},
            {**_container(HELPER, kubernetes, "helper_"), "stdin": True},
        ],
        "volumes": [{"name": volume, "emptyDir": {}} for volume in FOLDERS],
    }
    if _has_flag(runner, DEADLINE_FLAG):
        spec["activeDeadlineSeconds"] = timeout + 1  # GitLab ends the job first
    metadata = {
        "name": name,
        "namespace": kubernetes["namespace"],
        "labels": kubernetes.get("pod_labels", {}),
        "annotations": kubernetes.get("pod_annotations", {}),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": _patched(runner, spec)}


def runner_variables(runner: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that `environment` of the runner gives every job, besides the patch."""
    return {name: value for name, _, value in (line.partition("=") for line in runner.get("environment", []))}


def merged(original: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a strategic merge patch and return a new object.

    Lists with a merge key are merged item by item, other lists are replaced. `$patch` directives are an error: the platform writes none,
    and a proof must not guess. Source:
    https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md

    Raises:
        UnknownPatchError: the patch holds a directive.
    """
    result = dict(original)
    for key, value in patch.items():
        if key.startswith("$"):
            raise UnknownPatchError(f"the patch uses {key}, which this program does not implement")
        current = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(current if isinstance(current, dict) else {}, value)
        elif isinstance(value, list) and key in MERGE_KEYS:
            result[key] = _merged_items(current or [], value, MERGE_KEYS[key])
        else:
            result[key] = value
    return result


def with_webhook(pod: Mapping[str, Any], annotations: Mapping[str, str], region: str) -> dict[str, Any]:
    """Return the pod as EKS's identity webhook admits it; unchanged if the service account's annotations name no role.

    The platform's job accounts have no such annotation, on purpose. If somebody adds one, its variables beat the profiles in some SDKs,
    and a proof has to notice. Source: https://github.com/aws/amazon-eks-pod-identity-webhook
    """
    role = annotations.get(f"{WEBHOOK_PREFIX}role-arn")
    if not role:
        return dict(pod)
    added = {
        "AWS_ROLE_ARN": role,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{WEBHOOK_FOLDER}/token",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }
    containers = []
    for container in pod["spec"]["containers"]:
        present = {variable["name"] for variable in container.get("env", [])}
        containers.append(
            {
                "name": container["name"],
                # A variable that the container has already stays, even an empty one.
                "env": [{"name": name, "value": value} for name, value in added.items() if name not in present],
                "volumeMounts": [{"name": WEBHOOK_VOLUME, "mountPath": WEBHOOK_FOLDER, "readOnly": True}],
            }
        )
    token = {
        "audience": annotations.get(f"{WEBHOOK_PREFIX}audience", WEB_IDENTITY_AUDIENCE),
        "expirationSeconds": int(annotations.get(f"{WEBHOOK_PREFIX}token-expiration", WEBHOOK_TOKEN_SECONDS)),
        "path": "token",
    }
    volumes = [{"name": WEBHOOK_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}]
    return merged(pod, {"spec": {"containers": containers, "volumes": volumes}})


def _patched(runner: Mapping[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    if not _has_flag(runner, FEATURE_FLAG):
        return spec  # the runner ignores `pod_spec` without its feature flag
    for patch in runner["kubernetes"].get("pod_spec", []):
        if patch.get("patch_type", "strategic") != "strategic":
            raise UnknownPatchError(
                f"patch {patch.get('name')!r} is of type {patch['patch_type']}; this program implements strategic patches only"
            )
        spec = merged(spec, yaml.safe_load(patch["patch"]))
    return spec


def _merged_items(
    original: Sequence[Mapping[str, Any]], patch: Sequence[Mapping[str, Any]], key: str
) -> list[dict[str, Any]]:
    items = {item[key]: dict(item) for item in original}
    for item in patch:
        items[item[key]] = merged(items.get(item[key], {}), item)
    return list(items.values())


def _toleration(taint: str, effect: str) -> dict[str, str]:
    key, _, value = taint.partition("=")
    return {"key": key, "operator": "Equal", "value": value, "effect": effect}


def _container(name: str, kubernetes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    requests, limits = (_resources(kubernetes, prefix, kind) for kind in ("request", "limit"))
    image = kubernetes["image"] if name == BUILD else kubernetes.get("helper_image", GITLAB_HELPER_IMAGE)
    container = {
        "name": name,
        "image": image,
        "resources": {"requests": requests, "limits": limits},
        "securityContext": {
            "privileged": kubernetes["privileged"],
            "allowPrivilegeEscalation": kubernetes["allow_privilege_escalation"],
            "capabilities": {"drop": kubernetes["cap_drop"]},
        },
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in FOLDERS.items()],
    }
    policies = kubernetes.get("pull_policy")
    return {**container, "imagePullPolicy": PULL_POLICIES[policies[0]]} if policies else container


def _resources(kubernetes: Mapping[str, Any], prefix: str, kind: str) -> dict[str, str]:
    keys = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeral_storage"}
    values = {resource: kubernetes.get(f"{prefix}{key}_{kind}") for resource, key in keys.items()}
    return {resource: value for resource, value in values.items() if value}


def _has_flag(runner: Mapping[str, Any], flag: str) -> bool:
    return bool(runner.get("feature_flags", {}).get(flag))


def _camel(key: str) -> str:
    first, *words = key.split("_")
    return first + "".join(word.capitalize() for word in words)
