"""The lock: one command at a time, and the second knows who is first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox import lock
from runner_platform_sandbox.errors import LOCKED, SandboxError
from runner_platform_sandbox.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(cache=tmp_path / "cache", root=tmp_path / "sandbox")


def test_the_second_command_is_told_who_holds_it_and_since_when(paths: Paths) -> None:
    with (
        lock.held(paths, "make up"),
        pytest.raises(SandboxError, match=rf"process {os.getpid()} \(make up\) since \d\d:\d\d:\d\d") as refusal,
        lock.held(paths, "runner-platform sandbox stop"),
    ):
        pytest.fail("two commands changed the sandbox at once")
    assert refusal.value.exit_code == LOCKED, "exit code 4 says: locked by a live run"


def test_it_is_free_again_afterwards_and_tells_no_holder(paths: Paths) -> None:
    with lock.held(paths, "first"):
        pass
    assert paths.lock_file.read_text() == ""
    with lock.held(paths, "second"):
        assert json.loads(paths.lock_file.read_text())["command"] == "second"


def test_a_killed_holder_leaves_it_free(paths: Paths) -> None:
    program = f"""
import os, signal
from pathlib import Path
from runner_platform_sandbox import lock
from runner_platform_sandbox.paths import Paths
with lock.held(Paths(cache=Path({str(paths.cache)!r}), root=Path({str(paths.root)!r})), "make up"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert paths.lock_file.read_text(), "the killed holder's text is still there"
    with lock.held(paths, "next"):
        pass


def test_a_folder_that_cannot_be_written_names_the_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError) as refusal, lock.held(Paths(cache=tmp_path, root=tmp_path / "file" / "below")):
        pytest.fail("a lock without a file")
    assert "RUNNER_PLATFORM_SANDBOX" in refusal.value.remedy
