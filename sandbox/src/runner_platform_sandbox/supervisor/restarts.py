"""The budget of restarts: longer waits after each death, and the end after five within a minute.

A process that cannot live is a fault to show, not one to retry for ever.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

LIMIT: Final = 5
WINDOW_SECONDS: Final = 60.0
FIRST_WAIT_SECONDS: Final = 0.5


@dataclass(kw_only=True)
class Restarts:
    """The restarts of one part of the sandbox. Times are monotonic seconds."""

    _times: deque[float] = field(default_factory=deque)
    _next: float = 0.0
    given_up: bool = False
    """Stays true until the sandbox is started again."""

    def due(self, now: float) -> bool:
        """Whether a restart may happen now; a permitted restart is counted."""
        while self._times and now - self._times[0] > WINDOW_SECONDS:
            self._times.popleft()
        if self.given_up or now < self._next:
            return False
        if len(self._times) >= LIMIT:
            self.given_up = True
            return False
        self._times.append(now)
        self._next = now + FIRST_WAIT_SECONDS * 2 ** (len(self._times) - 1)
        return True
