"""The engine's home: launchers that follow the SDKs' versions and the place of the environment."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from runner_platform_sandbox import engine
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Origin, PresentTool, Tools


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(cache=tmp_path / "cache", root=tmp_path / "a folder")


@pytest.fixture
def tools(paths: Paths) -> Tools:
    program = paths.tools / "pulumi-0" / "bin" / "pulumi"
    pulumi = PresentTool(name="pulumi", program=program, version=None, origin=Origin.CACHE)
    return Tools(paths=paths, present={pulumi.name: pulumi})


def plugin(paths: Paths, name: str) -> Path:
    version = metadata.version(f"pulumi-{name}")
    return paths.pulumi_home / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}"


def test_every_stand_in_is_where_the_engine_looks_for_the_sdks_version(paths: Paths, tools: Tools) -> None:
    folders = engine.prepare(paths, tools, Path("/venv"))
    assert folders == [tools.pulumi_language_python]
    assert paths.backend.is_dir()
    for name in ("aws", "kubernetes", "gitlab"):
        assert os.access(plugin(paths, name), os.X_OK)


def test_a_launcher_runs_the_environments_python_with_the_engines_arguments(paths: Paths, tools: Tools) -> None:
    venv = paths.root / "the venv"
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    engine.prepare(paths, tools, venv)
    said = subprocess.run([plugin(paths, "aws"), "127.0.0.1:1"], capture_output=True, text=True, check=True).stdout
    assert said == "-I -m runner_platform_sandbox.providers.aws 127.0.0.1:1\n"


def test_a_second_preparation_writes_nothing(paths: Paths, tools: Tools) -> None:
    engine.prepare(paths, tools, Path("/venv"))
    before = plugin(paths, "aws").stat().st_ino
    engine.prepare(paths, tools, Path("/venv"))
    assert plugin(paths, "aws").stat().st_ino == before


def test_launchers_follow_a_moved_environment_and_a_new_sdk(paths: Paths, tools: Tools) -> None:
    engine.prepare(paths, tools, Path("/old"))
    old = paths.pulumi_home / "plugins" / "resource-aws-v1.0.0"
    old.mkdir()
    other = paths.pulumi_home / "plugins" / "resource-awsx-v1.0.0"
    other.mkdir()
    engine.prepare(paths, tools, Path("/new"))
    assert "/new/bin/python" in plugin(paths, "aws").read_text(encoding="utf-8")
    assert not old.exists(), "the engine takes the newest when a program names no version"
    assert other.exists(), "only our own launchers are removed"


def test_a_home_that_cannot_be_written_is_a_clear_error(paths: Paths, tools: Tools) -> None:
    paths.root.touch()
    with pytest.raises(SandboxError, match="cannot be written") as refused:
        engine.prepare(paths, tools, Path("/venv"))
    assert "RUNNER_PLATFORM_SANDBOX" in refused.value.remedy


def test_a_missing_sdk_is_named(paths: Paths, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "STAND_INS", ("nothing",))
    with pytest.raises(SandboxError, match="pulumi-nothing is not installed"):
        engine.prepare(paths, tools, Path("/venv"))
