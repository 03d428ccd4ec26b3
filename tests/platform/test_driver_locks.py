"""Locks and states with the real engine: two runs at once, locks of dead and live runs, lost states, failing backends."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.support.small_stack import LOCKS, Stack, kill_all, small_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox
STATE = ".pulumi/stacks/driver-test/test.json"
JOB = {
    "CI_PIPELINE_ID": "77",
    "CI_JOB_ID": "4711",
    "CI_JOB_URL": "https://gitlab.example/platform/-/jobs/4711",
    "CI_PROJECT_ID": "5",
}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with small_stack(tmp_path) as small:
        yield small


def foreign_lock(stack: Stack, name: str = "foreign") -> Path:
    """A lock as a plain `pulumi up` of another machine leaves it."""
    file = stack.backend / LOCKS / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    file.write_text(json.dumps({"pid": 1, "username": "somebody", "hostname": "elsewhere", "timestamp": created}))
    return file


def test_the_second_of_two_runs_names_the_first_and_waits_for_it(stack: Stack) -> None:
    stack.gitlab.delay = 12  # for each of four, one after the other
    first = stack.begin("up", "--create", PULUMI_PARALLEL="1", **JOB)
    stack.in_the_middle(first)
    second = stack.begin("up")
    impatient = stack.run("up", "--wait", "0s")
    assert impatient.returncode == 4, impatient.stdout
    assert "job 4711 of pipeline 77 (https://gitlab.example/platform/-/jobs/4711)" in impatient.stdout
    refused = stack.run("unlock")
    assert refused.returncode == 4, "a live one is not broken"
    assert "runs on this machine" in refused.stdout
    assert stack.end(first).returncode == 0
    done = stack.end(second)
    assert done.returncode == 0, done.stdout
    assert "waiting for job 4711" in done.stdout
    stack.assert_whole()


def test_an_unanswered_creation_is_found_and_kept_in_the_state(stack: Stack) -> None:
    stack.gitlab.open.clear()
    running = stack.begin("up", "--create")
    stack.in_the_middle(running)
    done = stack.end(running)  # the provider gives up after half a minute
    assert done.returncode == 1, done.stdout
    assert "was being made when its provider ended or got no answer" in done.stdout
    stack.gitlab.open.set()
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    stack.assert_whole()


def test_only_the_lock_of_a_dead_run_is_removed(stack: Stack) -> None:
    stack.gitlab.open.clear()
    running = stack.begin("up", "--create", **JOB)
    stack.in_the_middle(running)
    kill_all(running, stack.engine)
    stack.gitlab.open.set()
    foreign = foreign_lock(stack)
    blocked = stack.run("up", "--wait", "1s")
    assert blocked.returncode == 4
    assert "found: a lock of job 4711 of pipeline 77" in blocked.stdout
    assert "process 1 of somebody on elsewhere" in blocked.stdout
    assert stack.locks == [foreign], "nothing proves its holder dead"
    explained = stack.run("unlock")
    assert explained.returncode == 1
    assert "--lock foreign" in explained.stdout
    assert stack.run("unlock", "--lock", "nonsense").returncode == 2
    assert stack.run("unlock", "--lock", "foreign").returncode == 0
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    stack.assert_whole()
    assert stack.run("unlock").stdout.splitlines()[-1] == "nobody holds stack test"


def test_a_reused_process_id_proves_the_lock_dead(stack: Stack) -> None:
    assert stack.run("up", "--create").returncode == 0
    file = foreign_lock(stack)
    old = {"pid": os.getpid(), "username": "me", "hostname": socket.gethostname(), "timestamp": "2020-01-01T00:00:00Z"}
    file.write_text(json.dumps(old))
    reported = stack.run("unlock", "--json")
    assert reported.returncode == 0, reported.stderr
    assert json.loads(reported.stdout)[0]["fate"] == "dead"
    assert stack.locks == []


def test_a_lost_state_does_not_count_as_an_empty_one(stack: Stack) -> None:
    assert stack.run("up", "--create").returncode == 0
    state = stack.backend / STATE
    kept = state.read_bytes()
    state.unlink()
    for arguments in (["up"], ["up", "--create"], ["preview"], ["refresh"]):
        refused = stack.run(*arguments)
        assert refused.returncode == 1, arguments
        assert "was lost" in refused.stdout, refused.stdout
        assert "backups/driver-test/test/" in refused.stdout, "says what to restore it from"
    assert len(stack.gitlab.store.runners) == 4
    state.write_bytes(kept)
    assert "no changes" in stack.run("up").stdout


def test_a_truncated_state_is_restored_by_the_printed_commands(stack: Stack) -> None:
    assert stack.run("up", "--create").returncode == 0
    state = stack.backend / STATE
    state.write_bytes(state.read_bytes()[:500])
    refused = stack.run("up")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stdout
    pasted = [
        line.strip() for line in refused.stdout.splitlines() if line.strip().startswith(("cp ", "rm ", "# or cp "))
    ]
    assert len(pasted) >= 2, refused.stdout
    assert "/backups/" in pasted[0], "the copy of the last completed run is the newest"
    for line in pasted:
        assert os.system(line) == 0  # noqa: S605 - the line that a person would paste
    done = stack.run("up")
    assert done.returncode == 0, done.stdout
    stack.assert_whole()


def test_after_a_failing_backend_the_next_run_converges(stack: Stack) -> None:
    assert stack.run("up", "--create").returncode == 0
    stack.set("runners", "6")
    stack.gitlab.open.clear()
    stack.gitlab.asked.clear()
    running = stack.begin("up", PULUMI_PARALLEL="1")
    stack.in_the_middle(running)
    moved = stack.backend.rename(stack.backend.with_name("unreachable"))
    stack.backend.write_text("a file where the folder was")
    stack.gitlab.open.set()
    done = stack.end(running)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    stack.backend.unlink()
    moved.rename(stack.backend)
    assert len(stack.gitlab.store.runners) == 5, "one was made, and nobody could write it down"
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    stack.assert_whole(6)


def test_throttling_is_waited_out(stack: Stack) -> None:
    stack.gitlab.refusals = 4 * 4  # each creation is tried four times by its provider, and then given up
    done = stack.run("up", "--create", PULUMI_PARALLEL="4")
    assert done.returncode == 0, done.stdout
    assert "throttled by a cloud; tries again in" in done.stdout
    stack.assert_whole()
