"""A machine that cannot run a node says why; the node's pins and its pause image fit."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.real_node import debian, programs
from runner_platform_sandbox.real_node.pause import program
from runner_platform_sandbox.tools import catalogue

if TYPE_CHECKING:
    from pathlib import Path


def test_the_kubelet_has_the_api_servers_version() -> None:
    assert catalogue.KUBELET.version == catalogue.API_SERVER.version


def test_without_root_the_obstacle_is_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "real pods need root" in programs.obstacle(Paths(cache=tmp_path, root=tmp_path))


def test_a_kubelet_that_was_not_built_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "machine_obstacle", lambda: "")
    assert "tools ensure kubelet" in programs.obstacle(Paths(cache=tmp_path, root=tmp_path))


def test_without_apt_the_missing_container_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(SandboxError, match=r"lacks containerd and .*runc.*, and this machine has no apt-get"):
        programs.unpack(["runc=1"], tmp_path)
    with pytest.raises(SandboxError, match="Debian or Ubuntu"):
        debian.download(["runc"], tmp_path)


def test_the_pause_program_is_an_executable_of_a_few_bytes() -> None:
    content = program()
    assert content.startswith(b"\x7fELF")
    assert len(content) < 200
