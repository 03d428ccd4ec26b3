"""Drift of a small program: resources that were changed or deleted behind its back, read without the engine's lock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.small_stack import Stack, small_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with small_stack(tmp_path) as small:
        yield small


def test_drift_names_changed_and_lost_resources_and_writes_nothing(stack: Stack, tmp_path: Path) -> None:
    reports = str(tmp_path / "reports")
    assert stack.run("up", "--create").returncode == 0
    clean = stack.run("drift", "--reports", reports, "--json")
    assert (clean.returncode, json.loads(clean.stdout)) == (0, [])
    changed, deleted = sorted(stack.gitlab.store.runners)[:2]
    stack.gitlab.store.runners[changed]["maximum_timeout"] = 7200
    del stack.gitlab.store.runners[deleted]
    before = (stack.backend / ".pulumi/stacks/driver-test/test.json").read_bytes()
    (stack.backend / ".pulumi" / "locks").chmod(0o500)  # as for a role that may only read
    done = stack.run("drift", "--reports", reports, "--json")
    assert done.returncode == 1, done.stderr
    kinds = {resource["kind"]: resource for resource in json.loads(done.stdout)}
    assert set(kinds) == {"cosmetic", "gone"}
    assert "maximumTimeout" in kinds["cosmetic"]["properties"]
    assert (stack.backend / ".pulumi/stacks/driver-test/test.json").read_bytes() == before
    assert "are gone" in (tmp_path / "reports" / "test" / "drift.md").read_text()
    assert stack.run("refresh").returncode == 0
    assert stack.run("up").returncode == 0
    assert stack.run("drift", "--reports", reports).returncode == 0
