"""Job pods of a class's configuration, and a job's files with a real token.

`runner_platform.prove.job_pod` does the runner's part with the rendered `config.toml`; a test holds it equal to the real runner's pods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from components.documents.job_identity import pod_patch
from config.names import namespace_jobs
from runner_platform.prove.job_pod import job_pod as unchanged_job_pod
from runner_platform.prove.job_pod import runner_section

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner_platform_sandbox.kubernetes.client import KubeClient

AUDIENCE = "sts.amazonaws.com"


def configuration(values_yaml: str) -> dict[str, Any]:
    """Return the `[[runners]]` section of rendered Helm values."""
    return runner_section(yaml.safe_load(values_yaml)["runners"]["config"])


def job_pod(runner: Mapping[str, Any], name: str, **build: Any) -> dict[str, Any]:
    """Return a job pod of a `[[runners]]` section; `build` replaces keys of container `build`, as a job might try."""
    pod = unchanged_job_pod(runner, name)
    pod["spec"]["containers"][0] |= build
    return pod


def write_identity(client: KubeClient, runner_class: str, folder: Path, *, account: str = "job") -> dict[str, str]:
    """Write the files of the projected volume with a real token, and return the variables of container `build`.

    Nothing differs from the pod except that `folder` replaces the mount path in the class's AWS config.
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
    return {variable["name"]: variable["value"].replace(mount, str(folder)) for variable in container["env"]}
