"""The firewall of a node: kube-router enforces the cluster's network policies, inside the node's network only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def command(program: Path, *, name: str, kubeconfig: Path, service_cidr: str) -> list[str]:
    """Compose kube-router's command line."""
    return [
        str(program),
        "--run-router=false",
        "--run-service-proxy=false",
        "--run-firewall=true",
        "--enable-cni=false",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={name}",
        f"--service-cluster-ip-range={service_cidr}",
        "--cache-sync-timeout=1m",
        "--iptables-sync-period=30s",
        "--metrics-port=0",
        "--health-port=0",
    ]
