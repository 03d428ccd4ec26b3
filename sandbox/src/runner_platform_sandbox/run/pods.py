"""Pods of jobs whose runner can no longer remove them, because it was killed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from config import load
from config.names import namespace_jobs
from runner_platform_sandbox import state
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ApiError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Collection

    from runner_platform_sandbox.paths import Paths

_JOB_ID: Final = "job.runner.gitlab.com/id"
"""Annotation that GitLab Runner gives a job's pod."""


def remove_pods(paths: Paths, stack: str, jobs: Collection[int]) -> int:
    """Remove the pods of jobs that are over, and return their number.

    Args:
        paths: The sandbox.
        stack: The stack whose cluster has them.
        jobs: Ids of the jobs.
    """
    current = state.read(paths)
    settings = load.of_stack(stack)
    name = settings.names.cluster
    clusters = current.clusters if current else []
    kubeconfig = next((cluster.kubeconfig for cluster in clusters if cluster.name == name), "")
    if not jobs or not kubeconfig:
        return 0
    identifiers = {str(job) for job in jobs}
    removed = 0
    with contextlib.suppress(ApiError, UnreachableError), KubeClient.from_kubeconfig(kubeconfig) as client:
        for runner_class in settings.runners:
            for pod in client.list("v1", "Pod", namespace_jobs(runner_class)):
                if _job_of(pod) in identifiers and "deletionTimestamp" not in pod["metadata"]:
                    removed += client.delete("v1", "Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
    return removed


def _job_of(pod: dict[str, Any]) -> str | None:
    annotation = (pod["metadata"].get("annotations") or {}).get(_JOB_ID)
    return None if annotation is None else str(annotation)
