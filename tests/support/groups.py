"""Groups of tests that one worker runs, since they share what is expensive to make (`pytest --dist loadgroup`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

STACKS = "stacks"
"""Tests in the sandbox of the whole run, with its three stacks: a second worker would deploy them again."""


def group_tests(items: Iterable[pytest.Item]) -> None:
    """Put all tests of the deployed stacks into one group, and the other tests of a file into another."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(
                pytest.mark.xdist_group(STACKS if "sandbox" in fixtures else item.nodeid.partition("::")[0])
            )
