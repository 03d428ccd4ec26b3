"""What every test may take for granted about its process, and what the processes of one run share."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.support import program
from tests.support.case_names import refuse_escaped_names
from tests.support.groups import GroupScheduling
from tests.support.interrupts import allow_interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator

allow_interrupts()
gc.set_threshold(
    20_000, 50, 50
)  # the SDKs' classes stay to the end; looking through them for garbage costs two seconds
# No deadline, since a loaded machine is no failure; each run of the suite tries other examples.
hypothesis.settings.register_profile("project", deadline=None, max_examples=50)
hypothesis.settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look at the sandbox of the run first: tests of the lifecycle expect what `make up` leaves, and nothing of other tests.

    Refuse names of cases that change from one collection to the next.
    """
    items.sort(key=lambda item: item.path.name != "test_lifecycle.py")
    refuse_escaped_names(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    """Let one process run all tests that share a sandbox."""
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def mock_runs_for_all(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Share mock runs between the processes of one run, in a folder below the one that all of them know."""
    if worker_id != "master":
        program.shared_folder = tmp_path_factory.getbasetemp().parent
    yield
    program.shared_folder = None
