"""Runs of the driver with a stand-in for the engine's command line: signals, throttling, locks, failures."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.driver import deployment, engine_process, locks, remaining_changes, repair
from runner_platform.driver import run as runs
from runner_platform.driver.run import Patience
from runner_platform.driver.screen import Screen
from runner_platform.errors import FailedError, InterruptedRunError, LockedError
from tests.support.stack_states import FREE_PID, project, write_lock, write_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runner_platform.driver.engine_progress import Progress
    from runner_platform.driver.project import Project

pytestmark = pytest.mark.processes
URN = "urn:pulumi:test::driver-test::aws:iam/role:Role::job"
PULUMI = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
words = sys.argv[1:]
if "version" in words:
    print("v3.200.0")
    sys.exit(0)
here = pathlib.Path(os.environ["STAND_IN_FOLDER"])
def count(name):
    file = here / name
    file.write_text(str(int(file.read_text() if file.exists() else 0) + 1))
    return int(file.read_text())
how, turn = os.environ["STAND_IN_MODE"], count("runs")
log = open(words[words.index("--event-log") + 1], "w", buffering=1)
def say(**event):
    print(json.dumps({{"sequence": 1, "timestamp": 1, **event}}), file=log)
about = {{"urn": "{URN}", "op": "create", "type": "aws:iam/role:Role", "provider": "",
         "new": {{"type": "t", "urn": "{URN}", "custom": True, "id": "", "parent": "", "inputs": {{}}, "outputs": {{}}}}}}
def end(code):
    say(cancelEvent={{}})
    time.sleep(0.3)
    sys.exit(code)
def fail(message):
    say(diagnosticEvent={{"urn": "{URN}", "message": message, "color": "", "severity": "error"}})
    end(255)
CUT = "error: get stack secrets manager: KMS: Decrypt, read tcp: use of closed network connection"
if how == "cut" and turn == 1:
    sys.stderr.write(CUT)
    end(255)
say(resourcePreEvent={{"metadata": about}})
if how == "cut later":
    sys.stderr.write(CUT)
    end(255)
if how in ("waits", "polite"):
    signal.signal(signal.SIGINT, lambda *_: count("interrupts"))
    count("ready")
    time.sleep(0.8)
    end(0 if how == "polite" else 255)
if how == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    count("ready")
    time.sleep(30)
if how == "throttled" and turn == 1:
    fail("ThrottlingException: Rate exceeded")
if how == "torn":
    say(resOpFailedEvent={{"metadata": about, "status": 0, "steps": 1}})
    fail("ThrottlingException: Rate exceeded; error reading from server: EOF")
if how == "fails":
    fail("AccessDenied: no")
if how == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "locked" and turn == 1:
    sys.stderr.write("error: the stack is currently locked by 1 lock(s).")
    end(255)
say(resOutputsEvent={{"metadata": about}})
say(summaryEvent={{"resourceChanges": {{"create": 1, "same": 4}}, "maybeCorrupt": False, "durationSeconds": 1, "policyPacks": {{}}}})
end(0)
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    program = tmp_path / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(PULUMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_FOLDER", str(tmp_path))
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(engine_process, "TERMINATE_SECONDS", 0.2)
    monkeypatch.setattr(engine_process, "PLUGIN_SECONDS", 0.2)
    stack = project(tmp_path)
    write_state(stack, [])
    return stack


@pytest.fixture
def run(stack: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    def up(how: str, **patience: float) -> deployment.Result:
        monkeypatch.setenv("STAND_IN_MODE", how)
        with runs.begin(
            stack, "up", Screen(as_json=False), Patience(**{"lock": 0, "throttled": 0.01, **patience})
        ) as current:
            return deployment.up(current)

    yield up
    assert locks.read_records(stack) == [], "however it ends, the record is gone"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the handlers are put back"


def signalled(tmp_path: Path, *numbers: signal.Signals) -> threading.Thread:
    """Send signals to this process once the engine is ready for them."""

    def send() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.1)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def test_a_run_counts_what_it_changed(run: Callable[..., Any]) -> None:
    result = run("works")
    assert result.changes == {"create": 1}
    assert "1 create" in result.sentence
    assert result.document()["found"] == [], "the key of `--json`"


@pytest.mark.parametrize("how", ["waits", "polite"], ids=["exit code 255", "exit code 0, as a destroy"])
def test_the_engine_gets_exactly_one_interrupt_of_several_signals(
    run: Callable[..., Any], tmp_path: Path, how: str
) -> None:
    sender = signalled(tmp_path, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
    with pytest.raises(InterruptedRunError, match="goes on from there") as stopped:
        run(how)
    sender.join()
    assert stopped.value.exit_code == 3
    assert (tmp_path / "interrupts").read_text() == "1"


def test_a_stopped_run_names_the_remaining_changes_line_by_line(
    run: Callable[..., Any], stack: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lines(project: Project, operation: str, progress: Progress, plan: Path | None) -> list[str]:
        assert (project, operation, list(progress.running), plan) == (stack, "up", [URN], None)
        return ["create Role job", "and 3 more"]

    monkeypatch.setattr(remaining_changes, "lines", lines)
    sender = signalled(tmp_path, signal.SIGTERM)
    with pytest.raises(InterruptedRunError) as stopped:
        run("waits")
    sender.join()
    ending = "What is left:\n  create Role job\n  and 3 more\n`runner-platform up --stack test` goes on from there"
    assert str(stopped.value).endswith(ending)


def test_an_engine_that_does_not_end_is_ended_at_the_deadline(run: Callable[..., Any], tmp_path: Path) -> None:
    sender = signalled(tmp_path, signal.SIGTERM)
    began = time.monotonic()
    with pytest.raises(InterruptedRunError, match="was not waited for"):
        run("stubborn", stop=0.2)
    sender.join()
    assert time.monotonic() - began < 25


def test_a_throttled_run_is_tried_again(
    run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("throttled").changes == {"create": 1}
    assert (tmp_path / "runs").read_text() == "2"
    assert "attempt 2 of 4" in capsys.readouterr().out


def test_a_run_that_was_disconnected_before_it_began_is_tried_again(
    run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("cut").changes == {"create": 1}
    assert (tmp_path / "runs").read_text() == "2"
    assert "the engine lost a connection before it began; tries again in" in capsys.readouterr().out


def test_a_run_that_was_disconnected_later_is_not_tried_again(run: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="use of closed network connection"):
        run("cut later")
    assert (tmp_path / "runs").read_text() == "1"


def test_an_unanswered_creation_is_searched_instead_of_tried_again(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []
    monkeypatch.setattr(
        repair, "settle_unanswered", lambda run: searched.extend(entry["urn"] for entry in run.progress.unfinished)
    )
    with pytest.raises(FailedError, match="goes on from there"):
        run("torn")
    assert searched == [URN]
    assert (tmp_path / "runs").read_text() == "1", "a second run would make it twice"


def test_a_failure_is_reported_in_the_engines_words(run: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="Role job: AccessDenied: no"):
        run("fails")
    assert (tmp_path / "runs").read_text() == "1", "what is no throttling is not tried again"


def test_a_killed_engine_is_named_by_its_signal(run: Callable[..., Any]) -> None:
    with pytest.raises(FailedError, match="ended by signal 9"):
        run("dies")


def test_a_run_that_was_faster_is_waited_for(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run("locked").changes == {"create": 1}
    assert (tmp_path / "runs").read_text() == "2"


def test_a_live_holder_ends_the_wait_with_exit_code_4(run: Callable[..., Any], stack: Project, tmp_path: Path) -> None:
    write_lock(stack, os.getpid())
    with pytest.raises(LockedError, match=f"process {os.getpid()} of somebody") as refusal:
        run("works", lock=0.1)
    assert refusal.value.exit_code == 4
    assert not (tmp_path / "runs").exists(), "the engine was not even started"
    stack.store.delete(f".pulumi/locks/organization/{stack.name}/test/0f.json")


def test_a_dead_holders_lock_is_removed_and_reported(run: Callable[..., Any], stack: Project) -> None:
    write_lock(stack, FREE_PID)
    (leftover,) = run("works").leftovers
    assert f"there is no process {FREE_PID} on this machine any more" in leftover


def test_a_stack_without_a_state_is_not_made(run: Callable[..., Any], stack: Project, tmp_path: Path) -> None:
    stack.store.delete(f".pulumi/stacks/{stack.name}/test.json")
    with pytest.raises(FailedError, match="--create"):
        run("works")
    assert not (tmp_path / "runs").exists()


def test_a_missing_engine_says_where_to_get_one(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(FailedError, match="sandbox env"):
        run("works")


def test_nothing_is_repaired_without_pending_operations(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "_settle", lambda *_, **__: pytest.fail("nothing to settle"))
    assert run("works").leftovers == []
