"""Plans are done exactly, or refused with every difference; a promotion requires the same program, proven."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.driver import promotion
from runner_platform.driver.project import Project
from tests.support.small_stack import Stack, small_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with small_stack(tmp_path) as small:
        git(small, "init", "--quiet", "--initial-branch=main")
        (small.folder / ".gitignore").write_text("__pycache__/\nreports/\n")
        commit(small)
        yield small


def git(stack: Stack, *arguments: str) -> None:
    person = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *person, *arguments], cwd=stack.folder, check=True)


def commit(stack: Stack) -> None:
    git(stack, "add", "--all")
    git(stack, "commit", "--quiet", "--message", "a change")


def planned(stack: Stack) -> Path:
    plan = stack.folder / "reports" / "plan.json"
    done = stack.run("preview", "--plan", str(plan))
    assert done.returncode == 0, done.stdout
    return plan


def test_a_plan_is_done_exactly_and_then_used_up(stack: Stack) -> None:
    assert stack.run("up", "--create").returncode == 0
    stack.set("text", "second")
    commit(stack)
    plan = planned(stack)
    done = stack.run("up", "--plan", str(plan))
    assert done.returncode == 0, done.stdout
    assert "held to plan.json" in done.stdout
    stack.assert_whole(text="second")
    again = stack.run("up", "--plan", str(plan))
    assert again.returncode == 1
    assert "the stack was changed since, by another run" in again.stdout


def test_every_difference_is_named_and_nothing_is_touched(stack: Stack) -> None:
    assert stack.run("up", "--create").returncode == 0
    stack.set("text", "second")
    commit(stack)
    plan = planned(stack)
    stack.set("text", "third")
    refused = stack.run("up", "--plan", str(plan))
    assert refused.returncode == 1
    assert "the program is another one" in refused.stdout
    assert "the settings were changed" in refused.stdout
    assert "the stack was changed" not in refused.stdout
    stack.set("text", "second")
    plan.write_text(plan.read_text() + " ")
    assert "the plan file itself was changed" in stack.run("up", "--plan", str(plan)).stdout
    stack.assert_whole(text="first")


def test_a_plan_that_the_engine_refuses_is_refused_as_a_whole(stack: Stack) -> None:
    """The environment is no part of a tree: what a program reads there can still move."""
    assert stack.run("up", "--create").returncode == 0
    program = stack.folder / "__main__.py"
    program.write_text(program.read_text().replace("config.get('text')", "__import__('os').environ.get('TEXT')"))
    commit(stack)
    plan = stack.folder / "reports" / "plan.json"
    assert stack.run("preview", "--plan", str(plan), TEXT="planned").returncode == 0
    refused = stack.run("up", "--plan", str(plan), TEXT="another")
    assert refused.returncode == 1, refused.stdout
    assert "violates plan" in refused.stdout
    stack.assert_whole(text="first")


def test_a_first_deployment_is_bound_but_not_held_and_says_so(stack: Stack) -> None:
    stack.set("runners", "0")
    commit(stack)
    assert stack.run("up", "--create").returncode == 0
    stack.set("runners", "4")
    commit(stack)
    plan = planned(stack)
    assert json.loads(plan.with_name("plan.json.binding.json").read_text())["exempt"] == "a first deployment"
    done = stack.run("up", "--plan", str(plan))
    assert done.returncode == 0, done.stdout
    assert "a first deployment cannot be held to a plan" in done.stdout


def test_a_stopped_run_names_the_remaining_changes_of_its_plan(stack: Stack) -> None:
    assert stack.run("up", "--create").returncode == 0
    stack.set("runners", "7")
    commit(stack)
    plan = planned(stack)
    stack.gitlab.open.clear()
    stack.gitlab.asked.clear()
    running = stack.begin("up", "--plan", str(plan), PULUMI_PARALLEL="1")
    stack.in_the_middle(running)
    running.terminate()
    time.sleep(2)  # the signal goes through the driver to the engine
    stack.gitlab.open.set()
    done = stack.end(running)
    assert done.returncode == 3, done.stdout
    added = {int(identifier) for identifier in stack.known} - {1, 2, 3, 4}
    assert len(added) == 1, "the one that was in hand"
    _, _, remaining = done.stdout.partition("What is left:\n")
    named = [line.strip() for line in remaining.splitlines()[:-1]]
    assert len(named) == 2, done.stdout
    assert set(named) < {f"create UserRunner runner-{number}" for number in (4, 5, 6)}
    assert stack.run("up").returncode == 0
    stack.assert_whole(7)


def test_a_missing_plan_is_wrong_use(stack: Stack) -> None:
    assert stack.run("up", "--create").returncode == 0
    refused = stack.run("up", "--plan", "nowhere.json")
    assert refused.returncode == 2
    assert "runner-platform preview --plan" in refused.stdout


def test_promotion_requires_the_same_program_deployed_and_proven(stack: Stack) -> None:
    (stack.folder / "Pulumi.other.yaml").write_text("config:\n  driver-test:runners: 1\n")
    commit(stack)
    origin = Project(stack="test", folder=stack.folder, url=f"file://{stack.backend}")

    def promoted() -> Any:
        return stack.run("up", "--create", "--promoted-from", "test", stack="other")

    assert "nothing says what runs in test" in promoted().stdout
    assert stack.run("up", "--create").returncode == 0
    commit(stack)  # the engine wrote the stack's salt
    assert stack.run("up").returncode == 0
    refused = promoted()
    assert refused.returncode == 1
    assert "was not proven since it was deployed" in refused.stdout
    promotion.record_proof(origin, passed=False)
    assert "was found wrong by `prove`" in promoted().stdout
    promotion.record_proof(origin, passed=True)
    (stack.folder / "note.txt").write_text("not committed")
    assert "uncommitted changes (note.txt)" in promoted().stdout
    commit(stack)
    assert "this is" in promoted().stdout, "another tree"
    (stack.folder / "note.txt").unlink()
    commit(stack)
    done = promoted()
    assert done.returncode == 0, done.stdout
    assert "promoted from test" in done.stdout
