"""The kubelet of a node: its configuration, kubeconfig and command line.

Settings: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from components.documents.network_policies import dns_address
from runner_platform_sandbox.disk import replace
from runner_platform_sandbox.kubernetes.command_lines import write_kubeconfig
from runner_platform_sandbox.real_node import runtime
from runner_platform_sandbox.real_node.isolation import SHORT_FOLDER
from runner_platform_sandbox.real_node.network import ADDRESS

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.kubernetes.command_lines import Layout
    from runner_platform_sandbox.real_node.programs import Programs

NODES = "system:nodes"
_FREE = {
    "memory.available": "50Mi",
    "nodefs.available": "1%",
    "nodefs.inodesFree": "1%",
    "imagefs.available": "1%",
}
"""Thresholds of eviction: the machine is a person's, and its disk may well be nine tenths full."""


def write_files(folder: Path, layout: Layout, *, name: str, port: int, cgroup: str, service_cidr: str) -> None:
    """Write the kubelet's configuration and kubeconfig.

    Args:
        folder: The node's folder.
        layout: The control plane.
        name: Name of the node.
        port: Port of the kubelet.
        cgroup: Control group for its pods, in every hierarchy.
        service_cidr: Network of the cluster's services, which has the DNS service's address.
    """
    write_kubeconfig(folder / "kubelet.kubeconfig", layout, f"system:node:{name}", NODES, cluster="cluster")
    (folder / "resolv.conf").write_text(f"nameserver {dns_address(service_cidr)}\n")
    configuration: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": port,
        "healthzPort": 0,
        "containerRuntimeEndpoint": f"unix://{runtime.SOCKET}",
        # Only the API server has a certificate of the cluster; a pod that reaches this port has none.
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(layout.keys.ca)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "evictionHard": _FREE,
        "imageGCHighThresholdPercent": 100,
        "clusterDNS": [dns_address(service_cidr)],
        "clusterDomain": "cluster.local",
        "resolvConf": str(folder / "resolv.conf"),
        "podLogsDir": str(folder / "logs" / "pods"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "syncFrequency": "10s",
        "serializeImagePulls": False,
    }
    replace(folder / "kubelet.yaml", yaml.safe_dump(configuration, sort_keys=False))


def command(folder: Path, programs: Programs, name: str) -> list[str]:
    """Compose the kubelet's command line."""
    return [
        str(programs.kubelet),
        f"--config={folder / 'kubelet.yaml'}",
        f"--kubeconfig={folder / 'kubelet.kubeconfig'}",
        f"--root-dir={SHORT_FOLDER / 'kubelet'}",
        f"--cert-dir={folder / 'kubelet-certificates'}",
        f"--hostname-override={name}",
        f"--node-ip={ADDRESS}",
        # The node's addresses are written by the cloud, as in EKS; here by `node`.
        "--cloud-provider=external",
    ]
