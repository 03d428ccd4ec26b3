"""Deployments with a stand-in for the engine's command line: what is shown, what is told when it fails or is stopped."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sandbox import display, engine_run, ports, state
from sandbox.deploy import Stack, deploy, stages
from sandbox.engine_run import Engine
from sandbox.errors import INTERRUPTED, SandboxError
from sandbox.paths import Paths
from sandbox.processes import ProcessId

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.engine_log import Progress

URN = "urn:pulumi:dev::runner-platform::aws:iam/role:Role::job"
PULUMI = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
words = sys.argv[1:]
backend = pathlib.Path(os.environ["FAKE_BACKEND"])
if words[:2] == ["stack", "init"]:
    file = backend / ".pulumi" / "stacks" / "runner-platform" / (words[2] + ".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    resources = [{{"type": "pulumi:providers:aws", "inputs": {{"allowedAccountIds": '["222222222222"]'}}}}]
    file.write_text(json.dumps({{"version": 3, "checkpoint": {{"latest": {{"resources": resources}}}}}}))
    sys.exit(0)
log = open(words[words.index("--event-log") + 1], "w", buffering=1)
say = lambda **event: print(json.dumps(event), file=log)
how = os.environ["FAKE_HOW"]
about = {{"urn": "{URN}", "op": "create", "new": {{"custom": True}}}}
say(resourcePreEvent={{"metadata": about}})
if how == "waits":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(1))
    time.sleep(30)
if how == "fails":
    say(diagnosticEvent={{"urn": "{URN}", "message": "AccessDenied: no", "severity": "error"}})
    sys.exit(255)
if how == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
say(resOutputsEvent={{"metadata": about}})
say(summaryEvent={{"resourceChanges": {{"create": 1, "same": 4}}}})
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr("sandbox.deploy.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("sandbox.engine_run.POLL_SECONDS", 0.02)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "Pulumi.yaml").write_text("name: runner-platform\n")
    return Stack(name="dev", folder=tmp_path / "project")


def engine(root: Path, how: str) -> Engine:
    paths = Paths(cache=root / "cache", root=root / "sandbox")
    paths.logs.mkdir(parents=True, exist_ok=True)
    program = root / "pulumi"
    program.write_text(PULUMI)
    program.chmod(0o755)
    found = {**os.environ, "FAKE_HOW": how, "FAKE_BACKEND": str(paths.backend)}
    return Engine(paths=paths, program=str(program), environment={**found, "RUNNER_PLATFORM_SANDBOX": str(paths.root)})


def ignore(_name: str, _progress: Progress) -> None:
    """Watch without looking."""


def say_nothing(text: str) -> None:
    pytest.fail(f"nothing should be said of a clean run: {text}")


def test_a_missing_stack_is_made_and_its_deployment_counted(tmp_path: Path, stack: Stack) -> None:
    seen: list[str] = []
    (done,) = deploy(
        engine(tmp_path, "works"),
        [stack],
        lambda name, progress: seen.append(f"{name} {progress.changed}"),
        say_nothing,
    )
    assert (done.stack, done.resources, done.changes, done.accounts) == ("dev", 1, {"create": 1}, ["222222222222"])
    assert seen[-1] == "dev 1"


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
        deploy(made, [stack], ignore, say_nothing)
    assert "Role job: AccessDenied: no" in failure.value.message
    assert "the AWS server (signal 9) ended by itself" in failure.value.message
    assert "make up" in failure.value.remedy


def test_an_engine_that_was_killed_is_named_with_its_signal(tmp_path: Path, stack: Stack) -> None:
    with pytest.raises(SandboxError, match="ended by signal 9"):
        deploy(engine(tmp_path, "dies"), [stack], ignore, say_nothing)


def test_ctrl_c_reaches_the_engine_and_gives_exit_code_3(tmp_path: Path, stack: Stack) -> None:
    def interrupt_once_it_works(_name: str, progress: Progress) -> None:
        if progress.running and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)

    sent = threading.Event()
    with pytest.raises(SandboxError, match="interrupted") as stopped:
        deploy(engine(tmp_path, "waits"), [stack], interrupt_once_it_works, say_nothing)
    assert stopped.value.exit_code == INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "the handler is put back"


def test_what_a_killed_run_left_running_is_ended(tmp_path: Path, stack: Stack) -> None:
    made = engine(tmp_path, "waits")
    run = engine_run.Run(made, ["up"], stack.folder, "dev")
    while not (run.poll() and run.progress.running):
        time.sleep(0.01)
    assert engine_run.end_leftovers(made.paths) == [run.process.pid]
    assert run.process.wait() is not None
    assert engine_run.end_leftovers(made.paths) == [], "its record is gone"


def test_foundation_comes_before_the_platform() -> None:
    assert [[stack.name for stack in stage] for stage in stages()] == [["foundation"], ["dev", "prod"]]


def test_a_log_gets_a_line_now_and_then(tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "PLAIN_EVERY_SECONDS", 0.0)
    written = io.StringIO()
    with display.following(Console(file=written), ["dev"]) as watch:
        deploy(engine(tmp_path, "works"), [stack], watch, say_nothing)
    assert "dev (" in written.getvalue()
    assert "1 done" in written.getvalue()
    assert json.dumps({}) not in written.getvalue()
