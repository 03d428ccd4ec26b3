"""Helm releases of a stack that a killed run left half way.

Owns finding them and making way for the next run. Helm writes a revision as pending before it works and as deployed or failed after;
killed in between, it refuses everything later with "another operation is in progress", and the provider repairs nothing. What is
removed is the record of that one revision (a Secret, type helm.sh/release.v1): the next run then upgrades from the last good revision,
or installs over objects that carry the release's name already, which Helm takes over. Objects in the cluster are never touched.
Called only by who holds the stack's lock, so that nobody works on the release.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from config import names
from config.settings import Settings
from runner_platform.kube.client import Cluster

if TYPE_CHECKING:
    from runner_platform.driver.session import Session

RELEASE: Final = "kubernetes:helm.sh/v3:Release"
BLOCKED: Final = re.compile(r"another operation \(install/upgrade/rollback\) is in progress")
PENDING: Final = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})
_LIST: Final = "/api/v1/secrets?labelSelector=owner%3Dhelm"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One revision of a release, as Helm keeps it."""

    namespace: str
    release: str
    number: int
    status: str
    """From the payload, which Helm decides by; the label may say otherwise."""
    secret: str

    @property
    def path(self) -> str:
        """Of its Secret in the API."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.secret}"


def clear(session: Session) -> int:
    """Remove the records of pending revisions of the stack's releases; returns how many there were.

    Raises:
        FailedError: AWS or the API server cannot be asked.
    """
    cluster = _cluster(session)
    pending = [each for each in latest(cluster, session) if each.status in PENDING] if cluster else []
    for revision in pending:
        assert cluster is not None  # noqa: S101  # there is a revision
        cluster.send("DELETE", revision.path)
        session.note(
            f"Helm release {revision.namespace}/{revision.release} was left {revision.status} in revision {revision.number}; "
            "the record of that revision is removed, and the release is deployed again"
        )
    return len(pending)


def find(session: Session, inputs: dict[str, Any]) -> str | None:
    """The id of a release that exists, None where it must be installed.

    Raises:
        FailedError: AWS or the API server cannot be asked.
    """
    cluster = _cluster(session)
    if cluster is None:
        return None
    for revision in latest(cluster, session):
        if (revision.namespace, revision.release) == (inputs.get("namespace"), inputs.get("name")):
            return None if revision.status in PENDING else f"{revision.namespace}/{revision.release}"
    return None


def latest(cluster: Cluster, session: Session) -> list[Revision]:
    """The last revision of each release that is the stack's own."""
    settings = session.project.settings
    assert isinstance(settings, Settings)  # noqa: S101  # only the platform's stacks have a cluster
    ours = {(names.namespace_manager(name), names.helm_release(name)) for name in settings.runners}
    found: dict[tuple[str, str], Revision] = {}
    for secret in cluster.get(_LIST)["items"]:
        revision = parsed(secret)
        key = (revision.namespace, revision.release)
        if key in ours and (key not in found or found[key].number < revision.number):
            found[key] = revision
    return list(found.values())


def parsed(secret: dict[str, Any]) -> Revision:
    """Read Helm's Secret: gzipped JSON, base64 by Helm and by Kubernetes.

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


def _cluster(session: Session) -> Cluster | None:
    settings = session.project.settings if session.project.ours else None
    return Cluster.of(settings) if isinstance(settings, Settings) else None
