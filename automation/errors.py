"""What the command line says instead of a traceback; imports nothing, so that every command starts fast."""

from __future__ import annotations


class WrongUseError(Exception):
    """The command line does not make sense; exit code 2."""
