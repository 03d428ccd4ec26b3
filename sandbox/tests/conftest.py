"""What every test may take for granted about its process."""

from __future__ import annotations

import pytest

from tests.support.groups import group_tests
from tests.support.interrupts import allow_interrupts

allow_interrupts()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that share a sandbox run in one process."""
    group_tests(items)
