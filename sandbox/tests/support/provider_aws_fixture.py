"""The account that the tests of the aws stand-in share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sandbox.tests.support.provider_aws_world import ControlPlanes, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.aws_cases import Cloud


@pytest.fixture(scope="session")
def planes(aws: Cloud) -> Iterator[ControlPlanes]:
    """What makes EKS clusters active; one for all tests, since two would undo each other's pauses."""
    running = ControlPlanes(aws)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def world(aws: Cloud, planes: ControlPlanes) -> Iterator[World]:
    """An account with things in it; the environment leads to the sandbox's AWS server and nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", aws.deployer)
        patch.setenv("AWS_CONFIG_FILE", str(aws.paths.root / "no-such-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(aws.paths.root / "no-such-credentials"))
        yield World(aws, planes)
