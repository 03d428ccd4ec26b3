"""The cluster that tests share; a separate plugin, because a module with helpers cannot be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.tests.support.kubernetes_cases import Trial, trial

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One cluster for all tests that do not break it; every test uses unique namespaces and pools."""
    with trial(tmp_path_factory.mktemp("kubernetes")) as running:
        yield running
