"""Time by phase and peak memory of one `make up`: the figures at its end."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from runner_platform_sandbox import processes, state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.paths import Paths

EVERY_SECONDS: Final = 2.0


class Meter:
    """Measures while it is entered.

    Args:
        paths: Whose processes are counted, besides this one's own children.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)
        self._began = time.monotonic()
        self.seconds: dict[str, float] = {}
        """Duration of each phase, in order."""
        self.peak = 0
        """Highest number of bytes that the sandbox and all that this process started had in memory together; a page
        that several share counts once."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(EVERY_SECONDS)

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure one phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, self._now())
            if self._ended.wait(EVERY_SECONDS):
                return

    def _now(self) -> int:
        known = set(processes.family(ProcessId.mine()))
        with contextlib.suppress(SandboxError):
            current = state.read(self._paths)
            if current is not None and current.supervisor is not None:
                known |= set(processes.family(current.supervisor.identity))
        return processes.shared_memory(known)
