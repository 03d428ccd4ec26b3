"""The programs register for the committed stacks what they registered before (tests/registered.py)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests import registered
from tests.support.program import mock_run

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = json.loads(registered.RECORD.read_text())
RENEW = "if you mean it: python -m tests.registered --write, and a line in CHANGELOG.md"


def changed(record: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*record, *current} if record.get(name) != current.get(name))


@pytest.mark.parametrize("stack", registered.PROGRAMS)
def test_an_up_of_an_unchanged_stack_file_changes_nothing(stack: str) -> None:
    assert changed(RECORD[stack], registered.digests(mock_run(stack).resources)) == [], RENEW


@pytest.mark.thorough
def test_an_up_changes_no_alarm() -> None:
    current = registered.digests(registered.resources_with_alarms())
    assert changed(RECORD[registered.WITH_ALARMS], current) == [], RENEW
