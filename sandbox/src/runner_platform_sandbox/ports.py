"""Loopback ports of the sandbox: chosen free once, then kept."""

from __future__ import annotations

import contextlib
import random
import socket
from typing import TYPE_CHECKING

import psutil

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.state import Ports

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
RANGE = range(20_000, 32_000)
"""Below the kernel's range for outgoing connections: such a connection could hold a kept port at a restart."""


def choose() -> Ports:
    """Choose three ports that are free now."""
    ports = _all_free()
    return Ports(aws=next(ports), aws_jobs=next(ports), gitlab=next(ports))


def free() -> int:
    """Choose one port that is free now, for a server that needs it at once and does not keep it."""
    return next(_all_free())


def _all_free() -> Iterator[int]:
    return (port for port in random.SystemRandom().sample(RANGE, len(RANGE)) if is_free(port))


def require_free(ports: Ports) -> None:
    """Refuse to start on a port that another process has. Stack states hold the ports, so they cannot just change.

    Raises:
        SandboxError: Names the first such port and, if the system tells it, the process that has it.
    """
    for use, port in ports.model_dump().items():
        if not is_free(port):
            raise SandboxError(
                f"this sandbox uses port {port} for {use}, and {holder(port)} has it",
                "end that process, or start clean on other ports: `runner-platform sandbox reset`",
            )


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now; connections that linger after a close do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Return the process that listens on a port, such as `process 12 (nginx)`, as far as the system tells."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp4"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "a process of another user"
