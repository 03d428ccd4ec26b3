"""Evidence that a run on another machine is alive or dead: its pod in Kubernetes, its job in GitLab. Reads only.

A run in a pod knows the pod by a token that the API server signed: issuer (which names the cluster), namespace, name and UID. Another run
asks the cluster of the stack, and only if that cluster has the recorded issuer. The API server's "not found" for exactly that pod, or
another UID under its name, proves that the pod is gone. A pod whose containers may run is alive. Any other answer (no credentials, no
rights, another cluster, no answer) proves nothing. Kubernetes also forgets a pod that is deleted by force while its node is cut off.

GitLab tells the status of a job to a token with `read_api`, but not to a `CI_JOB_TOKEN`.

Sources: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens,
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase, https://docs.gitlab.com/api/jobs/#get-a-single-job
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import gitlab
import gitlab.exceptions
import requests

from config.errors import SettingsError
from config.names import IDENTITY_FOLDER
from runner_platform.errors import FailedError
from runner_platform.kube.client import ApiRefusalError, Cluster

if TYPE_CHECKING:
    from runner_platform.driver.project import Project

POD_TOKENS: Final = (f"{IDENTITY_FOLDER}/token", "/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where a job of the platform's classes, or of another runner, finds its token."""
ENDED_PHASES: Final = frozenset({"Succeeded", "Failed"})
"""Phases of a pod in which no container runs or will run."""
LIVE_PHASES: Final = frozenset({"Pending", "Running"})
"""The phase `Unknown` means that the pod's node does not answer; it proves nothing."""
READ_TOKEN: Final = "RUNNER_PLATFORM_READ_TOKEN"  # noqa: S105  # a variable's name
"""Variable with a token for `read_api`. It is separate from the runners' token, which should have no further rights."""
ENDED_STATUSES: Final = frozenset({"success", "failed", "canceled", "skipped"})
"""Statuses of a job that runs nothing any more; a `canceling` job still runs."""
_TOKEN_PARTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One pod of one cluster."""

    issuer: str
    """URL of the cluster's issuer of service account tokens; every EKS cluster has another one."""
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class PodEvidence:
    """Kubernetes' answer about a pod."""

    alive: bool
    why: str
    """The answer as a sentence."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """GitLab's answer about a job."""

    name: str
    finished: datetime | None
    """None while the job may run."""


def this_pod(token_files: tuple[str, ...] = POD_TOKENS) -> Pod | None:
    """Return the pod of this process, or None outside of a pod and where no token names it."""
    for file in token_files:
        try:
            claims = _claims(Path(file).read_text())
            bound = claims["kubernetes.io"]
            return Pod(
                issuer=str(claims["iss"]),
                namespace=str(bound["namespace"]),
                name=str(bound["pod"]["name"]),
                uid=str(bound["pod"]["uid"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _claims(token: str) -> dict[str, Any]:
    """Read a token's claims without verifying them, since it is this process's own token."""
    parts = token.strip().split(".")
    if len(parts) != _TOKEN_PARTS:
        raise ValueError("no token")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    return claims


def ask_kubernetes(project: Project, pod: Pod) -> PodEvidence | None:
    """Ask the cluster of a stack about a pod; return None without a proof."""
    try:
        settings = project.runner_settings
        cluster = Cluster.of(settings) if settings else None
        return _pod_evidence(cluster, pod) if cluster is not None and cluster.issuer == pod.issuer != "" else None
    except (FailedError, SettingsError):
        return None


def _pod_evidence(cluster: Cluster, pod: Pod) -> PodEvidence | None:
    name = f"pod {pod.namespace}/{pod.name} of cluster {cluster.name}"
    try:
        answer = cluster.get(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
    except ApiRefusalError as error:
        # A 404 of a proxy, or of another path, is no answer about the pod.
        if error.status == HTTPStatus.NOT_FOUND and f'pods "{pod.name}" not found' in str(error):
            return PodEvidence(alive=False, why=f"Kubernetes says that there is no {name} any more")
        raise
    if answer["metadata"]["uid"] != pod.uid:
        return PodEvidence(alive=False, why=f"Kubernetes says that {name} is another one, made later by the same name")
    phase = answer.get("status", {}).get("phase", "Unknown")
    if phase in ENDED_PHASES:
        return PodEvidence(alive=False, why=f"Kubernetes says that {name} has ended ({phase})")
    return PodEvidence(alive=True, why=f"Kubernetes says that {name} is {phase}") if phase in LIVE_PHASES else None


def ask_gitlab(project: str, job: str, url: str | None) -> JobStatus | None:
    """Ask GitLab for a job's status; return None if GitLab cannot be asked or does not tell.

    Args:
        project: the project's id.
        job: the job's id.
        url: the job's page; its host is the GitLab to ask.
    """
    token, base = os.environ.get(READ_TOKEN) or os.environ.get("GITLAB_TOKEN"), _gitlab_url(url)
    if not token or not base:
        return None
    api = gitlab.Gitlab(base, private_token=token, timeout=15)
    try:
        answer = api.http_get(f"/projects/{int(project)}/jobs/{int(job)}")
    except (gitlab.exceptions.GitlabError, requests.RequestException, ValueError):
        return None
    if not isinstance(answer, dict):
        return None
    name, finished_at = str(answer.get("status")), answer.get("finished_at")
    ended = datetime.fromisoformat(finished_at).astimezone(UTC) if finished_at and name in ENDED_STATUSES else None
    return JobStatus(name=name, finished=ended)


def _gitlab_url(job_url: str | None) -> str:
    configured = os.environ.get("GITLAB_BASE_URL") or os.environ.get("CI_SERVER_URL")
    if configured:
        return configured.rstrip("/").removesuffix("/api/v4")
    parts = urlsplit(job_url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
