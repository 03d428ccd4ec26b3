"""The container runtime of a node: containerd with runc and the CNI plugins.

Configuration: https://github.com/containerd/containerd/blob/release/1.6/docs/cri/config.md
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.disk import replace
from runner_platform_sandbox.real_node import pod_ports
from runner_platform_sandbox.real_node.network import ADDRESS, POD_PORTS, cni_configuration
from runner_platform_sandbox.real_node.programs import CNI

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.real_node.programs import Programs

SOCKET: Final = "/run/containerd/containerd.sock"
"""In the node's own /run."""
PAUSE_IMAGE: Final = "sandbox.invalid/pause:1"
REGISTRY_PORT: Final = 5000


def write_files(folder: Path, programs: Programs, ports: list[int]) -> None:
    """Write the configuration of containerd, of the registry and of the pods' network.

    Args:
        folder: The node's folder.
        programs: The programs.
        ports: Ports of a pod's loopback that lead to the sandbox.
    """
    hosts = folder / "hosts" / "_default" / "hosts.toml"
    registry = f"http://{ADDRESS}:{REGISTRY_PORT}"
    hosts.parent.mkdir(parents=True, exist_ok=True)
    replace(hosts, f'server = "{registry}"\n[host."{registry}"]\n  capabilities = ["pull", "resolve"]\n')
    networks = folder / "cni"
    networks.mkdir(exist_ok=True)
    replace(networks / "pods.conflist", json.dumps(cni_configuration("/run/addresses", ports)))
    plugins = folder / "cni-plugins"
    plugins.mkdir(exist_ok=True)
    for plugin in CNI:
        (plugins / plugin).symlink_to(programs.cni / plugin)
    own = plugins / POD_PORTS
    own.write_text(f"#!/bin/sh\nexec {sys.executable} -I {pod_ports.__file__}\n")
    own.chmod(0o755)
    replace(
        folder / "containerd.toml",
        f"""\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Where the machine's root may not lower the score of its own processes (no CAP_SYS_RESOURCE), runc fails otherwise.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/hosts"
""",
    )


def command(folder: Path, programs: Programs) -> list[str]:
    """Compose containerd's command line."""
    return [str(programs.containerd), f"--config={folder / 'containerd.toml'}", "--log-level=warn"]
