"""Update plans and promotions, compared without an engine on small git repositories."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from runner_platform.driver import promotion, update_plans
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


def commit(stack: Project) -> None:
    git(stack.folder, "add", "--all")
    git(stack.folder, "commit", "--message", "a change", "--allow-empty")


@pytest.fixture
def stack(tmp_path: Path) -> Project:
    stack = project(tmp_path)
    stack.settings_file.write_text("config: {}\n")
    git(stack.folder, "init", "--initial-branch=main")
    commit(stack)
    write_state(stack, [BUCKET])
    return stack


@pytest.fixture
def plan(stack: Project, tmp_path: Path) -> Path:
    file = tmp_path / "plan.json"
    file.write_text("{}")
    update_plans.bind(stack, file, cli=CLI, steps=[])
    return file


def test_a_plan_holds_while_nothing_differs(stack: Project, plan: Path) -> None:
    assert update_plans.require_current(stack, plan, cli=CLI).exempt is None


def test_every_difference_is_named(stack: Project, plan: Path) -> None:
    write_state(stack, [BUCKET, BUCKET])
    stack.settings_file.write_text("config: {a: b}\n")
    plan.write_text("{ }")
    with pytest.raises(FailedError) as refusal:
        update_plans.require_current(stack, plan, cli="3.201.0")
    message = str(refusal.value)
    for phrase in (
        "plan file itself",
        "program is another",
        "settings were changed",
        "by another run",
        "CLI has another",
    ):
        assert phrase in message
    assert "another stack" not in message
    assert "3.200.0 when it was planned, 3.201.0 now" in message


def test_an_old_plan_is_refused(stack: Project, plan: Path) -> None:
    old = replace(update_plans.read_binding(plan), created=(datetime.now(UTC) - timedelta(days=8)).isoformat())
    update_plans.binding_file(plan).write_text(json.dumps(asdict(old)))
    with pytest.raises(FailedError, match="8 days old"):
        update_plans.require_current(stack, plan, cli=CLI)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null"])
def test_a_plan_without_its_binding_is_wrong_use(plan: Path, content: str) -> None:
    update_plans.binding_file(plan).write_text(content)
    with pytest.raises(WrongUseError, match="make the plan anew"):
        update_plans.read_binding(plan)


def test_a_first_deployment_and_a_replaced_cluster_are_exempt(stack: Project, plan: Path) -> None:
    step = {"type": update_plans.CLUSTER, "operation": "create-replacement"}
    assert update_plans.bind(stack, plan, cli=CLI, steps=[step]).exempt == update_plans.REPLACED
    assert update_plans.bind(stack, plan, cli=CLI, steps=[{**step, "operation": "update"}]).exempt is None
    write_state(stack, [])
    assert update_plans.bind(stack, plan, cli=CLI, steps=[]).exempt == update_plans.FIRST


def test_the_tree_of_a_changed_folder_is_the_tree_of_its_commit(stack: Project) -> None:
    clean = update_plans.source_of(stack.folder)
    (stack.folder / "new.py").write_text("x = 1\n")
    changed = update_plans.source_of(stack.folder)
    assert changed.changed == ("new.py",)
    assert changed.tree != clean.tree
    commit(stack)
    committed = update_plans.source_of(stack.folder)
    assert (committed.tree, committed.changed) == (changed.tree, ())
    assert committed.commit != clean.commit


def test_every_file_of_a_new_folder_is_a_change(stack: Project) -> None:
    (stack.folder / "more").mkdir()
    for name in ("a.py", "b.py"):
        (stack.folder / "more" / name).write_text("x = 1\n")
    source = update_plans.source_of(stack.folder)
    assert source.changed == ("more/a.py", "more/b.py")
    assert source.name == f"{source.commit[:8]} with 2 uncommitted changes"


def test_a_file_that_git_keeps_although_it_ignores_it_is_part_of_the_tree(stack: Project) -> None:
    (stack.folder / "kept.log").write_text("x\n")
    commit(stack)
    (stack.folder / ".gitignore").write_text("*.log\n")
    changed = update_plans.source_of(stack.folder)
    commit(stack)
    assert update_plans.source_of(stack.folder).tree == changed.tree


def test_a_binding_names_stack_commit_and_versions(stack: Project, plan: Path) -> None:
    binding = update_plans.read_binding(plan)
    assert binding.stack.endswith("/test")
    assert binding.commit == update_plans.source_of(stack.folder).commit
    assert binding.cli == CLI
    assert set(binding.plugins) == set(update_plans.SDKS)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(binding.created)) < timedelta(minutes=5)


def test_a_folder_without_git_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(FailedError, match="checkout with a commit"):
        update_plans.source_of(tmp_path)


def test_a_promotion_requires_the_same_tree_proven(stack: Project) -> None:
    prod = replace(stack, stack="prod")
    with pytest.raises(FailedError, match="nothing says what runs in test"):
        promotion.require(prod, stack)
    promotion.record_deployment(stack)
    with pytest.raises(FailedError, match="was not proven since"):
        promotion.require(prod, stack)
    promotion.record_proof(stack, passed=False)
    with pytest.raises(FailedError, match="found wrong by `prove`"):
        promotion.require(prod, stack)
    promotion.record_proof(stack, passed=True)
    assert "promoted from test" in promotion.require(prod, stack)
    promotion.record_deployment(stack)
    with pytest.raises(FailedError, match="was not proven since"):
        promotion.require(prod, stack)


def test_a_promotion_of_another_or_an_uncommitted_program_is_refused(stack: Project) -> None:
    prod = replace(stack, stack="prod")
    promotion.record_deployment(stack)
    promotion.record_proof(stack, passed=True)
    (stack.folder / "note.txt").write_text("x")
    with pytest.raises(FailedError, match=r"uncommitted changes \(note.txt\)"):
        promotion.require(prod, stack)
    commit(stack)
    with pytest.raises(FailedError, match=r"test runs .{8} \(tree .{8}\), this is"):
        promotion.require(prod, stack)


def test_a_proof_without_a_recorded_deployment_is_not_recorded(stack: Project) -> None:
    promotion.record_proof(stack, passed=True)
    assert promotion.read(stack) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0123456789abcdef" * 4, "0123456789ab"),
        ("a" * 40, "a" * 12),
        ("a" * 39, "a" * 39),
        ("a sentence of more than forty characters stays", "a sentence of more than forty characters stays"),
        ({"pulumi": "3.272.0", "aws": "7.51.1"}, "pulumi 3.272.0, aws 7.51.1"),
        (None, "None"),
    ],
)
def test_a_value_of_the_binding_is_shown_short(value: object, text: str) -> None:
    assert update_plans._short(value) == text
