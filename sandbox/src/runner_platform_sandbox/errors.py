"""The error that the sandbox's commands show to a person: what happened, what to do, which exit code.

The commands print it (`terminal.show_error`), so that no traceback reaches a person.
"""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 3
LOCKED: Final = 4


class SandboxError(Exception):
    """Something that a person can act on.

    Args:
        message: What happened, with the names and values that matter.
        remedy: The next step; empty if the message already has it.
        exit_code: 1 failed, 2 wrong use, 3 interrupted with the state saved, 4 another command holds the sandbox.
    """

    def __init__(self, message: str, remedy: str = "", *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message
