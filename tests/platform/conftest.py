"""One sandbox for the whole suite, with all three stacks deployed by the command that a person types.

While writing a test, RUNNER_PLATFORM_TESTED_SANDBOX may name the root of a sandbox to use instead: it is brought up to date and left running.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.running_sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox with `foundation`, `dev` and `prod` deployed; tests leave it as they find it."""
    kept = os.environ.get("RUNNER_PLATFORM_TESTED_SANDBOX")
    made = Sandbox(Path(kept) if kept else tmp_path_factory.mktemp("sandbox") / "root")
    try:
        done = made.up()
        assert done.returncode == 0, f"make up failed:\n{done.stdout}\n{done.stderr}"
        yield made
    finally:
        if not kept:
            made.stop()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of the module's own, empty and not started, for tests that break it."""
    made = Sandbox(tmp_path_factory.mktemp("own") / "root")
    try:
        yield made
    finally:
        made.stop()
