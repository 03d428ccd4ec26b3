"""SIGTERM and SIGINT while a command runs: the engine is asked once to finish what it has in hand, and is given time.

GitLab's cancel sends SIGTERM to the driver, a person's Ctrl-C SIGINT. A second signal to the engine would make it forget the resource
in hand, so later signals are swallowed until a deadline; then the engine is ended. Where no engine runs the command just stops.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Final, Protocol

from runner_platform.errors import InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_SECONDS: Final = 20 * 60.0
"""How long the resource in hand may take; the longest of the platform's, a cluster, takes a quarter of an hour."""


class Stoppable(Protocol):
    """An engine process."""

    def interrupt(self) -> None:
        """Ask it to finish what it has in hand."""

    def end(self) -> None:
        """End it and everything it started, at once."""


class Interruption:
    """Whether somebody asked the command to stop, and who must be told.

    Args:
        seconds: from the first signal until the engine is ended.
        say: takes the sentence that answers the first signal.
    """

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self.asked = False
        self.overdue = False
        """Whether the engine had to be ended before it had finished."""
        self._seconds, self._say = seconds, say
        self._running: Stoppable | None = None
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals within the block; must be entered by the main thread."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            if self._timer:
                self._timer.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def reaching(self, process: Stoppable) -> Iterator[None]:
        """Let signals reach this process within the block."""
        self._running = process
        try:
            if self.asked:  # it came between the process's start and now
                process.interrupt()
            yield
        finally:
            self._running = None

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            return
        self.asked = True
        if self._running is None:
            raise InterruptedRunError(f"stopped by {signal.Signals(number).name}; nothing was in hand")
        self._running.interrupt()
        self._timer = threading.Timer(self._seconds, self._overdue, [self._running])
        self._timer.daemon = True
        self._timer.start()
        self._say(
            f"{signal.Signals(number).name}: the engine finishes what it has in hand and saves the state; "
            f"further signals are ignored for {self._seconds:.0f} s"
        )

    def _overdue(self, process: Stoppable) -> None:
        self.overdue = True
        process.end()
