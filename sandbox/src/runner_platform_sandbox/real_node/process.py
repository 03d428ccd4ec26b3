"""The process of a node in the host's namespaces, and process 1 of the node's own, which starts the node's programs.

The first stays in the host's namespaces and joins the networks; its only child is the second. When either ends, the kernel ends
everything of the node.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.real_node import isolation
from runner_platform_sandbox.real_node.plan import record_this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_SOCKET_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program of the node."""

    name: str
    """Also the name of its log."""
    command: list[str]
    variables: Mapping[str, str]
    socket: str = ""
    """Unix socket that answers once the program is ready; empty: nothing waits for it."""


def run_node(
    folder: Path,
    cgroup: str,
    *,
    prepare: Callable[[], None],
    programs: Sequence[Program],
    join: Callable[[int], object],
) -> int:
    """Run a node until SIGTERM, or until one of its programs ends.

    Args:
        folder: The node's folder.
        cgroup: Name of its control group.
        prepare: Makes mounts and networks, as process 1 of the node.
        programs: They are started in order.
        join: Opens listeners, in the host's namespaces, before the programs start; is given the id of the node's process 1, and runs in an event
            loop. The result is kept until the node ends.

    Returns:
        Exit status: 0 after SIGTERM, else 1.
    """
    record_this_process(folder)
    isolation.make_cgroups(cgroup)
    network_is_up, wait_for_network = os.pipe()[::-1]
    gateway_is_up, wait_for_gateway = os.pipe()[::-1]

    def first_process() -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        prepare()
        os.write(network_is_up, b".")
        return _run_programs(folder, programs) if os.read(wait_for_gateway, 1) else 1

    child = isolation.start_isolated(first_process)
    os.close(network_is_up)
    os.close(wait_for_gateway)
    status = 1
    try:
        if os.read(wait_for_network, 1):
            status = asyncio.run(_join_networks(child, join, gateway_is_up))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        isolation.remove_cgroups(cgroup)
    return status


async def _join_networks(child: int, join: Callable[[int], object], gateway_is_up: int) -> int:
    """Pass connections on until SIGTERM (0) or the end of the child (1)."""
    joined = join(child)
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
    status = int(await ended)
    del joined
    return status


def _run_programs(folder: Path, programs: Sequence[Program]) -> int:
    """Start the programs, and return 1 once one of them ended; orphans of the node are collected here, too."""
    started: dict[int, str] = {}
    for program in programs:
        started[_start(folder, program)] = program.name
        if program.socket:
            _wait_for_socket(program)
    while True:
        process, status = os.wait()
        if process in started:
            print(f"{started[process]} ended with {os.waitstatus_to_exitcode(status)}", flush=True)  # noqa: T201
            return 1


def _start(folder: Path, program: Program) -> int:
    log = os.open(folder / "logs" / f"{program.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    process = os.posix_spawn(program.command[0], program.command, program.variables, file_actions=actions)
    os.close(log)
    return process


def _wait_for_socket(program: Program) -> None:
    end = time.monotonic() + _SOCKET_SECONDS
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(program.socket) == 0:
                return
        time.sleep(0.05)
    print(f"{program.name} does not answer", flush=True)  # noqa: T201
