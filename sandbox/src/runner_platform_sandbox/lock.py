"""The lock of a sandbox: one command at a time may change it.

The kernel's advisory lock (`flock`) decides, so a killed command never leaves the sandbox locked. The text in the file
only names the holder. `status` and `env` read without the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox import disk
from runner_platform_sandbox.errors import LOCKED, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.paths import Paths


@contextlib.contextmanager
def held(paths: Paths, command: str | None = None, *, file: Path | None = None) -> Iterator[None]:
    """Hold the sandbox's lock, or refuse at once and name the holder.

    Args:
        paths: The sandbox.
        command: The holder's name for other commands; by default the command line of this process.
        file: The file of another lock in the sandbox's root, for what may be done once at a time beside other commands.

    Raises:
        SandboxError: Another command holds the lock (exit code 4), the folder cannot be written, or its disk fills up.
    """
    try:
        paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(file or paths.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SandboxError(
            f"cannot use {paths.root} for the sandbox: {error.strerror}",
            "set RUNNER_PLATFORM_SANDBOX or RUNNER_PLATFORM_CACHE to a folder that you can write",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SandboxError(_holder(handle), "wait for it, or interrupt it", exit_code=LOCKED) from error
        _write_holder(handle, {"pid": os.getpid(), "command": command or _command(), "since": time.time()})
        try:
            with disk.explained(paths):
                yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)  # releases the lock


def _write_holder(handle: int, holder: dict[str, object]) -> None:
    os.ftruncate(handle, 0)
    with contextlib.suppress(OSError):  # a full disk must not stop `reset`, which frees it
        os.pwrite(handle, json.dumps(holder).encode(), 0)


def _holder(handle: int) -> str:
    """Name the holder. The text may be missing for an instant after the lock was taken."""
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        since = time.strftime("%H:%M:%S", time.localtime(holder["since"]))
        return f"the sandbox is held by process {holder['pid']} ({holder['command']}) since {since}"
    except (ValueError, KeyError, TypeError):
        return "the sandbox is held by another command, which has just begun"


def _command() -> str:
    program = Path(sys.argv[0])
    if program.parts[-2:] == ("up", "__main__.py"):
        return "make up"
    return shlex.join([program.name, *sys.argv[1:]])
