"""The two files by which a node's owner and its process know each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.disk import replace
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
    try:
        recorded = json.loads((folder / PROCESS).read_text())
        return ProcessId(pid=recorded["pid"], started=recorded["started"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def record_this_process(folder: Path) -> None:
    """Write down this process, so that a later command can end it if its owner was killed."""
    identity = ProcessId.mine()
    replace(folder / PROCESS, json.dumps({"pid": identity.pid, "started": identity.started}))
