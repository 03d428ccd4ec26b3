"""The console that commands write to: a terminal has a width, a log or a pipe has none."""

from __future__ import annotations

import os
import sys
from typing import Final

from rich.console import Console

WIDE: Final = 1000
"""Columns outside a terminal, unless COLUMNS sets them."""


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error; outside a terminal wide enough that no table is squeezed."""
    target = Console(stderr=stderr)
    if not target.is_terminal and "COLUMNS" not in os.environ:
        target.width = WIDE
    return target


def progress(phase: str) -> None:
    """Write one line about the phase that begins to standard error."""
    sys.stderr.write(f"… {phase}\n")
    sys.stderr.flush()
