"""Job pods as the runner makes them from a class's configuration, and a job's files with a real token.

The runner itself cannot run here; what it would do with the rendered `config.toml` is `runner_platform.prove.runner_pod`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from components.documents.job_identity import pod_patch
from config.names import namespace_jobs
from runner_platform.prove import runner_pod

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner_platform_sandbox.kubernetes.client import KubeClient

AUDIENCE = "sts.amazonaws.com"


def configuration(values_yaml: str) -> dict[str, Any]:
    """The `[[runners]]` section of rendered Helm values."""
    return runner_pod.runner_section(yaml.safe_load(values_yaml)["runners"]["config"])


def job_pod(runner: Mapping[str, Any], name: str, **build: Any) -> dict[str, Any]:
    """A job pod of this configuration; `build` replaces keys of the build container, as a job might try."""
    pod = runner_pod.job_pod(runner, name)
    pod["spec"]["containers"][0] |= build
    return pod


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
