"""The AWS server that tests share; a plugin of its own, since a module with helpers cannot be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.aws_cases import Cloud, cloud

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One AWS server for all tests that do not restart it; each makes resources of its own names."""
    with cloud(tmp_path_factory.mktemp("aws")) as running:
        yield running
