"""Loopback ports: chosen free once, then kept.

Owns the choice and the sentence about a port that somebody else took. Leaves out listening.
"""

from __future__ import annotations

import contextlib
import random
import socket

import psutil

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.state import Ports

HOST = "127.0.0.1"
RANGE = range(20_000, 32_000)
"""Below the kernel's range for outgoing connections: one of those could hold a kept port at a restart."""


def choose() -> Ports:
    """Three different free ports of this moment."""
    free = (port for port in random.SystemRandom().sample(RANGE, len(RANGE)) if is_free(port))
    return Ports(aws=next(free), aws_jobs=next(free), gitlab=next(free))


def require_free(ports: Ports) -> None:
    """Refuse to start on ports that somebody listens on; they are written into stack states and cannot just be changed.

    Raises:
        SandboxError: Names the first such port and, where the system tells it, the process that has it.
    """
    for use, port in ports.model_dump().items():
        if not is_free(port):
            raise SandboxError(
                f"port {port}, which this sandbox uses for {use}, is taken by {holder(port)}",
                "end that process, or `runner-platform sandbox reset` to start clean on other ports",
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
    """The process that listens on a port, as far as the system tells: `process 12 (name)`."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp4"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "a process that the system does not let us see"
