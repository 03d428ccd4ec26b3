"""Loopback ports: chosen free once, then kept.

Owns the choice and the sentence about a port that somebody else took. Leaves out listening.
"""

from __future__ import annotations

import contextlib
import socket

import psutil

from sandbox.errors import SandboxError
from sandbox.state import Ports

HOST = "127.0.0.1"


def choose() -> Ports:
    """Three different free ports of this moment."""
    with contextlib.ExitStack() as stack:
        taken = []
        for _ in range(3):
            listener = stack.enter_context(socket.socket())
            listener.bind((HOST, 0))
            taken.append(int(listener.getsockname()[1]))
    aws, aws_jobs, gitlab = taken
    return Ports(aws=aws, aws_jobs=aws_jobs, gitlab=gitlab)


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
