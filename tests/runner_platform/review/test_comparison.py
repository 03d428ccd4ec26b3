"""`runner-platform diff`: two commits of a small clone, each with its own command line."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from config import load
from runner_platform.cli import main
from runner_platform.errors import FailedError, WrongUseError
from runner_platform.review import comparison
from tests.support.small_repository import commit, git, made

if TYPE_CHECKING:
    from pathlib import Path

FROM_ANYWHERE = "os.getcwd = lambda: 'anywhere'"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = load.ROOT
    folder = made(tmp_path / "clone", monkeypatch)
    (folder / "foundation").mkdir()
    for file in ("Pulumi.dev.yaml", "foundation/Pulumi.foundation.yaml"):  # the access matrix reads them
        shutil.copy(root / file, folder / file)
    commit(folder, "first", FROM_ANYWHERE)
    git(folder, "branch", "target")
    return folder


def test_two_commits_are_compared_by_what_their_own_programs_register(repository: Path) -> None:
    commit(repository, "second", FROM_ANYWHERE)
    result = comparison.compare("target", "dev")
    ((change,),) = [stack.changes for stack in result.stacks]
    assert [(difference.path, difference.old, difference.new) for difference in change.properties] == [
        ("made", "first", "second")
    ]
    assert result.against == f"against target ({result.commit[:8]})"


def test_a_stack_that_one_side_lacks_is_created_whole(repository: Path) -> None:
    file = repository / "Pulumi.dev.yaml"
    settings = file.read_text()
    git(repository, "rm", "-q", file.name)
    git(repository, "commit", "-q", "-m", "no stack")
    git(repository, "branch", "-f", "target")
    file.write_text(settings)
    commit(repository, "second", FROM_ANYWHERE)
    (stack,) = comparison.compare("target", "dev").stacks
    assert str(stack.counts) == "1 to create"


def test_a_branch_that_is_behind_gets_a_note(repository: Path) -> None:
    commit(repository, "second", FROM_ANYWHERE)
    git(repository, "branch", "ahead")
    git(repository, "reset", "-q", "--hard", "target")
    (note,) = [text for text in comparison.compare("ahead").notes if "lacks" in text]
    assert "lacks 1 commits of ahead" in note
    assert "git merge-base ahead HEAD" in note


def test_different_locked_packages_and_mock_runs_are_noted(repository: Path) -> None:
    lock = '[[package]]\nname = "pulumi-aws"\nversion = "7.{minor}.0"\n'
    (repository / "uv.lock").write_text(lock.format(minor=1))
    (repository / "runner_platform/check").mkdir()
    (repository / "runner_platform/check/mock_run.py").write_text("first")
    commit(repository, "second", FROM_ANYWHERE)
    git(repository, "branch", "-f", "target")
    assert comparison.compare("target").notes == []
    (repository / "uv.lock").write_text(lock.format(minor=2))
    (repository / "runner_platform/check/mock_run.py").write_text("second")
    packages, runs = comparison.compare("target").notes
    assert "pulumi-aws 7.1.0 → 7.2.0" in packages
    assert "runner_platform/check/mock_run.py" in runs


@pytest.mark.usefixtures("repository")
def test_an_unknown_stack_is_wrong_use() -> None:
    with pytest.raises(WrongUseError, match="'dve' is not a stack; did you mean 'dev'"):
        comparison.compare("target", "dve")


def test_a_program_that_fails_on_one_side_ends_the_comparison(repository: Path) -> None:
    commit(repository, "second", "sys.exit('accounts.dev.id is missing')")
    with pytest.raises(FailedError, match="the program of stack foundation cannot be run under mocks in this folder"):
        comparison.compare("target")
    assert git(repository, "worktree", "list").count("\n") == 0


def test_the_command_prints_json_and_writes_reports(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    commit(repository, "second", FROM_ANYWHERE)
    arguments = ["diff", "target", "--stack", "dev", "--json", "--reports", str(tmp_path / "reports")]
    monkeypatch.setattr(sys, "argv", ["runner-platform", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    captured = capfd.readouterr()
    assert ended.value.code in {0, None}, "a difference is no failure"
    assert json.loads(captured.out)["stacks"][0]["counts"]["update"] == 1
    assert json.loads((tmp_path / "reports/dev/terraform.json").read_text()) == {"create": 0, "update": 1, "delete": 0}
    assert "against `target" in (tmp_path / "reports/dev/access.md").read_text()
