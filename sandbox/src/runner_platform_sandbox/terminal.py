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
"""Columns of what is no terminal."""


def console(*, stderr: bool = False) -> Console:
    """Where the sandbox writes; a log or a pipe has no width, so nothing is broken to fit one, unless COLUMNS says it.

    Args:
        stderr: Standard error instead of standard output.
    """
    made = Console(stderr=stderr)
    if not made.file.isatty() and "COLUMNS" not in os.environ:
        made.width = WIDE
    return made


def sayer(console: Console, indent: str = "") -> Callable[[str], None]:
    """What prints sentences as they are: never wrapped, so that a log can be searched, and without markup."""

    def say(text: str) -> None:
        console.print(f"{indent}{text}", markup=False, highlight=False, soft_wrap=True)

    return say


def show_error(console: Console, error: SandboxError) -> None:
    """Print what happened and what to do."""
    console.print(f"[bold red]error:[/] {escape(error.message)}", highlight=False, soft_wrap=True)
    if error.remedy:
        sayer(console)(error.remedy)
