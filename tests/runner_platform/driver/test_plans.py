"""What a plan is bound to, what a promotion wants: judged without an engine, on small git repositories."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from runner_platform.driver import plans, promotion, source
from runner_platform.errors import FailedError, WrongUseError
from tests.support.stack_states import project, write_state

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.driver.project import Project

BUCKET = {"type": "aws:s3/bucket:Bucket", "urn": "b"}
CLI = "3.200.0"


def git(folder: Path, *arguments: str) -> None:
    person = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True)


def commit(of: Project) -> None:
    git(of.folder, "add", "--all")
    git(of.folder, "commit", "--message", "a change", "--allow-empty")


@pytest.fixture
def stack(tmp_path: Path) -> Project:
    made = project(tmp_path)
    made.settings_file.write_text("config: {}\n")
    git(made.folder, "init", "--initial-branch=main")
    commit(made)
    write_state(made, [BUCKET])
    return made


@pytest.fixture
def plan(stack: Project, tmp_path: Path) -> Path:
    file = tmp_path / "plan.json"
    file.write_text("{}")
    plans.bind(stack, file, cli=CLI, steps=[])
    return file


def test_a_plan_that_nothing_has_moved_holds(stack: Project, plan: Path) -> None:
    assert plans.require(stack, plan, cli=CLI).exempt is None


def test_each_thing_that_moves_is_named(stack: Project, plan: Path) -> None:
    write_state(stack, [BUCKET, BUCKET])
    stack.settings_file.write_text("config: {a: b}\n")
    plan.write_text("{ }")
    with pytest.raises(FailedError) as refusal:
        plans.require(stack, plan, cli="3.201.0")
    said = str(refusal.value)
    for word in (
        "plan file itself",
        "program is another",
        "settings were changed",
        "by another run",
        "CLI has another",
    ):
        assert word in said
    assert "another stack" not in said
    assert "3.200.0 when it was planned, 3.201.0 now" in said


def test_an_old_plan_is_refused(stack: Project, plan: Path) -> None:
    old = replace(plans.read(plan), made=(datetime.now(UTC) - timedelta(days=8)).isoformat())
    plans.file_of(plan).write_text(json.dumps(asdict(old)))
    with pytest.raises(FailedError, match="8 days old"):
        plans.require(stack, plan, cli=CLI)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null"])
def test_a_plan_without_its_binding_is_wrong_use(plan: Path, content: str) -> None:
    plans.file_of(plan).write_text(content)
    with pytest.raises(WrongUseError, match="make the plan anew"):
        plans.read(plan)


def test_a_first_deployment_and_a_replaced_cluster_are_exempt(stack: Project, plan: Path) -> None:
    step = {"type": plans.CLUSTER, "operation": "create-replacement"}
    assert plans.bind(stack, plan, cli=CLI, steps=[step]).exempt == plans.REPLACED
    assert plans.bind(stack, plan, cli=CLI, steps=[{**step, "operation": "update"}]).exempt is None
    write_state(stack, [])
    assert plans.bind(stack, plan, cli=CLI, steps=[]).exempt == plans.FIRST


def test_the_tree_of_a_changed_folder_is_what_a_commit_would_make_it(stack: Project) -> None:
    clean = source.of(stack.folder)
    (stack.folder / "new.py").write_text("x = 1\n")
    changed = source.of(stack.folder)
    assert changed.changed == ("new.py",)
    assert changed.tree != clean.tree
    commit(stack)
    committed = source.of(stack.folder)
    assert (committed.tree, committed.changed) == (changed.tree, ())
    assert committed.commit != clean.commit


def test_a_folder_without_git_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(FailedError, match="checkout with a commit"):
        source.of(tmp_path)


def test_a_promotion_wants_the_same_tree_proven(stack: Project) -> None:
    prod = replace(stack, stack="prod")
    with pytest.raises(FailedError, match="nothing says what runs in test"):
        promotion.require(prod, stack)
    promotion.deployed(stack)
    with pytest.raises(FailedError, match="was not proven since"):
        promotion.require(prod, stack)
    promotion.proven(stack, fine=False)
    with pytest.raises(FailedError, match="found wrong by `prove`"):
        promotion.require(prod, stack)
    promotion.proven(stack, fine=True)
    assert "promoted from test" in promotion.require(prod, stack)
    promotion.deployed(stack)
    with pytest.raises(FailedError, match="was not proven since"):
        promotion.require(prod, stack)


def test_a_promotion_of_another_or_an_uncommitted_program_is_refused(stack: Project) -> None:
    prod = replace(stack, stack="prod")
    promotion.deployed(stack)
    promotion.proven(stack, fine=True)
    (stack.folder / "note.txt").write_text("x")
    with pytest.raises(FailedError, match=r"uncommitted changes \(note.txt\)"):
        promotion.require(prod, stack)
    commit(stack)
    with pytest.raises(FailedError, match=r"test runs .{8} \(tree .{8}\), this is"):
        promotion.require(prod, stack)


def test_a_proof_of_what_nobody_recorded_is_recorded_nowhere(stack: Project) -> None:
    promotion.proven(stack, fine=True)
    assert promotion.read(stack) is None
