"""What the processes of one run of the unit suite share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit import program

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def rehearsals_for_all(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With several processes, each has a folder below one that all of them know."""
    if worker_id != "master":
        program.shared_folder = tmp_path_factory.getbasetemp().parent
    yield
    program.shared_folder = None
