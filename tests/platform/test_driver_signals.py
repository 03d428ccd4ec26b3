"""A deployment is cancelled, killed, or loses its engine: the state is whole, and the next run finishes it."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.small_stack import Stack, kill_all, small_stack
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox
SEEDS = range(int(os.environ.get("DRIVER_SEEDS", "5")))
"""How often `up` is killed at a random moment: DRIVER_SEEDS=100 pytest -m sandbox -k random_moment …"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with small_stack(tmp_path) as small:
        yield small


def test_a_stack_is_created_only_with_the_option(stack: Stack) -> None:
    refused = stack.run("up")
    assert refused.returncode == 1, refused.stdout
    assert "--create" in refused.stdout
    assert stack.gitlab.store.runners == {}
    done = stack.run("up", "--create")
    assert done.returncode == 0, done.stdout
    stack.assert_whole()
    assert "target: AWS" in done.stdout.splitlines()[0], "the first thing that is said"
    again = stack.run("up")
    assert again.returncode == 0
    assert "no changes" in again.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancelled_run_finishes_the_resource_in_hand_and_the_next_run_the_others(
    stack: Stack, number: signal.Signals
) -> None:
    stack.gitlab.open.clear()
    running = stack.begin("up", "--create", "--json", PULUMI_PARALLEL="1")
    stack.in_the_middle(running)
    running.send_signal(number)
    time.sleep(1)
    running.send_signal(number)  # GitLab, or an impatient person
    stack.gitlab.open.set()
    done = stack.end(running)
    assert done.returncode == 3, done.stdout + done.stderr
    events = json.loads(done.stdout)
    assert events[-1]["result"] == "interrupted"
    assert "goes on from there" in events[-1]["message"]
    assert stack.known == ["1"], "the runner in hand is in the state, and nothing else was begun"
    assert not stack.state.get("pending_operations")
    assert stack.locks == stack.records == []
    assert stack.run("up").returncode == 0
    stack.assert_whole()


def test_an_engine_that_is_too_slow_is_ended_and_its_resource_found_again(stack: Stack) -> None:
    stack.gitlab.open.clear()
    running = stack.begin("up", "--create", "--stop", "3s")
    stack.in_the_middle(running)
    running.terminate()
    done = stack.end(running)
    assert done.returncode == 3, done.stdout
    assert "was not waited for" in done.stdout
    stack.gitlab.open.set()
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    assert "was being made when the last run was killed" in healed.stdout
    stack.assert_whole()


def test_a_killed_engine_is_named_and_leaves_no_process(stack: Stack) -> None:
    stack.gitlab.open.clear()
    running = stack.begin("up", "--create")
    stack.in_the_middle(running)
    engine = stack.engine
    os.kill(engine, signal.SIGKILL)
    stack.gitlab.open.set()
    done = stack.end(running)
    assert done.returncode == 1
    assert "ended by signal 9" in done.stdout
    with pytest.raises(ProcessLookupError):
        os.killpg(engine, 0)
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    stack.assert_whole()


def test_the_engine_of_a_killed_driver_finishes_before_the_next_run(stack: Stack) -> None:
    stack.gitlab.open.clear()
    running = stack.begin("up", "--create")
    stack.in_the_middle(running)
    running.kill()
    running.communicate()
    following = stack.begin("up")
    assert following.stdout is not None
    leftover = next((line for line in following.stdout if "found: " in line), "")
    assert "an engine whose driver was killed" in leftover
    time.sleep(1)
    assert following.poll() is None, "it waits: somebody still makes things"
    stack.gitlab.open.set()
    done = stack.end(following)
    assert done.returncode == 0, done.stdout
    assert "was being made" not in done.stdout, "the engine wrote down everything"
    stack.assert_whole()


def test_a_killed_provider_fails_the_run_and_the_next_one_finishes(stack: Stack) -> None:
    stack.gitlab.open.clear()
    running = stack.begin("up", "--create")
    stack.in_the_middle(running)
    plugins = [
        int(pid)
        for pid in os.listdir("/proc")  # noqa: PTH208 - only names are needed
        if pid.isdigit()
        and session_of(int(pid)) == stack.engine
        and "runner_platform_sandbox.providers.gitlab" in command_of(pid)
    ]
    for plugin in plugins:
        os.kill(plugin, signal.SIGKILL)
    assert plugins
    stack.gitlab.open.set()
    done = stack.end(running)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    stack.assert_whole()


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def command_of(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - a pseudo file
            return file.read().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_a_random_moment_the_next_run_converges(stack: Stack, seed: int) -> None:
    stack.gitlab.delay = 0.4
    running = stack.begin("up", "--create", PULUMI_PARALLEL="2")
    until(lambda: bool(stack.locks) or running.poll() is not None, "the engine", 120)
    engine = stack.engine
    time.sleep(random.Random(seed).uniform(0, 6))  # noqa: S311 - repeatable on purpose
    kill_all(running, engine)
    time.sleep(1)
    healed = stack.run(
        "up", *([] if (stack.backend / ".pulumi/stacks/driver-test/test.json").exists() else ["--create"])
    )
    assert healed.returncode == 0, healed.stdout
    stack.assert_whole()
    again = stack.run("up")
    assert "no changes" in again.stdout, again.stdout
