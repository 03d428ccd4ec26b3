"""What a command says instead of a traceback, with the exit code that it ends with."""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """A sentence for the person who typed the command."""

    exit_code: ClassVar[int] = 1


class WrongUseError(CommandError):
    """The command line itself cannot be used."""

    exit_code = 2


class FailedError(CommandError):
    """What was asked for is not as it should be, or could not be done."""

    exit_code = 1


class InterruptedRunError(CommandError):
    """Somebody asked the run to stop; its state is saved."""

    exit_code = 3


class LockedError(CommandError):
    """A live run holds the stack."""

    exit_code = 4
