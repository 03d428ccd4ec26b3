"""What the command line says instead of a traceback; imports nothing, so that every command starts fast."""

from __future__ import annotations


class WrongUseError(Exception):
    """The command line does not make sense; exit code 2."""


class FailedError(Exception):
    """What was asked for could not be done; the message says why and what to do; exit code 1."""
