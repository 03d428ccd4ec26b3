"""Helm releases of a stack that a killed run left half way.

Helm writes a revision as pending before it works, and as deployed or failed afterwards. After a kill in between, Helm refuses every later
operation with "another operation is in progress", and the provider does not repair it. This module deletes the record of that one revision
(a Secret of type helm.sh/release.v1). The next run then upgrades from the last good revision, or installs over objects with the release's
name, which Helm adopts. Objects in the cluster are never touched. Only the holder of the stack's lock may call it.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from config import names
from runner_platform.kube.client import ApiRefusalError, Cluster

if TYPE_CHECKING:
    from config.settings import Settings
    from runner_platform.driver.run import Run

RELEASE: Final = "kubernetes:helm.sh/v3:Release"
BLOCKED: Final = re.compile(r"another operation \(install/upgrade/rollback\) is in progress")
PENDING: Final = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})
_SECRETS: Final = "/api/v1/secrets?labelSelector=owner%3Dhelm"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One revision of a release, as Helm keeps it."""

    namespace: str
    release: str
    number: int
    status: str
    """Status in the payload, by which Helm decides. The label may differ."""
    secret: str

    @property
    def path(self) -> str:
        """Path of the revision's Secret in the API."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.secret}"


def delete_pending_revisions(run: Run) -> int:
    """Delete the records of pending revisions of the stack's releases; return their number.

    Raises:
        FailedError: AWS or the API server cannot be asked.
    """
    settings = run.project.runner_settings
    cluster = Cluster.of(settings) if settings else None
    if settings is None or cluster is None:
        return 0
    try:
        revisions = latest_revisions(cluster, settings)
    except ApiRefusalError as error:
        if error.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise
        # A destroy deletes the deployer's access policy, then its access entry, after the last release. If releases are left, the engine
        # reports the refusal itself.
        return 0
    pending = [revision for revision in revisions if revision.status in PENDING]
    for revision in pending:
        cluster.send("DELETE", revision.path)
        run.report_leftover(
            f"Helm release {revision.namespace}/{revision.release} was left {revision.status} in revision {revision.number}; "
            "the record of that revision is removed, and the release is deployed again"
        )
    return len(pending)


def find(run: Run, inputs: dict[str, Any]) -> str | None:
    """Return the id of an existing release, or None if it must be installed.

    Raises:
        FailedError: AWS or the API server cannot be asked.
    """
    settings = run.project.runner_settings
    cluster = Cluster.of(settings) if settings else None
    if settings is None or cluster is None:
        return None
    for revision in latest_revisions(cluster, settings):
        if (revision.namespace, revision.release) == (inputs.get("namespace"), inputs.get("name")):
            return None if revision.status in PENDING else f"{revision.namespace}/{revision.release}"
    return None


def latest_revisions(cluster: Cluster, settings: Settings) -> list[Revision]:
    """Return the last revision of each release of the stack."""
    releases = {(names.namespace_manager(name), names.helm_release(name)) for name in settings.runners}
    latest: dict[tuple[str, str], Revision] = {}
    for secret in cluster.get(_SECRETS)["items"]:
        revision = parse_revision(secret)
        key = (revision.namespace, revision.release)
        if key in releases and (key not in latest or latest[key].number < revision.number):
            latest[key] = revision
    return list(latest.values())


def parse_revision(secret: dict[str, Any]) -> Revision:
    """Read Helm's Secret: gzipped JSON, encoded in base64 by Helm and again by Kubernetes.

    Source: https://github.com/helm/helm/blob/main/pkg/storage/driver/util.go
    """
    metadata = secret["metadata"]
    payload = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    return Revision(
        namespace=metadata["namespace"],
        release=payload["name"],
        number=int(payload["version"]),
        status=payload["info"]["status"],
        secret=metadata["name"],
    )
