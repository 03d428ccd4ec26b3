"""A cache and a PATH with nothing but a fake Go, for the tests that build."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner_platform_sandbox.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

ROOT = Path(__file__).resolve().parents[3]
HANGS = "exec /bin/sleep 60"
GO = """#!/bin/sh
case "$1" in
version) echo "go version go{version} linux/amd64" ;;
env) echo '{{"GOPROXY":"https://proxy.example"}}' ;;
build)
    while [ "$1" != -o ]; do shift; done
    echo half > "$2"
    echo "$$ $GOPROXY $HOME" > "{folder}/building"
    {build}
    /bin/chmod 755 "$2" ;;
mod) echo '{{"Dir": "{folder}/module"}}' ;;
esac
"""


class Bench(NamedTuple):
    """A cache, a PATH with nothing but a fake Go, and what that Go was told."""

    paths: Paths
    folder: Path

    def go(self, build: str = ":", version: str = "1.26.8") -> None:
        """Write the fake Go; `build` is what it does after half of the binary is on disk."""
        program = self.folder / "go"
        program.write_text(GO.format(build=build, version=version, folder=self.folder), encoding="utf-8")
        program.chmod(0o755)

    def start(self, *names: str) -> subprocess.Popen[str]:
        """Start a builder in a process of its own."""
        environment = {
            "PATH": str(self.folder),
            "HOME": str(self.folder),
            "RUNNER_PLATFORM_CACHE": str(self.paths.cache),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "runner_platform_sandbox.tools", "ensure", *names],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def building(self) -> list[str]:
        """Wait until Go builds; return its process id, proxy and HOME."""
        wait_for(
            lambda: self.folder.joinpath("building").exists() and bool(self.folder.joinpath("building").read_text())
        )
        return self.folder.joinpath("building").read_text().split()

    def entries(self) -> list[str]:
        """Names below `tools`, without locks and logs."""
        return sorted(entry.name for entry in self.paths.tools.iterdir() if entry.name not in {"locks", "logs"})


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Prepare the folders, and a Go that builds at once."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    bench = Bench(Paths(cache=tmp_path / "cache", root=tmp_path / "sandbox"), folder)
    bench.go()
    return bench


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within thirty seconds"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
