"""The two files by which a node's owner and its process know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner_platform_sandbox import processes
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "real-nodes"
"""Folder in the cluster's folder, with one folder per node, named after its pool."""
PLAN: Final = "node.json"
"""Written by the owner: control group, ports, and the programs' command lines."""
PROCESS: Final = "process.json"
"""Written by the node's process: its id and start."""


def recorded_process(folder: Path) -> ProcessId | None:
    """Return the process that a node has or had, or None."""
    return processes.read_record(folder / PROCESS)


def record_this_process(folder: Path) -> None:
    """Write down this process, so that a later command can end it if its owner was killed."""
    processes.write_record(folder / PROCESS, ProcessId.mine())
