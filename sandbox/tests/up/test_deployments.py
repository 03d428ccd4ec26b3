"""Deployments with a stand-in for the driver: what is shown, what is told when it fails or is stopped."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from runner_platform_sandbox import ports, state
from runner_platform_sandbox.errors import INTERRUPTED, LOCKED, SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.up import deployments, progress
from runner_platform_sandbox.up.deployments import Engine, Stack, deploy, stages

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.up.deployments import Events

DRIVER = f"""#!{sys.executable}
import json, os, signal, sys, time
words = sys.argv[1:]
assert words[:3] == ["up", "--stack", "dev"], words
assert "--create" in words and "--json" in words, words
begun = False
def say(**event):
    global begun
    print(("," if begun else "[") + json.dumps(event), flush=True)
    begun = True
def end(result, code, **more):
    say(event="result", result=result, message=result, **more)
    print("]")
    sys.exit(code)
how = os.environ["FAKE_HOW"]
say(event="note", message="target: the sandbox")
say(event="note", message="found: a lock of nobody")
say(event="progress", changed=1, message="1 done: creating Role job")
if how == "waits":
    signal.signal(signal.SIGINT, lambda *_: end("interrupted", 3))
    time.sleep(30)
if how == "locked":
    end("locked", 4)
if how == "fails":
    say(event="result", result="failed", message="up of dev failed: Role job: AccessDenied: no")
    print("]")
    sys.exit(1)
if how == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
end("succeeded", 0, resources=5, changes={{"create": 1}}, seconds=1.5, accounts=["222222222222"])
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr("runner_platform_sandbox.up.deployments.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("runner_platform_sandbox.up.deployments.POLL_SECONDS", 0.02)
    return Stack(name="dev", folder=tmp_path)


def engine(root: Path, how: str) -> Engine:
    paths = Paths(cache=root / "cache", root=root / "sandbox")
    paths.logs.mkdir(parents=True, exist_ok=True)
    program = root / "runner-platform"
    program.write_text(DRIVER)
    program.chmod(0o755)
    surroundings = {**os.environ, "FAKE_HOW": how, "RUNNER_PLATFORM_SANDBOX": str(paths.root)}
    return Engine(paths=paths, program=[str(program)], environment=surroundings, folder=root)


def ignore(_name: str, _events: Events) -> None:
    """Watch without looking."""


def forget(_text: str) -> None:
    """Listen without remembering."""


def test_a_deployment_is_counted_and_what_a_killed_run_had_left_is_said(tmp_path: Path, stack: Stack) -> None:
    seen: list[str] = []
    said: list[str] = []
    (done,) = deploy(
        engine(tmp_path, "works"),
        [stack],
        lambda name, events: seen.append(f"{name} {events.changed}"),
        said.append,
    )
    assert (done.stack, done.resources, done.changes, done.accounts) == ("dev", 5, {"create": 1}, ["222222222222"])
    assert seen[-1] == "dev 1"
    assert said == ["dev: a lock of nobody"]


def test_a_stack_that_somebody_holds_gives_exit_code_4(tmp_path: Path, stack: Stack) -> None:
    with pytest.raises(SandboxError) as refusal:
        deploy(engine(tmp_path, "locked"), [stack], ignore, forget)
    assert refusal.value.exit_code == LOCKED


def test_a_failure_shows_the_engines_words_and_what_happened_in_the_sandbox(tmp_path: Path, stack: Stack) -> None:
    made = engine(tmp_path, "fails")
    mine = ProcessId.mine()
    current = state.State(
        run_id="r",
        ports=ports.choose(),
        supervisor=state.Process(name="supervisor", pid=mine.pid, started=mine.started),
    )
    current.note(time.time() + 1, "aws: the AWS server (signal 9) ended by itself")
    state.write(made.paths, current)
    with pytest.raises(SandboxError) as failure:
        deploy(made, [stack], ignore, forget)
    assert "Role job: AccessDenied: no" in failure.value.message
    assert "the AWS server (signal 9) ended by itself" in failure.value.message
    assert "make up" in failure.value.remedy


def test_a_driver_that_was_killed_is_named_with_its_signal(tmp_path: Path, stack: Stack) -> None:
    with pytest.raises(SandboxError, match="ended by signal 9"):
        deploy(engine(tmp_path, "dies"), [stack], ignore, forget)


def test_ctrl_c_reaches_the_engine_and_gives_exit_code_3(tmp_path: Path, stack: Stack) -> None:
    def interrupt_once_it_works(_name: str, events: Events) -> None:
        if events.message and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)

    sent = threading.Event()
    with pytest.raises(SandboxError, match="interrupted") as stopped:
        deploy(engine(tmp_path, "waits"), [stack], interrupt_once_it_works, forget)
    assert stopped.value.exit_code == INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "the handler is put back"


def test_what_a_killed_run_left_running_is_ended(tmp_path: Path, stack: Stack) -> None:
    made = engine(tmp_path, "waits")
    run = deployments.Run(made, stack.name)
    while not (run.poll() and run.events.message):
        time.sleep(0.01)
    assert deployments.end_leftovers(made.paths) == [run.process.pid]
    assert run.process.wait() is not None
    assert deployments.end_leftovers(made.paths) == [], "its record is gone"


def test_foundation_comes_before_the_platform() -> None:
    assert [[stack.name for stack in stage] for stage in stages()] == [["foundation"], ["dev", "prod"]]


def test_a_log_gets_a_line_now_and_then(tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
    written = io.StringIO()
    with progress.following(Console(file=written), ["dev"]) as watch:
        deploy(engine(tmp_path, "works"), [stack], watch, forget)
    assert "dev (" in written.getvalue()
    assert "1 done: creating Role job" in written.getvalue()
