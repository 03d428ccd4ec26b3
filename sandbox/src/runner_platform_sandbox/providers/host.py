"""The engine that started this process, seen from the plugin: is it there, and what shall it show.

Owns the way back. Leaves out the engine's calls (`server`).
"""

import socket
import threading
from collections.abc import Callable
from typing import Any

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


def is_gone(address: str) -> bool:
    """Tell whether nothing listens where the engine did when it started this process, such as `127.0.0.1:40123`."""
    name, _, port = address.rpartition(":")
    try:
        with socket.create_connection((name, int(port)), timeout=2):
            return False
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False  # unusual, but no proof; the parent process decides


def reporter(address: str, *, passing: bool) -> Callable[[str, str], None]:
    """Return a function that shows a message beside a resource: passing, or kept in the engine's log."""
    lock = threading.Lock()
    stubs: list[Any] = []

    def report(urn: str, message: str) -> None:
        with lock:
            if not stubs:
                stubs.append(engine_pb2_grpc.EngineStub(grpc.insecure_channel(address)))
        line = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message, urn=urn, ephemeral=passing)
        try:
            stubs[0].Log(line, timeout=2)
        except grpc.RpcError:
            return  # progress is a courtesy; an engine that does not listen loses nothing

    return report
