"""A CNI plugin: a pod's own loopback leads to the sandbox at the sandbox's ports.

So `http://127.0.0.1:<port of GitLab>` means the same in a pod and on the machine, and neither the runner nor a job needs another
address. Runs last in the chain, with the standard library only, as a program of its own.
Protocol: https://www.cni.dev/docs/spec/
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

_RULES = """\
*nat
-A OUTPUT -d 127.0.0.1/32 -p tcp -m multiport --dports {ports} -j DNAT --to-destination {address}
-A POSTROUTING -s 127.0.0.0/8 -d {address}/32 -j MASQUERADE
COMMIT
"""
_MOST_PORTS = 15
"""The multiport match of iptables takes no more."""
_SCRIPT = "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet && exec iptables-restore --noflush"


def configuration(program: str, ports: list[int], address: str) -> dict[str, Any]:
    """Compose the plugin's part of a CNI configuration.

    Args:
        program: Name of the executable.
        ports: The sandbox's ports.
        address: The node's address.
    """
    if len(ports) > _MOST_PORTS:
        raise ValueError(f"pods reach at most {_MOST_PORTS} ports of the sandbox, and there are {len(ports)}")
    return {"type": program, "ports": ports, "address": address}


def main() -> int:
    """Answer one call of the container runtime."""
    command = os.environ["CNI_COMMAND"]
    if command == "VERSION":
        print(json.dumps({"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}))  # noqa: T201
        return 0
    settings = json.load(sys.stdin)
    if command == "ADD":
        rules = _RULES.format(ports=",".join(map(str, settings["ports"])), address=settings["address"])
        inside = ["nsenter", f"--net={os.environ['CNI_NETNS']}", "sh", "-c", _SCRIPT]
        done = subprocess.run(inside, input=rules, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(json.dumps({"cniVersion": "1.0.0", "code": 100, "msg": done.stderr.strip()}))  # noqa: T201
            return 1
        print(json.dumps(settings["prevResult"]))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
