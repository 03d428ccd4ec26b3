"""The process of a node: `python -m runner_platform_sandbox.real_node FOLDER`. SIGTERM ends the node.

It stays in the host's namespaces and joins the networks; its only child is process 1 of the node's namespaces, which starts the
programs. When either ends, the kernel ends everything of the node.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from runner_platform_sandbox.real_node import isolation, network, runtime
from runner_platform_sandbox.real_node.network import Gateway
from runner_platform_sandbox.real_node.plan import PLAN, record_this_process
from runner_platform_sandbox.real_node.registry import Registry, serve

_RUNTIME_SECONDS = 60.0


def main(folder: Path) -> int:
    """Run a node until SIGTERM, or until one of its programs ends."""
    record_this_process(folder)
    plan: dict[str, Any] = json.loads((folder / PLAN).read_text())
    isolation.make_cgroups(plan["cgroup"])
    network_is_up, wait_for_network = os.pipe()[::-1]
    gateway_is_up, wait_for_gateway = os.pipe()[::-1]

    def first_process() -> int:
        return _first_process(folder, plan, network_is_up, wait_for_gateway)

    child = isolation.start_isolated(first_process)
    os.close(network_is_up)
    os.close(wait_for_gateway)
    status = 1
    try:
        if os.read(wait_for_network, 1):
            status = asyncio.run(_join_networks(folder, plan, child, gateway_is_up))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        isolation.remove_cgroups(plan["cgroup"])
    return status


async def _join_networks(folder: Path, plan: dict[str, Any], child: int, gateway_is_up: int) -> int:
    """Pass connections on until SIGTERM (0) or the end of the child (1)."""
    gateway = Gateway(child)
    gateway.open_to_node(plan["ports"])
    gateway.open_to_host(plan["kubelet_port"])
    serve(Registry(folder / "images"), gateway.listener(network.ADDRESS, runtime.REGISTRY_PORT))
    os.write(gateway_is_up, b".")
    ended = asyncio.get_running_loop().create_future()

    def end(status: int) -> None:
        if not ended.done():
            ended.set_result(status)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end, 0)
    loop.add_signal_handler(signal.SIGINT, end, 0)
    handle = os.pidfd_open(child)
    loop.add_reader(handle, end, 1)
    return int(await ended)


def _first_process(folder: Path, plan: dict[str, Any], network_is_up: int, wait_for_gateway: int) -> int:
    """Start the programs, and return 1 once one of them ended; orphans of the node are collected here, too."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    isolation.prepare_mounts(folder)
    network.make_bridge()
    os.write(network_is_up, b".")
    if not os.read(wait_for_gateway, 1):
        return 1
    programs: dict[int, str] = {}
    for name, command in plan["commands"].items():
        programs[_start(folder, name, command, plan["environment"])] = name
        if name == "containerd":
            _wait_for_runtime()
    while True:
        process, status = os.wait()
        if process in programs:
            print(f"{programs[process]} ended with {os.waitstatus_to_exitcode(status)}", flush=True)  # noqa: T201
            return 1


def _start(folder: Path, name: str, command: list[str], variables: dict[str, str]) -> int:
    log = os.open(folder / "logs" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    process = os.posix_spawn(command[0], command, variables, file_actions=actions)
    os.close(log)
    return process


def _wait_for_runtime() -> None:
    end = time.monotonic() + _RUNTIME_SECONDS
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(runtime.SOCKET) == 0:
                return
        time.sleep(0.05)
    print("containerd does not answer", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
