"""What an interrupted run says is left: by name, from the plan, the state or the program, and nothing that is not known."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from config import load
from runner_platform.driver import remaining
from runner_platform.driver.events import Progress
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
    made = project(tmp_path)
    write_state(made, STATE)
    return made


def planned(tmp_path: Path, **steps: list[str]) -> Path:
    plans: dict[str, Any] = {role(name): {"goal": {"custom": True}, "steps": each} for name, each in steps.items()}
    plans[f"{COMPONENT}-2"] = {"goal": {"custom": False}, "steps": ["create"]}
    plans[f"{PROVIDER}-2"] = {"goal": {"custom": True}, "steps": ["create"]}
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"resourcePlans": plans}))
    return file


def test_of_a_plan_what_is_neither_made_nor_finished_is_left(stack: Project, tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        a=["create"],
        b=["update"],
        c=["create"],
        d=["update"],
        e=["create-replacement", "replace", "delete-replaced"],
        f=["same"],
        gone=["delete"],
    )
    assert remaining.lines(stack, "up", Progress(finished={role("b")}), plan) == [
        "create Role c",
        "update Role d",
        "replace Role e",
    ]


def test_of_a_destroy_and_a_refresh_the_state_knows_what_is_left(stack: Project) -> None:
    progress = Progress(finished={role("a")})
    assert remaining.lines(stack, "destroy", progress) == ["delete Role b"]
    assert remaining.lines(stack, "refresh", progress) == ["read back Role b"]


def test_a_pending_operation_comes_first_and_once(stack: Project, tmp_path: Path) -> None:
    write_state(stack, STATE, [{"type": "creating", "resource": resource(role("c"))}])
    plan = planned(tmp_path, d=["create"], c=["create"])
    assert remaining.lines(stack, "up", Progress(), plan) == [
        "find out what became of creating Role c",
        "create Role d",
    ]


def test_a_long_list_is_cut_and_the_rest_counted(stack: Project, tmp_path: Path) -> None:
    plan = planned(tmp_path, **{f"r{number}": ["create"] for number in range(20)})
    lines = remaining.lines(stack, "up", Progress(), plan)
    assert len(lines) == remaining.SHOWN + 1
    assert lines[-1] == f"and {20 - remaining.SHOWN} more"


def test_without_a_plan_the_program_says_what_was_never_made_and_what_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Project(stack="dev", folder=load.ROOT, url=f"file://{tmp_path}")
    latest = {"resources": STATE, "pending_operations": []}
    text = json.dumps({"version": 3, "checkpoint": {"latest": latest}})
    made.store.write(".pulumi/stacks/runner-platform/dev.json", text.encode())
    registered = [
        SimpleNamespace(urn=each["urn"], custom=each["custom"]) for each in (*STATE[:3], resource(role("new")))
    ]
    monkeypatch.setattr(remaining, "rehearse", lambda _: SimpleNamespace(registrations=registered))
    assert remaining.lines(made, "up", Progress()) == ["create Role new", "delete Role b"]


def test_what_is_not_known_is_not_told(stack: Project, tmp_path: Path) -> None:
    assert remaining.lines(stack, "up", Progress()) == [], "no plan, and no program that mock runs know"
    assert remaining.lines(stack, "up", Progress(), tmp_path / "lost.json") == []
    (tmp_path / "odd.json").write_text("{}")
    assert remaining.lines(stack, "up", Progress(), tmp_path / "odd.json") == []
    stack.store.write(f".pulumi/stacks/{stack.name}/test.json", b"{")
    assert remaining.lines(stack, "destroy", Progress()) == []
