"""A project with a folder as its backend, for tests of the driver without an engine."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from runner_platform.driver.project import Project

if TYPE_CHECKING:
    from pathlib import Path

FREE_PID = 2**22 + 1  # above the kernel's highest
NAME = "driver-test"


def project(tmp_path: Path) -> Project:
    """Make the stack `test` of a project, with an empty backend."""
    folder = tmp_path / "program"
    folder.mkdir(exist_ok=True)
    (folder / "Pulumi.yaml").write_text(f"name: {NAME}\nruntime: python\n")
    (tmp_path / "backend").mkdir(exist_ok=True)
    return Project(stack="test", folder=folder, url=f"file://{tmp_path}/backend")


def write_state(stack: Project, resources: list[dict[str, Any]], pending: list[dict[str, Any]] | None = None) -> None:
    """Write a state into the backend, in the engine's form."""
    latest = {"resources": resources, "pending_operations": pending or []}
    text = json.dumps({"version": 3, "checkpoint": {"stack": "test", "latest": latest}})
    stack.store.write(f".pulumi/stacks/{NAME}/test.json", text.encode())


def write_lock(stack: Project, pid: int, *, host: str | None = None, age: float = 0.0, name: str = "0f") -> str:
    """Write a lock into the backend, in the engine's form; return its key."""
    created = datetime.now(UTC) - timedelta(seconds=age)
    content = {
        "pid": pid,
        "username": "somebody",
        "hostname": host or socket.gethostname(),
        "timestamp": created.isoformat().replace("+00:00", "123Z"),  # Go writes nanoseconds
    }
    key = f".pulumi/locks/organization/{NAME}/test/{name}.json"
    stack.store.write(key, json.dumps(content).encode())
    return key
