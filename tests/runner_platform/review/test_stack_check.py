"""`check` writes the access matrix of all stacks beside its verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from config import load
from config.errors import Problem, SettingsError
from runner_platform.review import access_matrix, access_report, stack_check
from tests.support.program import mock_run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def _shared_mock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-x")  # an address without a server: GitLab must not be asked
    monkeypatch.setenv("GITLAB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("runner_platform.check.mock_run.run_program", mock_run)


def test_check_writes_the_access_matrix_of_the_named_stack(tmp_path: Path) -> None:
    (checked,) = stack_check.check_programs(["dev"], None, tmp_path, lambda _: None)
    assert checked.fine
    assert [folder.name for folder in tmp_path.iterdir()] == ["dev"]
    cells = json.loads((tmp_path / "dev" / access_report.JSON).read_text())
    assert {"job:dev/small", "job:prod/deploy", "deployer"} <= {cell["principal"] for cell in cells}, (
        "all stacks together"
    )
    page = (tmp_path / "dev" / access_report.MARKDOWN).read_text()
    assert "as the settings declare it" in page
    assert "every project of group 1234" in page, "users come from the settings, not from GitLab"


def test_invalid_settings_of_another_stack_are_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(stack: str, *further: load.Check) -> object:
        if stack == "prod":
            raise SettingsError("Pulumi.prod.yaml", [Problem(path="runners", message="is missing")])
        return of_stack(stack, *further)

    of_stack = load.of_stack
    monkeypatch.setattr(load, "of_stack", broken)
    (checked,) = stack_check.check_programs(["dev"], None, tmp_path, lambda _: None)
    assert checked.fine, "only dev is checked"
    assert "no access matrix" in checked.notes[0]
    assert "runners: is missing" in checked.notes[0]
    assert not (tmp_path / "dev" / access_report.JSON).exists()


def test_a_matrix_that_is_not_as_declared_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    working_tree = access_matrix.here({stack: mock_run(stack).resources for stack in ("foundation", "dev", "prod")})
    missing = [cell for cell in working_tree.cells if cell.principal != "job:dev/small"]
    monkeypatch.setattr(
        access_matrix,
        "here",
        lambda _: access_matrix.Side(
            facts=working_tree.facts,
            stacks=working_tree.stacks,
            foundation=working_tree.foundation,
            world=working_tree.world,
            cells=missing,
        ),
    )
    (checked,) = stack_check.check_programs(["dev"], None, tmp_path, lambda _: None)
    assert any("cells are not as declared" in note and str(tmp_path) in note for note in checked.notes)
