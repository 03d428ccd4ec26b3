"""Branches of a proof, in a bare repository instead of GitLab's."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.errors import FailedError
from runner_platform.prove import pipeline_branches
from tests.support.small_repository import git

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.processes
BRANCH = "runner-platform-prove-1-0"


@dataclass
class Protections:
    """The protected branches of a project."""

    names: list[str] = field(default_factory=list)

    def create(self, fields: dict[str, str]) -> None:
        self.names.append(fields["name"])

    def delete(self, name: str) -> None:
        self.names.remove(name)


@dataclass
class Project:
    """As much of python-gitlab's project as a push needs."""

    http_url_to_repo: str
    path_with_namespace: str = "group/project"
    protectedbranches: Protections = field(default_factory=Protections)


def test_a_branch_with_the_probe_exists_inside_the_block_only(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path)], check=True)
    project: Any = Project(str(tmp_path))
    with pipeline_branches.pushed(project, BRANCH, "job: {}", "token", protected=True):
        assert git(tmp_path, "ls-tree", "--name-only", BRANCH).split() == [".gitlab-ci.yml", "probe.py"]
        assert git(tmp_path, "log", "-1", "--format=%B", BRANCH).rstrip().endswith("[skip ci]")
        assert project.protectedbranches.names == [BRANCH]
    assert git(tmp_path, "branch", "--list") == ""
    assert project.protectedbranches.names == []


def test_a_refused_push_leaves_no_protection(tmp_path: Path) -> None:
    project: Any = Project(str(tmp_path / "absent"))
    with (
        pytest.raises(FailedError, match=r"git push failed: .*absent"),
        pipeline_branches.pushed(project, BRANCH, "job: {}", "token", protected=True),
    ):
        raise AssertionError("the block must not run")
    assert project.protectedbranches.names == []
