"""A thread that decides again whenever something changed, and at least every few seconds.

Owns waking, gathering bursts of changes into one round, and surviving errors. Leaves out what a round does.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from runner_platform_sandbox.kubernetes.errors import ApiError, UnknownKindError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_GATHER_SECONDS = 0.05
_AFTER_ERROR_SECONDS = 1.0


class Loop:
    """Runs `round_` in a thread: after `wake`, and when the time that the last round asked for is over.

    Args:
        name: Of the thread, for logs.
        round_: One decision over the whole state; returns seconds until it wants to run again.
    """

    def __init__(self, name: str, round_: Callable[[], float]) -> None:
        self._name = name
        self._round = round_
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin with a first round."""
        self._woken.set()
        self._thread.start()

    def wake(self) -> None:
        """Ask for a round soon; cheap, from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread after its current round."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            self._woken.wait(pause)
            if self._stopping.wait(_GATHER_SECONDS):
                return
            self._woken.clear()
            try:
                pause = self._round()
            except (ApiError, UnreachableError, UnknownKindError) as error:
                # The API server is down or somebody was faster; the next round sees the state as it is then.
                _LOG.info("%s: %s", self._name, error)
                pause = _AFTER_ERROR_SECONDS
            except Exception:  # noqa: BLE001 - one malformed object must not end the loop for all others
                _LOG.exception("%s failed", self._name)
                pause = _AFTER_ERROR_SECONDS
