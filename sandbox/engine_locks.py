"""Locks of the engine's file backend: which are held, and which a killed run left behind.

Owns reading them and the proof that a holder is dead. A lock is a file that names the process, the machine and the time
(`pkg/backend/diy/lock.go` of the engine); it is only taken away when it was made on this machine and that process is
gone or younger than the lock. Anything else is somebody's live run.
"""

from __future__ import annotations

import json
import socket
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psutil

from sandbox.errors import LOCKED, SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def release_dead(backend: Path, project: str, stack: str, say: Callable[[str], None]) -> None:
    """Take away the locks of a stack whose holder is proven dead.

    Raises:
        SandboxError: A holder lives, or cannot be judged from here; exit code 4.
    """
    folder = backend / ".pulumi" / "locks" / "organization" / project / stack
    for file in sorted(folder.glob("*.json")):
        try:
            holder = json.loads(file.read_text())
        except FileNotFoundError:
            continue  # released just now
        except ValueError as error:
            raise SandboxError(
                f"the lock {file} cannot be read", f"`pulumi cancel --stack {stack}` removes it"
            ) from error
        if not is_dead(holder):
            raise SandboxError(
                f"stack {stack} is locked by process {holder.get('pid')} of {holder.get('username')} on "
                f"{holder.get('hostname')} since {holder.get('timestamp')}",
                f"wait for it; if it does not run any more, `pulumi cancel --stack {stack}`",
                exit_code=LOCKED,
            )
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.attrs").unlink(missing_ok=True)
        say(f"{stack} was still locked by process {holder['pid']}, which is gone; the lock is removed")


def is_dead(holder: dict[str, Any]) -> bool:
    """Whether the process that made a lock is certainly gone: made here, and none or a younger one has its id."""
    try:
        pid, made = int(holder["pid"]), datetime.fromisoformat(holder["timestamp"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return False
    if holder.get("hostname") != socket.gethostname():
        return False
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or process.create_time() > made
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
