"""A full disk under the sandbox is a sentence with a remedy, and what frees it works on it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox import disk, environment, lifecycle, lock, state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 256 * 1024


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Paths]:
    """A sandbox that was started once, on a disk without a free byte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command, so there is no small disk")
    if mounted.returncode != 0:
        pytest.skip("no small disk may be mounted here; it takes root")
    try:
        paths = Paths(cache=tmp_path / "cache", root=folder / "root")
        paths.root.mkdir()
        state.write(paths, state.State(run_id="0a1b", ports=state.Ports(aws=1, aws_jobs=2, gitlab=3)))
        (folder / "filler").write_bytes(b"\0" * 1024)
        with pytest.raises(OSError, match="No space left"), (folder / "filler").open("ab") as filler:
            filler.write(b"\0" * SIZE)
        yield paths
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def started(paths: Paths) -> subprocess.CompletedProcess[str]:
    """`make up`, until its first word."""
    surroundings = environment.inherited() | {
        "RUNNER_PLATFORM_CACHE": str(paths.cache),
        "RUNNER_PLATFORM_SANDBOX": str(paths.root),
        "PATH": "/nowhere",
    }
    program = (
        "import sys; from runner_platform_sandbox import lifecycle; from runner_platform_sandbox.up import __main__ as up; "
        "lifecycle.prepare = lambda paths, *_: lifecycle.start(paths); sys.exit(up.main([]))"
    )
    arguments = [sys.executable, "-c", program]
    return subprocess.run(arguments, cwd=PROJECT, env=surroundings, capture_output=True, text=True, check=False)


def test_make_up_on_a_full_disk_says_so_without_a_traceback(full: Paths) -> None:
    done = started(full)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        f"error: the disk of {full.root} has 0 MiB free, and the sandbox needs {disk.KEPT}",
        disk.REMEDY,
    ]


def test_a_state_that_cannot_be_written_stays_what_it_was(full: Paths) -> None:
    before = full.state_file.read_text()
    found = state.read(full)
    assert found is not None
    with pytest.raises(SandboxError, match="No space left") as refusal:
        state.write(full, found)
    assert refusal.value.remedy == disk.REMEDY
    assert full.state_file.read_text() == before
    assert list(full.root.glob(".*")) == [], "no half-written file takes the last room"


def test_reset_frees_a_full_disk(full: Paths) -> None:
    with lock.held(full):
        lifecycle.reset(full)
    assert [entry.name for entry in full.root.iterdir()] == ["lock"]


def test_a_disk_that_fills_up_on_the_way_is_explained_with_the_file(tmp_path: Path) -> None:
    paths = Paths(cache=tmp_path, root=tmp_path / "root")
    with pytest.raises(SandboxError) as refusal, lock.held(paths):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(paths.logs / "supervisor.log"))
    assert refusal.value.message == f"cannot write {paths.logs / 'supervisor.log'}: No space left on device"
    assert refusal.value.remedy == disk.REMEDY


def test_other_errors_of_the_operating_system_are_not_called_a_full_disk(tmp_path: Path) -> None:
    paths = Paths(cache=tmp_path, root=tmp_path / "root")
    with pytest.raises(PermissionError), lock.held(paths):
        raise PermissionError(errno.EACCES, "no", "x")


def test_a_new_sandbox_needs_more_room_than_one_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(cache=tmp_path, root=tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 100 * 2**20))
    disk.require_space(paths, disk.KEPT)
    with pytest.raises(SandboxError, match=f"100 MiB free, and the sandbox needs {disk.NEW}"):
        disk.require_space(paths, disk.NEW)
