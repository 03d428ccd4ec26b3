"""Waiting in tests for an event in another process; the failure names the event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], object], what: str, seconds: float = 30) -> float:
    """Wait until a condition holds and return the seconds; fail the test with `what` if it does not hold in time."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)
    return time.monotonic() - start
