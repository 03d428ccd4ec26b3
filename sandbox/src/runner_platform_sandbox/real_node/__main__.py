"""The process of a node: `python -m runner_platform_sandbox.real_node FOLDER`. SIGTERM ends the node."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runner_platform_sandbox.real_node import isolation, network, runtime
from runner_platform_sandbox.real_node.network import Gateway
from runner_platform_sandbox.real_node.plan import PLAN
from runner_platform_sandbox.real_node.process import Program, run_node
from runner_platform_sandbox.real_node.registry import Registry, serve


def main(folder: Path) -> int:
    """Run a node until SIGTERM, or until one of its programs ends."""
    plan: dict[str, Any] = json.loads((folder / PLAN).read_text())

    def prepare() -> None:
        isolation.prepare_mounts(folder)
        network.make_bridge()

    def join(child: int) -> Gateway:
        gateway = Gateway(Path(f"/proc/{child}/ns/net"))
        gateway.open_to_node(plan["ports"])
        gateway.open_to_host(plan["kubelet_port"])
        serve(Registry(folder / "images"), gateway.listener(network.ADDRESS, runtime.REGISTRY_PORT))
        return gateway

    sockets = {"containerd": runtime.SOCKET}
    programs = [
        Program(name=name, command=command, variables=plan["environment"], socket=sockets.get(name, ""))
        for name, command in plan["commands"].items()
    ]
    return run_node(folder, plan["cgroup"], prepare=prepare, programs=programs, join=join)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
