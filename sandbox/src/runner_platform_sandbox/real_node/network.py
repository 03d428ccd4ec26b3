"""The node's network: one bridge for node and pods, and connections between its network and the host's loopback.

Nothing is routed. A connection to a port of the node's address is accepted by a process with a leg in both networks, which opens
one to the same port of the host's loopback. So pods reach the sandbox's AWS and GitLab, and nothing else of the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.ports import HOST
from runner_platform_sandbox.real_node import pod_ports
from runner_platform_sandbox.real_node.isolation import network_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

ADDRESS: Final = "198.18.0.1"
"""The node's address inside its network; from the range for tests of network devices, which no VPC uses (RFC 2544)."""
SUBNET: Final = "198.18.0.0/16"
BRIDGE: Final = "node0"
POD_PORTS: Final = "pod-ports"
"""Name of the plugin `pod_ports` among the CNI plugins."""
_CHUNK: Final = 64 * 1024


def make_bridge() -> None:
    """Bring up loopback and the bridge. Runs inside the node's network."""
    prefix = SUBNET.rpartition("/")[2]
    for command in (
        ["link", "set", "lo", "up"],
        ["link", "add", BRIDGE, "type", "bridge"],
        ["address", "add", f"{ADDRESS}/{prefix}", "dev", BRIDGE],
        ["link", "set", BRIDGE, "up"],
    ):
        subprocess.run(["ip", *command], check=True)


def cni_configuration(data: str, ports: list[int]) -> dict[str, Any]:
    """Compose the configuration of the CNI plugins.

    Args:
        data: Folder for the addresses in use.
        ports: Ports of a pod's loopback that lead to the sandbox.
    """
    addresses = {"type": "host-local", "dataDir": data, "ranges": [[{"subnet": SUBNET, "gateway": ADDRESS}]]}
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {**addresses, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    plugins = [bridge, *([pod_ports.configuration(POD_PORTS, ports, ADDRESS)] if ports else [])]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


class Gateway:
    """Joins ports of the node's network with ports of the host's loopback.

    Args:
        network: File of the node's network namespace.
    """

    def __init__(self, network: Path) -> None:
        self._network = network
        self._tasks: set[asyncio.Task[None]] = set()

    def listener(self, address: str, port: int) -> socket.socket:
        """Open a listener inside the node's network."""
        with network_at(self._network):
            return _listener(address, port)

    def open_to_node(self, ports: Iterable[int], addresses: Sequence[str] = (ADDRESS, HOST)) -> None:
        """Pass connections to addresses of the node's network on to the host's loopback."""
        for port in ports:
            for address in addresses:
                self._serve(self.listener(address, port), port, inside=False)

    def open_at(self, address: str, port: int, target: int, hop_limit: int) -> None:
        """Pass connections to an address on to a port of the host's loopback; answers cross no more networks than the hop limit."""
        listener = self.listener(address, port)
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)
        self._serve(listener, target, inside=False)

    def open_to_host(self, port: int) -> None:
        """Pass connections to the host's loopback on to the node's address."""
        self._serve(_listener(HOST, port), port, inside=True)

    def _serve(self, listener: socket.socket, port: int, *, inside: bool) -> None:
        async def accept() -> None:
            loop = asyncio.get_running_loop()
            while True:
                connection, _ = await loop.sock_accept(listener)
                self._spawn(self._join(connection, port, inside=inside))

        self._spawn(accept())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, connection: socket.socket, port: int, *, inside: bool) -> None:
        loop = asyncio.get_running_loop()
        with connection:
            if inside:
                with network_at(self._network):
                    peer = socket.socket()
            else:
                peer = socket.socket()
            with peer, contextlib.suppress(OSError):
                peer.setblocking(False)
                connection.setblocking(False)
                await loop.sock_connect(peer, (ADDRESS if inside else HOST, port))
                await asyncio.gather(_copy(connection, peer), _copy(peer, connection))


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, _CHUNK):
            await loop.sock_sendall(target, data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _listener(address: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(128)
    listener.setblocking(False)
    return listener
