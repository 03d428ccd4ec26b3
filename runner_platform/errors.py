"""Errors that end a command with one sentence instead of a traceback, with their exit codes."""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """A sentence for the person who typed the command."""

    exit_code: ClassVar[int] = 1


class WrongUseError(CommandError):
    """The command line cannot be used as it was typed."""

    exit_code = 2


class FailedError(CommandError):
    """The command found something wrong, or could not do its work."""

    exit_code = 1


class InterruptedRunError(CommandError):
    """Somebody stopped the run; its state is saved."""

    exit_code = 3


class LockedError(CommandError):
    """A live run holds the stack."""

    exit_code = 4
