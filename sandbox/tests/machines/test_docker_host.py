"""A machine that cannot run Docker says why; Docker's packages are pinned."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.machines.docker_host import PACKAGES, Programs
from runner_platform_sandbox.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


def test_without_root_the_obstacle_is_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="Docker containers need root"):
        Programs.find(Paths(cache=tmp_path, root=tmp_path))


def test_every_package_of_docker_has_a_version() -> None:
    assert all("=" in package for package in PACKAGES.read_text().split())
