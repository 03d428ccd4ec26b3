"""The one error that the sandbox shows to a person.

Owns the shape: what happened, what to do about it, the exit code of the command. Leaves out how it is printed:
commands do that, so that nothing here needs a console and no traceback reaches a person.
"""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
INTERRUPTED: Final = 3
LOCKED: Final = 4


class SandboxError(Exception):
    """Something that a person can act on.

    Args:
        message: What happened, with the names and values that matter.
        remedy: The next step; empty where the message already says it.
        exit_code: Of the command that shows it: 1 failed, 3 interrupted with state saved, 4 locked by a live run.
    """

    def __init__(self, message: str, remedy: str = "", *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message
