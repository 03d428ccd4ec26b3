"""A real control plane for tests of one module, with one node on which every pod runs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.cluster import Cluster
from runner_platform_sandbox.kubernetes.command_lines import Binaries, ClusterSpec
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "worker", "labels": {"role": "worker"}, "annotations": {"kwok.x-k8s.io/node": "fake"}},
    "status": {
        "allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"},
        "capacity": {"cpu": "16", "memory": "64Gi", "pods": "110"},
    },
}


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster in `folder`, and end it afterwards."""
    spec = ClusterSpec(
        account="222222222222",
        region="eu-central-1",
        name="test",
        version="1.35",
        issuer="https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF",
        service_cidr="172.20.0.0/16",
        webhook_url=None,
    )
    cluster = Cluster(folder, spec, Binaries.of(Tools.find(Paths.from_environment())), lambda _namespaces: [])
    cluster.start()
    try:
        cluster.client.apply(NODE)
        cluster.client.apply(NODE, subresource="status")
        _wait_for_default_account(cluster)
        yield cluster
    finally:
        cluster.stop()


def _wait_for_default_account(cluster: Cluster) -> None:
    end = time.monotonic() + 30
    while cluster.client.find("v1", "ServiceAccount", "default", "default") is None:
        assert time.monotonic() < end, "the controller manager made no service account in 30 s"
        time.sleep(0.1)
