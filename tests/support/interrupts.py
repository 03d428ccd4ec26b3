"""Ctrl-C in the processes that tests start."""

from __future__ import annotations

import signal


def allow_interrupts() -> None:
    """Take SIGINT again if this process ignores it, as background jobs of a shell and of many a CI runner do.

    Every process that a test starts would inherit that, and no Ctrl-C that a test sends would arrive.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
