"""Short commands of the Pulumi CLI on the backend of the platform's state."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runner_platform.bootstrap.state_backend import Backend
from runner_platform.driver import engine_process
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from pathlib import Path

PULUMI = """#!/bin/sh
echo run >> runs
test "$(wc -l < runs)" -ge {failures} || {{ echo "error: {error}" >&2; exit 255; }}
echo done
"""
LOST_KEY = "secrets (code=Unknown): operation error KMS: Decrypt, read tcp: use of closed network connection"


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(engine_process, "RETRY_SECONDS", 0)
    return Backend(url="file:///state", folder=tmp_path)


def pulumi(folder: Path, error: str, successful_run: int) -> None:
    program = folder / "pulumi"
    program.write_text(PULUMI.format(failures=successful_run, error=error))
    program.chmod(0o755)


def test_a_command_that_lost_its_connection_to_the_key_is_tried_again(backend: Backend) -> None:
    pulumi(backend.folder, LOST_KEY, successful_run=2)
    assert backend.run("stack", "export") == "done\n"
    assert (backend.folder / "runs").read_text() == "run\n" * 2


@pytest.mark.parametrize(
    ("error", "runs"), [(LOST_KEY, 3), ("read tcp: use of closed network connection", 1), ("no stack named dev", 1)]
)
def test_a_command_fails_for_good_after_three_lost_connections_or_another_error(
    backend: Backend, error: str, runs: int
) -> None:
    pulumi(backend.folder, error, successful_run=9)
    with pytest.raises(FailedError, match="pulumi stack export on file:///state"):
        backend.run("stack", "export")
    assert (backend.folder / "runs").read_text() == "run\n" * runs
