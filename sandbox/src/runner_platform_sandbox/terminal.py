"""How the sandbox speaks to a person: one line a sentence, no traceback, a remedy under each error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.errors import SandboxError


WIDE: Final = 1000
"""Columns of a log or a pipe."""


def console(*, stderr: bool = False) -> Console:
    """Return the console to write on. A log or a pipe breaks no line, unless COLUMNS names a width.

    Args:
        stderr: Standard error instead of standard output.
    """
    output = Console(stderr=stderr)
    if not output.file.isatty() and "COLUMNS" not in os.environ:
        output.width = WIDE
    return output


def sayer(console: Console, indent: str = "") -> Callable[[str], None]:
    """Return a function that prints a sentence without wrapping, so that a log can be searched."""

    def say(text: str) -> None:
        console.print(f"{indent}{text}", markup=False, highlight=False, soft_wrap=True)

    return say


def show_error(console: Console, error: SandboxError) -> None:
    """Print an error and its remedy."""
    console.print(f"[bold red]error:[/] {escape(error.message)}", highlight=False, soft_wrap=True)
    if error.remedy:
        sayer(console)(error.remedy)
