"""Processes are ended by id and start time, never anybody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox import processes
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.processes


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_got_the_id_of_an_ended_one_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    known = ProcessId.of(sleeper.pid)
    assert known is not None
    earlier = ProcessId(pid=known.pid, started=known.started - 3600)
    assert not earlier.alive
    assert not processes.end(earlier, patience=0.1)
    assert sleeper.poll() is None, "another process with the same id was ended"


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    ready = tmp_path / "child"
    program = f"""
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path({str(ready)!r}).write_text(str(child.pid))
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    while not (ready.exists() and ready.read_text()):
        time.sleep(0.01)
    child = ProcessId.of(int(ready.read_text()))
    known = ProcessId.of(process.pid)
    assert known is not None
    assert child is not None
    assert processes.end(known, patience=0.5)
    assert not known.alive
    assert not child.alive, "a child outlived its parent"
    process.wait()


def test_an_ended_process_is_not_alive_even_before_it_is_waited_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    known = ProcessId.of(process.pid)
    assert known is not None
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not known.alive, "a zombie counts as ended"
    process.wait()


def test_only_members_of_a_session_that_carry_the_root_belong_to_the_sandbox(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    mine = subprocess.Popen(sleep, start_new_session=True, env={**os.environ, "RUNNER_PLATFORM_SANDBOX": str(tmp_path)})
    other = subprocess.Popen(sleep, start_new_session=True)
    try:
        assert [found.pid for found in processes.in_session(mine.pid, tmp_path)] == [mine.pid]
        assert processes.in_session(other.pid, tmp_path) == [], "its session id could have been handed out again"
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_memory_counts_live_processes_only(sleeper: subprocess.Popen[bytes]) -> None:
    known = ProcessId.of(sleeper.pid)
    assert known is not None
    assert processes.memory([known]) > 0
    assert processes.memory([ProcessId(pid=known.pid, started=0)]) == 0
