"""A folder as a commit: what is in it, and what a person reads when Git refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.run import snapshot
from sandbox.tests.support.gitlab_project import git

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.processes


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--bare", "remote")
    return tmp_path / "remote"


def test_the_folders_own_repository_is_neither_read_nor_changed(tmp_path: Path, remote: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "new.py").write_text("")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "a.log").write_text("")
    before = git(folder, "status", "--porcelain")
    commit = snapshot.push(f"file://{remote}", "", ["refs/heads/main"], folder=folder, pipeline_file="a: {}\n")
    assert git(folder, "status", "--porcelain") == before
    assert git(remote, "ls-tree", "-r", "--name-only", commit).split() == [".gitignore", ".gitlab-ci.yml", "new.py"]
    assert git(remote, "show", "refs/heads/main:.gitlab-ci.yml") == "a: {}\n"


def test_a_refused_push_is_told_without_the_token(tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as refused:
        snapshot.push("http://127.0.0.1:1/a.git", "glpat-secret", ["refs/heads/main"], folder=tmp_path)
    assert "git push failed" in refused.value.message
    assert "127.0.0.1" in refused.value.message
    assert "glpat-secret" not in refused.value.message
