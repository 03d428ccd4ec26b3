"""The remaining changes of an interrupted run, by name, from the plan, the state or the program."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from config import load
from runner_platform.driver import remaining_changes
from runner_platform.driver.engine_progress import Progress
from runner_platform.driver.project import Project
from tests.support.stack_states import project, write_state

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "urn:pulumi:test::driver-test::"
COMPONENT = f"{HEAD}runnerplatform:index:Runner::small"
PROVIDER = f"{HEAD}pulumi:providers:aws::cicd"


def role(name: str) -> str:
    return f"{HEAD}runnerplatform:index:Runner$aws:iam/role:Role::{name}"


def resource(urn: str) -> dict[str, Any]:
    return {"urn": urn, "type": urn.split("::")[2].rpartition("$")[2], "custom": urn != COMPONENT}


STATE = [resource(urn) for urn in (COMPONENT, PROVIDER, role("a"), role("b"))]


@pytest.fixture
def stack(tmp_path: Path) -> Project:
    stack = project(tmp_path)
    write_state(stack, STATE)
    return stack


def plan_with(tmp_path: Path, **steps: list[str]) -> Path:
    plans: dict[str, Any] = {role(name): {"goal": {"custom": True}, "steps": names} for name, names in steps.items()}
    plans[f"{COMPONENT}-2"] = {"goal": {"custom": False}, "steps": ["create"]}
    plans[f"{PROVIDER}-2"] = {"goal": {"custom": True}, "steps": ["create"]}
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"resourcePlans": plans}))
    return file


def test_a_plan_leaves_the_steps_that_are_not_finished(stack: Project, tmp_path: Path) -> None:
    plan = plan_with(
        tmp_path,
        a=["create"],
        b=["update"],
        c=["create"],
        d=["update"],
        e=["create-replacement", "replace", "delete-replaced"],
        f=["same"],
        gone=["delete"],
    )
    assert remaining_changes.lines(stack, "up", Progress(finished={role("b")}), plan) == [
        "create Role c",
        "update Role d",
        "replace Role e",
    ]


def test_a_destroy_and_a_refresh_leave_the_other_resources_of_the_state(stack: Project) -> None:
    progress = Progress(finished={role("a")})
    assert remaining_changes.lines(stack, "destroy", progress) == ["delete Role b"]
    assert remaining_changes.lines(stack, "refresh", progress) == ["read back Role b"]


def test_a_pending_operation_comes_first_and_once(stack: Project, tmp_path: Path) -> None:
    write_state(stack, STATE, [{"type": "creating", "resource": resource(role("c"))}])
    plan = plan_with(tmp_path, d=["create"], c=["create"])
    assert remaining_changes.lines(stack, "up", Progress(), plan) == [
        "find out what became of creating Role c",
        "create Role d",
    ]


def test_a_long_list_is_cut_with_a_count(stack: Project, tmp_path: Path) -> None:
    plan = plan_with(tmp_path, **{f"r{number}": ["create"] for number in range(20)})
    lines = remaining_changes.lines(stack, "up", Progress(), plan)
    assert len(lines) == remaining_changes.MOST + 1
    assert lines[-1] == f"and {20 - remaining_changes.MOST} more"


def test_without_a_plan_the_mock_run_says_what_to_create_and_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = Project(stack="dev", folder=load.ROOT, url=f"file://{tmp_path}")
    latest = {"resources": STATE, "pending_operations": []}
    text = json.dumps({"version": 3, "checkpoint": {"latest": latest}})
    dev.store.write(".pulumi/stacks/runner-platform/dev.json", text.encode())
    registered = [
        SimpleNamespace(urn=entry["urn"], custom=entry["custom"]) for entry in (*STATE[:3], resource(role("new")))
    ]
    monkeypatch.setattr(remaining_changes, "run_program", lambda _: SimpleNamespace(resources=registered))
    assert remaining_changes.lines(dev, "up", Progress()) == ["create Role new", "delete Role b"]


def test_without_a_source_no_changes_are_named(stack: Project, tmp_path: Path) -> None:
    assert remaining_changes.lines(stack, "up", Progress()) == [], "no plan, and no program that mock runs know"
    assert remaining_changes.lines(stack, "up", Progress(), tmp_path / "lost.json") == []
    (tmp_path / "odd.json").write_text("{}")
    assert remaining_changes.lines(stack, "up", Progress(), tmp_path / "odd.json") == []
    stack.store.write(f".pulumi/stacks/{stack.name}/test.json", b"{")
    assert remaining_changes.lines(stack, "destroy", Progress()) == []
