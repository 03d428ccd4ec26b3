"""Another commit in a worktree of its own: which code runs there, and what is said when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from automation import worktree
from automation.errors import FailedError, WrongUseError
from config import load
from tests.unit.program import rehearsed

if TYPE_CHECKING:
    from pathlib import Path

RESOURCE = {"type": "aws:s3/bucket:Bucket", "name": "store", "parent": None, "provider": None, "account": "admin"}
PROGRAM = """
import json, os, sys
assert sys.argv[1:5] == ["resources", "--stack", "dev", "--json"], sys.argv
{further}
print(json.dumps([{resource!r} | {{"inputs": {{"made": "{made}", "from": os.getcwd()}}}}]))
"""
REFUSES_OPTIONS = "if '--options' in sys.argv: sys.exit('No such option: --options')"


def _git(folder: Path, *arguments: str) -> str:
    who = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "PATH": os.environ["PATH"]}
    who |= {f"GIT_{role}_{key}": "x@x.invalid" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    done = subprocess.run(["git", "-C", folder, *arguments], env=who, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _commit(folder: Path, made: str, further: str = "") -> str:
    (folder / "automation").mkdir(exist_ok=True)
    (folder / "automation/__init__.py").touch()
    (folder / "automation/cli.py").write_text(PROGRAM.format(resource=RESOURCE, made=made, further=further))
    (folder / "Pulumi.dev.yaml").write_text("config: {}\n")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", made)
    return _git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    _git(folder, "init", "-q", "-b", "main")
    monkeypatch.setattr(load, "ROOT", folder)
    return folder


def test_each_tree_runs_its_own_code_in_its_own_folder(repository: Path) -> None:
    first = _commit(repository, "first")
    _commit(repository, "second")
    with worktree.at(first) as tree:
        (old,), (new,) = worktree.rehearsed(tree, "dev"), worktree.rehearsed(repository, "dev")
        assert old["inputs"] == {"made": "first", "from": str(tree)}
    assert new["inputs"] == {"made": "second", "from": str(repository)}
    assert (
        old["urn"] == new["urn"] == "urn:pulumi:dev::runner-platform::pulumi:pulumi:Stack$aws:s3/bucket:Bucket::store"
    )


def test_nothing_of_the_worktree_stays_even_if_its_user_fails(repository: Path) -> None:
    _commit(repository, "first")
    with pytest.raises(ZeroDivisionError), worktree.at("main") as tree:
        raise ZeroDivisionError
    assert not tree.exists()
    assert _git(repository, "worktree", "list").count("\n") == 0


def test_what_is_not_committed_belongs_to_this_side_only(repository: Path) -> None:
    _commit(repository, "first")
    (repository / "Pulumi.prod.yaml").write_text("config: {}\n")
    with worktree.at("HEAD") as tree:
        assert worktree.stacks(tree) == ["dev"]
    assert worktree.stacks(repository) == ["dev", "prod"]


def test_a_project_inside_a_larger_repository_is_found_there(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "platform").mkdir()
    monkeypatch.setattr(load, "ROOT", repository / "platform")
    (repository / "platform/Pulumi.dev.yaml").write_text("config: {}\n")
    _commit(repository, "all")
    with worktree.at("HEAD") as tree:
        assert tree.name == "platform"
        assert worktree.stacks(tree) == ["dev"]


def test_commits_that_this_branch_lacks_are_counted(repository: Path) -> None:
    first = _commit(repository, "first")
    _git(repository, "branch", "target")
    assert worktree.behind("target") == 0
    _commit(repository, "second")
    _git(repository, "branch", "-f", "target")
    _git(repository, "reset", "-q", "--hard", first)
    assert worktree.behind("target") == 1


def test_an_older_command_line_is_asked_without_options(repository: Path) -> None:
    _commit(repository, "first", REFUSES_OPTIONS)
    assert worktree.rehearsed(repository, "dev")[0]["inputs"]["made"] == "first"


@pytest.mark.parametrize(
    ("further", "said"),
    [
        ("import no_such_package", "needs other packages than this branch locks (uv.lock)"),
        ("sys.exit('No such command resources')", "that commit has no command `resources`; compare with a later one"),
        ("sys.exit('Pulumi.dev.yaml: accounts.dev.id is missing')", "accounts.dev.id is missing"),
    ],
)
def test_a_program_that_does_not_run_there_is_explained(repository: Path, further: str, said: str) -> None:
    _commit(repository, "first", further)
    with worktree.at("HEAD") as tree, pytest.raises(FailedError) as refused:
        worktree.rehearsed(tree, "dev")
    assert said in str(refused.value)
    assert "stack dev cannot be rehearsed as it is in the commit that is compared with" in str(refused.value)
    assert "Traceback" not in str(refused.value).split("\n")[0]


@pytest.mark.parametrize("ref", ["nowhere", "--output=x", ""])
def test_a_name_that_is_no_commit_is_refused_with_the_remedy(repository: Path, ref: str) -> None:
    _commit(repository, "first")
    with pytest.raises(WrongUseError, match="GIT_DEPTH: 0"), worktree.at(ref):
        pass


def test_a_folder_without_a_repository_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(FailedError, match="not a git repository"):
        worktree.resolved("main")


@pytest.mark.parametrize("stack", ["dev", "foundation"])
def test_urns_are_those_of_the_registrations(stack: str) -> None:
    from automation import inspect  # noqa: PLC0415  # only this test needs the programs

    project = "runner-platform-foundation" if stack == "foundation" else "runner-platform"
    known = rehearsed(stack)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("automation.rehearsal.rehearse", lambda _stack: known)
        found = json.loads(json.dumps(inspect.resources(stack, options=True)))
    urns = [worktree.urn_of(each, stack, project) for each in found]
    assert urns == [each["urn"] for each in found]
    assert len(set(urns)) == len(urns), "resources are matched by URN"
