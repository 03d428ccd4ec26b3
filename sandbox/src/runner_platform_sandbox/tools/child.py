"""Becomes another program that ends when its parent does.

A build whose `make up` was killed would go on for minutes and write into a folder that nobody reads. Linux can tell a
process that its parent is gone; that has to be arranged inside the child, before it becomes the program, and a hook
between fork and exec is unsafe in a process with threads. Run by path, with `python -I`; imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

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
