"""A class's two namespaces: labels of both, quota of the jobs', and the manager's permissions in the jobs'.

Managers run under `restricted`. Jobs run under `baseline` with warnings of `restricted`, unless the class enforces `restricted`.
Sources: https://kubernetes.io/docs/concepts/security/pod-security-admission/ and, for the permissions,
https://docs.gitlab.com/runner/executors/kubernetes/#configure-runner-api-permissions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents import pods
from components.documents.disruption import pods_at_once
from config.quantities import cpu_text, memory_text

if TYPE_CHECKING:
    from config.runners import KubernetesRunner

EXECUTOR_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/attach", "pods/exec"], "verbs": ["create", "delete", "get", "patch"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "delete", "get", "update"]},
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["create", "get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]},
]
"""Rules of the manager's Role in `jobs-<class>`: the executor's table instead of the chart's wildcard."""


def namespace_labels(kind: str, runner_class: str, runner: KubernetesRunner) -> dict[str, str]:
    """Return the labels of a namespace; `kind` is `manager` or `jobs`."""
    enforced = "restricted" if kind == "manager" else runner.pod_security
    prefix = "pod-security.kubernetes.io/"
    return {
        pods.CLASS_LABEL: runner_class,
        f"{prefix}enforce": enforced,
        f"{prefix}warn": "restricted",
        f"{prefix}audit": "restricted",
    }


def jobs_quota(runner: KubernetesRunner) -> dict[str, str]:
    """Return the hard limits of a jobs' namespace.

    A job above them fails at once, so they hold every pod that can stand at the same time, with as many services as a job may start.
    The ceiling of costs is the NodePool's.
    """
    count, request = pods_at_once(runner.concurrent), pods.largest_pod(runner)
    return {
        "pods": str(count),
        "requests.cpu": cpu_text(count * request.cpu),
        "requests.memory": memory_text(count * request.memory),
        "services.loadbalancers": "0",
        "services.nodeports": "0",
        "persistentvolumeclaims": "0",
    }
