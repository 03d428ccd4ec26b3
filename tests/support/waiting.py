"""Waiting in tests: for something that happens elsewhere, with its name in the failure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], object], what: str, seconds: float = 30) -> float:
    """Wait for something and return how long it took; fail the test with its name when it does not come."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)
    return time.monotonic() - begun
