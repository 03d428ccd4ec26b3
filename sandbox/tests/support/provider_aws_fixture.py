"""The account that the tests of the aws stand-in share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sandbox.tests.support.provider_aws_account import Account, ControlPlanes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.aws_cases import Cloud


@pytest.fixture(scope="session")
def planes(aws: Cloud) -> Iterator[ControlPlanes]:
    """Activates new EKS clusters; one for all tests, because two would undo each other's pauses."""
    running = ControlPlanes(aws)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def account(aws: Cloud, planes: ControlPlanes) -> Iterator[Account]:
    """The account with its prerequisites; the environment points to the sandbox's AWS server only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", aws.deployer)
        patch.setenv("AWS_CONFIG_FILE", str(aws.paths.root / "no-such-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(aws.paths.root / "no-such-credentials"))
        yield Account(aws, planes)
