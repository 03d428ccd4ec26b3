"""Where commands write for people: a terminal has a width, a log or a pipe has none."""

from __future__ import annotations

import os
from typing import Final

from rich.console import Console

WIDE: Final = 1000
"""Columns of what is no terminal, unless COLUMNS says them."""


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error; tables in a log are not squeezed into the width of a terminal that is not there."""
    made = Console(stderr=stderr)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = WIDE
    return made
