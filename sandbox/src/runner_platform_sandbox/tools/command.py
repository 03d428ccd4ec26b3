"""Runs one long command: output to a log file, ticks while it runs, and no process left behind.

The command is started through this very file, `python -I command.py <parent> <program> ...`. The child asks Linux for a
signal at its parent's death and then becomes the program: otherwise a build would go on for minutes after its `make up`
was killed. A hook between fork and exec would be unsafe in a process with threads. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


_TICK_SECONDS = 0.2
_GRACE_SECONDS = 5
_TAIL_BYTES = 64 * 1024
_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def run(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
    tick: Callable[[float], None],
) -> int:
    """Run a command to its end.

    The command gets a process group of its own. When the caller is interrupted, the group is ended; when the caller is
    killed, the command ends by itself.

    Args:
        command: Program and arguments.
        log: File to append the output to.
        cwd: Working directory.
        environment: Complete environment.
        tick: Called about five times a second with the seconds since the start.

    Returns:
        The exit code; negative for a signal.
    """
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(environment),
            process_group=0,
        )
        try:
            while True:
                try:
                    return process.wait(timeout=_TICK_SECONDS)
                except subprocess.TimeoutExpired:
                    tick(time.monotonic() - started)
        finally:
            _end(process)


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error message."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the group unless the command has ended."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=_GRACE_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def become(parent: int, command: list[str]) -> None:
    """Ask for SIGTERM at the parent's death, and become the command.

    Args:
        parent: Process id of the starter. If it is not our parent any more, it ended before the request.
        command: Program and arguments.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == parent:
        os.execvp(command[0], command)  # noqa: S606  # becoming the program, without a shell, is the purpose


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
