"""Runs one long command: output to a log file, a tick while it runs, nothing left of it afterwards."""

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


def run(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
    tick: Callable[[float], None],
) -> int:
    """Run a command to its end.

    It gets a process group of its own. When the caller is interrupted, the group is ended; when the caller is killed,
    the command ends by itself.

    Args:
        command: Program and arguments.
        log: File that its output is appended to.
        cwd: Its working directory.
        environment: Its whole environment.
        tick: Called about five times a second with the seconds since the start.

    Returns:
        Its exit code; negative for a signal.
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
    """End what is left of the group; after a normal end that is nothing."""
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


_SET_PARENT_DEATH_SIGNAL = 1


def main(parent: int, command: list[str]) -> None:
    """Arrange the signal and become the command.

    Args:
        parent: Process id of the starter; when it is no longer our parent, it ended before we could arrange anything.
        command: Program and arguments.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == parent:
        os.execvp(command[0], command)  # noqa: S606  # becoming the program, without a shell, is the purpose


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
