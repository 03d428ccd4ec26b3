"""The pod of a run: which one this is, and whether Kubernetes still has another run's.

Owns the evidence. A run in a pod knows itself by a token that the API server signed for it: issuer (which names the cluster), namespace,
name and UID. Another run is judged by the cluster of its stack, and only where that is the cluster of the record: then the API server's
"not found" for exactly that pod, or another UID under its name, says that nothing of the run is left. A pod that is there and whose
containers may run is alive. Anything else (no credentials, no rights, another cluster, no answer) proves nothing.
A pod that somebody deletes by force while its node is cut off is gone for Kubernetes, too; that is for whoever forces it to know.

Sources: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens,
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config.errors import SettingsError
from config.names import IDENTITY_FOLDER
from config.settings import Settings
from runner_platform.errors import FailedError
from runner_platform.kube.client import ApiRefusalError, Cluster

if TYPE_CHECKING:
    from runner_platform.driver.project import Project

TOKENS: Final = (f"{IDENTITY_FOLDER}/token", "/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where a job of the platform's classes, or of another runner, finds one."""
ENDED: Final = frozenset({"Succeeded", "Failed"})
"""Phases in which no container runs and none will."""
LIVE: Final = frozenset({"Pending", "Running"})
"""`Unknown` is said of a pod whose node does not answer: that proves neither."""
_PARTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One pod of one cluster."""

    issuer: str
    """URL of the cluster's issuer of service account tokens; no two clusters of EKS have the same."""
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What Kubernetes says of a pod."""

    alive: bool
    why: str
    """A sentence."""


def this_pod(tokens: tuple[str, ...] = TOKENS) -> Pod | None:
    """The pod in which this process runs; None outside of one, or where it has no token that names it."""
    for file in tokens:
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
    """What a token says, unverified: it is this process's own."""
    parts = token.strip().split(".")
    if len(parts) != _PARTS:
        raise ValueError("no token")
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    return found


def asked(project: Project, pod: Pod) -> Evidence | None:
    """What the cluster of a stack says of a pod; None where it proves nothing."""
    try:
        settings = project.settings if project.ours else None
        cluster = Cluster.of(settings) if isinstance(settings, Settings) else None
        return _judged(cluster, pod) if cluster is not None and cluster.issuer == pod.issuer != "" else None
    except (FailedError, SettingsError):
        return None


def _judged(cluster: Cluster, pod: Pod) -> Evidence | None:
    where = f"pod {pod.namespace}/{pod.name} of cluster {cluster.name}"
    try:
        found = cluster.get(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
    except ApiRefusalError as error:
        # A proxy's or another path's 404 is no answer about the pod.
        if error.status == HTTPStatus.NOT_FOUND and f'pods "{pod.name}" not found' in str(error):
            return Evidence(alive=False, why=f"Kubernetes says that there is no {where} any more")
        raise
    if found["metadata"]["uid"] != pod.uid:
        return Evidence(alive=False, why=f"Kubernetes says that {where} is another one, made later under the same name")
    phase = found.get("status", {}).get("phase", "Unknown")
    if phase in ENDED:
        return Evidence(alive=False, why=f"Kubernetes says that {where} has ended ({phase})")
    return Evidence(alive=True, why=f"Kubernetes says that {where} is {phase}") if phase in LIVE else None
