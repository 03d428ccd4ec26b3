"""What Helm wrote down about a release: its records in the cluster.

Owns reading the Secrets of type `helm.sh/release.v1` (one per revision; labels say owner, name, status and version, the
content is JSON, zipped, twice base64) and removing a stale one. Helm 3 and 4 write them alike. That saves starting Helm
for every question. Leaves out changing anything that Helm deploys.
https://helm.sh/docs/topics/advanced/#storage-backends
"""

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any, Final

from runner_platform_sandbox.kubernetes.client import KubeClient

OWNER_LABEL: Final = "pulumi-resource"
"""Custom label of a release: which resource of which stack installed it."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One revision of a release."""

    secret: str
    """Name of the Secret that holds it."""
    revision: int
    status: str
    """deployed, failed, superseded, uninstalling, pending-install, pending-upgrade or pending-rollback."""
    owner: str
    """Value of the owner label; empty if something else installed it."""
    content: dict[str, Any]
    """Helm's own record: chart, config, info, manifest."""

    @property
    def pending(self) -> bool:
        """Whether a Helm is, or was until it was killed, at work on it."""
        return self.status.startswith("pending-") or self.status == "uninstalling"

    @property
    def metadata(self) -> dict[str, Any]:
        """Name, version and appVersion of the chart."""
        return dict((self.content.get("chart") or {}).get("metadata") or {})

    @property
    def config(self) -> dict[str, Any]:
        """The values that were given."""
        return dict(self.content.get("config") or {})

    @property
    def description(self) -> str:
        """What Helm says about the last operation."""
        return str((self.content.get("info") or {}).get("description") or "")


def latest(client: KubeClient, name: str, namespace: str) -> Record | None:
    """Return the newest revision of a release, None if there is none."""
    found = client.list("v1", "Secret", namespace, label_selector=f"owner=helm,name={name}")
    if not found:
        return None
    return _record(max(found, key=lambda item: int(item["metadata"]["labels"]["version"])))


def discard(client: KubeClient, record: Record, namespace: str) -> None:
    """Remove the record that a killed Helm left pending, so that the next one goes on from the one before."""
    client.delete("v1", "Secret", record.secret, namespace)


def _record(secret: dict[str, Any]) -> Record:
    labels = secret["metadata"]["labels"]
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    return Record(
        secret=secret["metadata"]["name"],
        revision=int(labels["version"]),
        status=str(labels.get("status", "unknown")),
        owner=str(labels.get(OWNER_LABEL, "")),
        content=json.loads(gzip.decompress(packed)),
    )
