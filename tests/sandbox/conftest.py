"""One sandbox for the whole suite, with all three stacks deployed by the command that a person types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.live import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox with `foundation`, `dev` and `prod` deployed; tests leave it as they find it."""
    made = Sandbox(tmp_path_factory.mktemp("sandbox") / "root")
    try:
        done = made.up()
        assert done.returncode == 0, f"make up failed:\n{done.stdout}\n{done.stderr}"
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of the module's own, empty and not started, for tests that break it."""
    made = Sandbox(tmp_path_factory.mktemp("own") / "root")
    try:
        yield made
    finally:
        made.stop()
