"""Another commit in a worktree of its own runs its own code; if it cannot, the error explains why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from config import load
from runner_platform.check.resource_list import from_json, to_json
from runner_platform.errors import FailedError, WrongUseError
from runner_platform.review import worktree
from runner_platform.stacks import project_of
from runner_platform_sandbox.gitlab.ci.variables import values_of
from tests.support.ci_components import component
from tests.support.program import mock_run
from tests.support.small_repository import commit, git, made

if TYPE_CHECKING:
    from pathlib import Path

REFUSES_OPTIONS = "if '--options' in sys.argv: sys.exit('No such option: --options')"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return made(tmp_path / "clone", monkeypatch)


def test_each_tree_runs_its_own_code_in_its_own_folder(repository: Path) -> None:
    first = commit(repository, "first")
    commit(repository, "second")
    with worktree.at(first) as tree:
        (old,), (new,) = worktree.resources_of(tree, "dev"), worktree.resources_of(repository, "dev")
        assert old.inputs == {"made": "first", "from": str(tree)}
    assert new.inputs == {"made": "second", "from": str(repository)}
    assert old.urn == new.urn == "urn:pulumi:dev::runner-platform::aws:s3/bucket:Bucket::store"


def test_the_worktree_is_removed_even_after_an_error(repository: Path) -> None:
    commit(repository, "first")
    with pytest.raises(ZeroDivisionError), worktree.at("main") as tree:
        raise ZeroDivisionError
    assert not tree.exists()
    assert git(repository, "worktree", "list").count("\n") == 0


def test_a_clone_of_another_user_is_compared_if_the_job_names_it_safe(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, "first")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own switch: the helper clones as another user
    with pytest.raises(FailedError, match=r"dubious ownership[\s\S]*safe.directory"), worktree.at("HEAD"):
        pass
    safe = values_of(component("platform").jobs()["changes"].variables)
    for name, value in safe.items():
        if name.startswith("GIT_CONFIG_"):
            monkeypatch.setenv(name, value.replace("$CI_PROJECT_DIR", str(repository)))
    with worktree.at("HEAD") as tree:
        assert (tree / "Pulumi.dev.yaml").exists()


def test_uncommitted_files_belong_to_this_side_only(repository: Path) -> None:
    commit(repository, "first")
    (repository / "Pulumi.prod.yaml").write_text("config: {}\n")
    with worktree.at("HEAD") as tree:
        assert worktree.stacks(tree) == ["dev"]
    assert worktree.stacks(repository) == ["dev", "prod"]


def test_a_project_inside_a_larger_repository_is_found_there(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "platform").mkdir()
    monkeypatch.setattr(load, "ROOT", repository / "platform")
    (repository / "platform/Pulumi.dev.yaml").write_text("config: {}\n")
    commit(repository, "all")
    with worktree.at("HEAD") as tree:
        assert tree.name == "platform"
        assert worktree.stacks(tree) == ["dev"]


def test_commits_that_this_branch_lacks_are_counted(repository: Path) -> None:
    first = commit(repository, "first")
    git(repository, "branch", "target")
    assert worktree.behind("target") == 0
    commit(repository, "second")
    git(repository, "branch", "-f", "target")
    git(repository, "reset", "-q", "--hard", first)
    assert worktree.behind("target") == 1


def test_an_older_command_line_is_asked_without_options(repository: Path) -> None:
    commit(repository, "first", REFUSES_OPTIONS)
    assert worktree.resources_of(repository, "dev")[0].inputs["made"] == "first"


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ("import no_such_package", "needs other packages than this branch locks (uv.lock)"),
        (
            "sys.exit('No such command resources')",
            "that commit has no command `resources`; compare with a later commit",
        ),
        ("sys.exit('Pulumi.dev.yaml: accounts.dev.id is missing')", "accounts.dev.id is missing"),
    ],
)
def test_a_program_that_does_not_run_in_another_commit_is_explained(
    repository: Path, further: str, message: str
) -> None:
    commit(repository, "first", further)
    with worktree.at("HEAD") as tree, pytest.raises(FailedError) as refused:
        worktree.resources_of(tree, "dev")
    assert message in str(refused.value)
    assert "the program of stack dev cannot be run under mocks in the commit that is compared with" in str(
        refused.value
    )
    assert "Traceback" not in str(refused.value).split("\n")[0]


@pytest.mark.parametrize("ref", ["nowhere", "--output=x", ""])
def test_an_unknown_commit_is_refused_with_the_remedy(repository: Path, ref: str) -> None:
    commit(repository, "first")
    with pytest.raises(WrongUseError, match="GIT_DEPTH: 0"), worktree.at(ref):
        pass


def test_a_folder_without_a_repository_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(FailedError, match="not a git repository"):
        worktree.resolved("main")


@pytest.mark.parametrize("stack", ["dev", "foundation"])
def test_urns_and_accounts_survive_the_list_of_an_older_command_line(stack: str) -> None:
    resources = mock_run(stack).resources
    listed = json.loads(json.dumps(to_json(resources)))
    expected = [(resource.urn, resource.account, resource.account_name) for resource in resources]
    read = from_json(listed, stack, project_of(stack))
    assert [(resource.urn, resource.account, resource.account_name) for resource in read] == expected
    assert len({resource.urn for resource in read}) == len(read), "resources are matched by URN"


def test_a_commit_before_the_move_runs_its_own_command_line(repository: Path) -> None:
    commit(repository, "first", module="automation/cli.py")
    assert worktree.resources_of(repository, "dev")[0].inputs["made"] == "first"


def test_a_commit_without_a_command_line_is_explained(repository: Path) -> None:
    with pytest.raises(FailedError, match=r"no command line in this folder .* compare with a later commit"):
        worktree.resources_of(repository, "dev")
