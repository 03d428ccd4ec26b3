"""A folder as a commit in the sandbox's GitLab. The folder's own Git repository, if there is one, is neither read nor changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PIPELINE_FILE: Final = ".gitlab-ci.yml"
_CREDENTIALS: Final = re.compile(r"://[^@/\s]+@")
_PERSON: Final = {"NAME": "runner-platform sandbox", "EMAIL": "sandbox@example.com"}


def push(
    remote: str,
    token: str,
    refs: Sequence[str],
    *,
    folder: Path | None,
    paths: Sequence[str] = (".",),
    pipeline_file: str | None = None,
) -> str:
    """Commit a folder as it is now, without what its .gitignore files name, and push it by force.

    Args:
        remote: URL of the repository.
        token: Access token.
        refs: Full names, such as `refs/heads/main`.
        folder: The folder; None for a commit with the pipeline file alone.
        paths: Parts of the folder.
        pipeline_file: Text that becomes `.gitlab-ci.yml`.

    Returns:
        The commit.

    Raises:
        SandboxError: Git is missing, or refuses the push; the message is Git's.
    """
    if shutil.which("git") is None:
        raise SandboxError("git is not on PATH", "install git: the pipeline's files are pushed with it")
    with tempfile.TemporaryDirectory(prefix="runner-platform-") as temporary:
        work = folder or Path(temporary) / "empty"
        work.mkdir(exist_ok=True)
        git = _Git(work, Path(temporary) / "git")
        git.run("init", "--quiet")
        git.run("add", "--all", *paths)
        if pipeline_file is not None:
            blob = git.run("hash-object", "-w", "--stdin", text=pipeline_file)
            git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{PIPELINE_FILE}")
        commit = git.run("commit-tree", git.run("write-tree"), "-m", f"Snapshot of {work.resolve().name}")
        url = remote.replace("://", f"://sandbox:{token}@", 1) if token else remote
        git.run("push", "--quiet", "--force", url, *(f"{commit}:{ref}" for ref in refs))
    return commit


class _Git:
    """Git on a folder with a repository elsewhere, and without the person's settings."""

    def __init__(self, work: Path, repository: Path) -> None:
        people = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _PERSON.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self._work = work
        self._environment: Mapping[str, str] = {
            **kept,
            **people,
            "GIT_DIR": str(repository),
            "GIT_WORK_TREE": str(work),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def run(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self._work,
            env=dict(self._environment),
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            message = _CREDENTIALS.sub("://", done.stderr.strip())
            raise SandboxError(f"git {arguments[0]} failed in {self._work}: {message}")
        return done.stdout.strip()
