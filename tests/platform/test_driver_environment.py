"""Runs in a failing environment: credentials that expire half way, a full disk."""

from __future__ import annotations

import shlex
import subprocess
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.gitlab.server import Answer
from runner_platform_sandbox.organization import PROJECT
from tests.support.small_stack import SECONDS, Stack, small_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform_sandbox.gitlab.server import Request

pytestmark = pytest.mark.sandbox


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with small_stack(tmp_path) as small:
        yield small


def test_expired_credentials_are_named_and_fresh_ones_go_on(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = stack.gitlab.answer

    def answer(request: Request) -> Answer:
        if len(stack.gitlab.store.runners) >= 2 and request.method == "POST":
            return Answer(HTTPStatus.UNAUTHORIZED, {"message": "401 Unauthorized"})
        return valid(request)

    with monkeypatch.context() as patch:
        patch.setattr(stack.gitlab, "answer", answer)
        done = stack.run("up", "--create", PULUMI_PARALLEL="1")
    assert done.returncode == 1, done.stdout
    assert "credentials ran out" in done.stdout
    assert "Traceback" not in done.stdout
    assert len(stack.known) == 2, "what was made before is kept"
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    stack.assert_whole()


@pytest.mark.parametrize("kilobytes", [0, 24])
def test_a_full_disk_in_the_working_folder_loses_nothing(stack: Stack, tmp_path: Path, kilobytes: int) -> None:
    """TMPDIR is a file system of 64 KiB with so much left: the engine's events, and later everything, find no space."""
    small = tmp_path / "small"
    small.mkdir()
    command = [
        sys.executable,
        "-m",
        "runner_platform",
        "up",
        "--create",
        "--stack",
        "test",
        "--folder",
        str(stack.folder),
    ]
    script = (
        f"mount -t tmpfs -o size=64k tmpfs {small} && head -c {(64 - kilobytes) * 1024} /dev/zero > {small}/full; "
        f"TMPDIR={small} exec {shlex.join(command)}"
    )
    if subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        cwd=PROJECT,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    has_state = (stack.backend / ".pulumi/stacks/driver-test/test.json").exists()
    healed = stack.run("up", *([] if has_state else ["--create"]))
    assert healed.returncode == 0, healed.stdout
    stack.assert_whole()
