"""Job pods as the runner makes them from a class's configuration, and their identity as a process has it.

The runner itself cannot run here. What it would do with the rendered `config.toml` is done from that text: containers, requests,
placement, security, and the pod patch by Kubernetes' own rule (containers and volumes are merged by name).
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import yaml

from components.documents.identity import pod_patch
from config.names import namespace_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox.kubernetes.client import KubeClient
    from tests.sandbox.live import Sandbox

AUDIENCE = "sts.amazonaws.com"
WHO = "import boto3, sys; print(boto3.Session(profile_name=sys.argv[1] or None).client('sts').get_caller_identity()['Arn'])"


def configuration(values_yaml: str) -> dict[str, Any]:
    """The `[runners.kubernetes]` section of rendered Helm values."""
    values = yaml.safe_load(values_yaml)
    section: dict[str, Any] = tomllib.loads(values["runners"]["config"])["runners"][0]["kubernetes"]
    return section


def job_pod(kubernetes: Mapping[str, Any], name: str, **build: Any) -> dict[str, Any]:
    """A job pod of this configuration; `build` replaces keys of the build container, as a job might try."""
    toleration, effect = next(iter(kubernetes["node_tolerations"].items()))
    key, _, value = toleration.partition("=")
    context = kubernetes["pod_security_context"]
    spec: dict[str, Any] = {
        "serviceAccountName": kubernetes["service_account"],
        "automountServiceAccountToken": kubernetes["automount_service_account_token"],
        "nodeSelector": kubernetes["node_selector"],
        "tolerations": [{"key": key, "operator": "Equal", "value": value, "effect": effect}],
        "securityContext": {"seccompProfile": context["seccomp_profile"]},
        "restartPolicy": "Never",
        "initContainers": [_container("init-permissions", kubernetes, "helper_")],
        "containers": [_container("build", kubernetes, "") | build, _container("helper", kubernetes, "helper_")],
        "volumes": [{"name": each, "emptyDir": {}} for each in ("repo", "scripts", "logs")],
    }
    for patch in kubernetes["pod_spec"]:
        _merge(spec, yaml.safe_load(patch["patch"]))
    metadata = {"name": name, "namespace": kubernetes["namespace"], "labels": kubernetes["pod_labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


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


def _merge(spec: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for key, items in patch.items():
        named = {item["name"]: item for item in spec.setdefault(key, [])}
        for item in items:
            if item["name"] in named:
                named[item["name"]].update(item)
            else:
                spec[key].append(item)


def write_identity(client: KubeClient, runner_class: str, folder: Path, *, account: str = "job") -> dict[str, str]:
    """Lay out what the projected volume holds, with a real token; returns the build container's variables.

    The mount path in the class's AWS config is replaced by `folder`, which is all that differs from the pod.
    """
    namespace = namespace_jobs(runner_class)
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": 3600},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    (folder / "token").write_text(client.request("POST", path, body=request)["status"]["token"])
    config = client.get("v1", "ConfigMap", "aws-config", namespace)["data"]["config"]
    container = pod_patch()["containers"][0]
    mount = container["volumeMounts"][0]["mountPath"]
    (folder / "config").write_text(config.replace(mount, str(folder)))
    return {each["name"]: each["value"].replace(mount, str(folder)) for each in container["env"]}


def who_am_i(sandbox: Sandbox, variables: Mapping[str, str], profile: str, home: Path) -> str:
    """ARN that a job gets with a profile, or the refusal's text; in a process with nothing but the job's variables."""
    endpoint = f"http://127.0.0.1:{sandbox.state().ports.aws_jobs}"
    surroundings = {
        **variables,
        "HOME": str(home),
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", WHO, profile], env=surroundings, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]
