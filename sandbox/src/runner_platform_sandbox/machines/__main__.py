"""The process of a machine with Docker: `python -m runner_platform_sandbox.machines FOLDER`. SIGTERM ends the machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runner_platform_sandbox.machines import networks
from runner_platform_sandbox.real_node import isolation
from runner_platform_sandbox.real_node.network import Gateway
from runner_platform_sandbox.real_node.plan import PLAN
from runner_platform_sandbox.real_node.process import Program, run_node
from runner_platform_sandbox.real_node.registry import Registry, serve


def main(folder: Path) -> int:
    """Run a machine until SIGTERM, or until its Docker daemon ends."""
    plan: dict[str, Any] = json.loads((folder / PLAN).read_text())

    def prepare() -> None:
        isolation.prepare_mounts(folder, ("var", "etc", "usr"))
        hosts = "".join(f"{networks.OUTSIDE} {name}\n" for name in plan["registries"])
        Path("/etc/hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        # Nothing answers there, and nobody waits for an answer.
        Path("/etc/resolv.conf").unlink(missing_ok=True)
        Path("/etc/resolv.conf").write_text(f"nameserver {networks.OUTSIDE}\n")
        networks.make_networks()

    def join(child: int) -> Gateway:
        gateway = Gateway(networks.outside_network(child))
        gateway.open_to_node(plan["ports"], [networks.OUTSIDE])
        for address in (networks.OUTSIDE, networks.VPC_NEIGHBOUR):
            serve(Registry(folder / "images"), gateway.listener(address, networks.HTTP))
        gateway.open_at(networks.METADATA, networks.HTTP, plan["metadata"], plan["hop_limit"])
        return gateway

    daemon = Program(name="dockerd", command=plan["command"], variables=plan["environment"], socket=plan["socket"])
    return run_node(folder, plan["cgroup"], prepare=prepare, programs=[daemon], join=join)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
