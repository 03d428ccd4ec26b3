"""The networks of a machine: its own, and one beyond it that has AWS, GitLab, the registry and the metadata service.

Nothing is routed further, and the host's network is not changed. What containers send leaves the machine by its only interface, so rules of the
machine's firewall meet it, as in a VPC.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

OUTSIDE: Final = "198.18.0.1"
"""Address of everything that the sandbox offers; from the range for tests of network devices, which no VPC uses (RFC 2544)."""
MACHINE: Final = "198.18.0.2"
METADATA: Final = "169.254.169.254"
"""Address of the instance metadata service."""
HTTP: Final = 80
"""Port of the metadata service, of the registries and of the neighbour."""
VPC_CIDR: Final = "10.64.0.0/16"
VPC_NEIGHBOUR: Final = "10.64.0.99"
"""Another machine of the VPC, which answers at port 80."""
_NAMESPACE: Final = "outside"
_HANDLES: Final = Path("/run/netns")
_INTERFACE: Final = "eth0"


def make_networks() -> None:
    """Make the network beyond the machine, and connect both. Runs as process 1 of the machine."""
    _ip("link", "set", "lo", "up")
    _ip("netns", "add", _NAMESPACE)
    _ip("link", "add", _INTERFACE, "type", "veth", "peer", "name", _INTERFACE, "netns", _NAMESPACE)
    _ip("address", "add", f"{MACHINE}/24", "dev", _INTERFACE)
    _ip("link", "set", _INTERFACE, "up")
    _ip("route", "add", "default", "via", OUTSIDE)
    outside = ["-netns", _NAMESPACE]
    _ip(*outside, "link", "set", "lo", "up")
    _ip(*outside, "link", "set", _INTERFACE, "up")
    for address in (f"{OUTSIDE}/24", f"{METADATA}/32", f"{VPC_NEIGHBOUR}/32"):
        _ip(*outside, "address", "add", address, "dev", _INTERFACE)


def outside_network(process: int) -> Path:
    """Return the file of the network beyond the machine, for the host.

    Args:
        process: Process 1 of the machine.
    """
    return Path(f"/proc/{process}/root{_HANDLES}/{_NAMESPACE}")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
