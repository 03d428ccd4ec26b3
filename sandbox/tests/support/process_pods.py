"""Pods in the shape that GitLab Runner makes, and a process node of the tests' cluster to run them.

The shape is that of runner 19.4.0 with the product's configuration: an init container that makes the log file, containers `build`
and `helper` whose shells read scripts from standard input, empty folders at /builds, /scripts-<ids> and /logs-<ids>, and the
identity's projected volume in `build` alone.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from components.documents.job_identity import pod_patch
from runner_platform_sandbox.kubernetes.kubelet import JOB_LABEL
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.process_images import python_folders
from runner_platform_sandbox.process_node import Image, Surroundings
from runner_platform_sandbox.tools.catalogue import PROCESS_NODE
from runner_platform_sandbox.tools.discovery import Tools
from runner_platform_sandbox.tools.ensure import ensure

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.tests.support.kubernetes_cases import Trial

REGISTRY = "222222222222.dkr.ecr.eu-central-1.amazonaws.com"
RUNNER_IMAGE = f"{REGISTRY}/protected/runner:1.0.0"
HELPER_IMAGE = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:x86_64-v19.4.0"
SHELL = [
    "sh",
    "-c",
    """if [ -x /usr/local/bin/bash ]; then
	exec /usr/local/bin/bash $@
elif [ -x /usr/bin/bash ]; then
	exec /usr/bin/bash $@
elif [ -x /bin/bash ]; then
	exec /bin/bash $@
else
	echo shell not found
	exit 1
fi
""",
]
"""The runner's search for a shell (`shells/bash.go`)."""
LOG = "/logs-7-11/output.log"


def surroundings(cluster: Trial, folder: Path, program: Path | None = None) -> Surroundings:
    """Return what a process node of the tests' cluster works with."""
    runner = Image(
        pattern=RUNNER_IMAGE.replace(".", r"\."),
        environment={"HOME": "/home/runner", "AWS_PAGER": ""},
        user=1000,
        working_dir="/home/runner",
        files={"/usr/local/bin/greet": "#!/bin/sh\necho hello from the image\n"},
    )
    helper = Image(
        pattern=r"[^ ]*/gitlab-runner-helper:[^ ]+",
        environment={"HOME": "/root"},
        files={"/usr/bin/gitlab-runner-build": "#!/bin/sh\nexec bash\n"},
        folders={"/usr/bin/gitlab-runner-helper": "/bin/true"},
    )
    plane = cluster.cluster.control_plane
    return Surroundings(
        program=program or ensure(Paths.from_environment(), [PROCESS_NODE.name]).process_node,
        folder=folder,
        kubeconfig=plane.admin_kubeconfig,
        authority=plane.keys.ca,
        images=(runner, helper),
        registries=(REGISTRY,),
        programs=python_folders(),
    )


def job_pod(name: str, namespace: str, pool: str, **changes: Any) -> dict[str, Any]:
    """Compose a job's pod; `changes` replaces fields of its spec, `build` and `labels` add to its container and metadata."""
    identity = pod_patch()
    build_changes, labels = changes.pop("build", {}), changes.pop("labels", {})
    mounts = [
        {"name": "scripts", "mountPath": "/scripts-7-11"},
        {"name": "logs", "mountPath": "/logs-7-11"},
        {"name": "repo", "mountPath": "/builds"},
    ]
    common = {
        "imagePullPolicy": "Always",
        "securityContext": {
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["NET_RAW"]},
        },
        "volumeMounts": mounts,
    }
    patch = identity["containers"][0]
    variables = [
        *patch["env"],
        {"name": "CI_JOB_ID", "value": "11"},
        {"name": "GREETING", "value": "job $(CI_JOB_ID), $$HOME and $(UNKNOWN)"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    build = {
        "name": "build",
        "image": RUNNER_IMAGE,
        "command": SHELL,
        "stdin": True,
        "env": variables,
        **common,
        "volumeMounts": [*patch["volumeMounts"], *mounts],
        **build_changes,
    }
    helper = {"name": "helper", "image": HELPER_IMAGE, "command": SHELL, "stdin": True, **common}
    init = {
        "name": "init-permissions",
        "image": HELPER_IMAGE,
        "command": ["sh", "-c", f"touch {LOG} && (chmod 777 {LOG} || exit 0)"],
        **common,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"pod": name, JOB_LABEL: name, **labels}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 30,
            "activeDeadlineSeconds": 3601,
            "initContainers": [init],
            "containers": [build, helper],
            "volumes": [
                *identity["volumes"],
                *({"name": volume, "emptyDir": {}} for volume in ("scripts", "logs", "repo")),
            ],
            "nodeSelector": {"class": pool},
            "tolerations": [{"key": "class", "operator": "Equal", "value": pool, "effect": "NoSchedule"}],
            **changes,
        },
    }


def kubectl(cluster: Trial, *arguments: str, text: str = "", seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the administrator, with `text` on standard input."""
    program = Tools.find(Paths.from_environment()).kubectl
    command = [str(program), f"--kubeconfig={cluster.cluster.admin_kubeconfig}", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds, check=False)
