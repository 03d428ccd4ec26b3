"""The repositories of the projects: bare Git repositories that Git's own `git http-backend` serves.

https://git-scm.com/docs/git-http-backend
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Final

from runner_platform_sandbox.gitlab.transport import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runner_platform_sandbox.gitlab.transport import Request

_HOOK: Final = """\
#!/bin/sh
# Refuses pushes to the protected refs that GITLAB_REFUSED_REFS lists, as patterns.
set -f
while read -r _ _ ref; do
  for pattern in $GITLAB_REFUSED_REFS; do
    case "$ref" in
      $pattern)
        echo "GitLab: You are not allowed to push code to protected branches on this project."
        exit 1
        ;;
    esac
  done
done
"""
_CLOSED: Final = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
"""Git reads no settings of the person."""


class GitError(Exception):
    """Git refuses; the message is Git's."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit."""

    sha: str
    title: str
    message: str
    author: str
    """Name and address: `A Person <person@example.com>`."""
    created_at: str
    """ISO 8601."""


class Repository:
    """The bare repository of one project.

    Args:
        folder: Its folder; `make` creates it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, default_branch: str) -> None:
        """Create an empty repository unless there is one."""
        if (self.folder / "HEAD").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._git("init", "--quiet", "--bare", "--initial-branch", default_branch)
        hook = self.folder / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(_HOOK)
        hook.chmod(0o700)

    def resolve(self, ref: str) -> str | None:
        """Return the commit of a full ref (`refs/heads/main`) or of a commit id; None if there is none."""
        try:
            return self._git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
        except GitError:
            return None

    def find(self, ref: str) -> str | None:
        """Return the commit of a branch, a tag or a commit id by its short name; None if there is none."""
        candidates = (f"refs/heads/{ref}", f"refs/tags/{ref}", ref)
        return next((sha for name in candidates if (sha := self.resolve(name))), None)

    def commit(self, sha: str) -> Commit:
        """Return a commit."""
        fields = self._git("show", "--no-patch", "--format=%s%x00%an <%ae>%x00%cI%x00%B", sha).split("\0", 3)
        return Commit(sha=sha, title=fields[0], author=fields[1], created_at=fields[2], message=fields[3].rstrip("\n"))

    def read(self, sha: str, path: str) -> str | None:
        """Return the text of a file at a commit, or None if there is no such file."""
        try:
            return self._git("cat-file", "blob", f"{sha}:{path}")
        except GitError:
            return None

    def paths(self, sha: str) -> list[str]:
        """Return the paths of all files at a commit."""
        return self._git("ls-tree", "-r", "-z", "--name-only", sha).split("\0")[:-1]

    def changed_files(self, old: str, new: str) -> list[str]:
        """Return the paths that differ between the common ancestor of two commits and the second."""
        return self._git("diff", "-z", "--name-only", f"{old}...{new}").split("\0")[:-1]

    def last_commit(self, sha: str, path: str) -> str | None:
        """Return the newest commit before or at another one that changed a file."""
        return self._git("log", "-1", "--format=%H", sha, "--", path).strip() or None

    def keep(self, ref: str, sha: str) -> None:
        """Point a ref at a commit, so that it can be fetched by that name and is never collected."""
        self._git("update-ref", ref, sha)

    def _git(self, *arguments: str) -> str:
        command = ["git", "-c", "safe.directory=*", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=_environment(), capture_output=True, check=False)
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout.decode(errors="replace")


def serve(folder: Path, path: str, request: Request, user: str, refused_refs: Sequence[str]) -> Answer:
    """Answer a request of a Git client.

    Args:
        folder: The repository's folder.
        path: The rest of the path, such as `info/refs`.
        request: The request.
        user: Its authenticated user.
        refused_refs: Patterns of full refs that the user may not push to.
    """
    variables = {
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{path}",
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
        "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        "REMOTE_USER": user,
        "GITLAB_REFUSED_REFS": " ".join(refused_refs),
    }
    command = ["git", "-c", "safe.directory=*", "http-backend"]
    source: IO[bytes] | int = subprocess.DEVNULL
    if request.content is not None:
        source = request.content
        variables["CONTENT_LENGTH"] = str(source.seek(0, os.SEEK_END))
        source.seek(0)
    target = tempfile.TemporaryFile()  # noqa: SIM115 - the transport closes it
    subprocess.run(command, stdin=source, stdout=target, env=_environment() | variables, check=False)
    target.seek(0)
    status, headers = HTTPStatus.OK, {}
    while line := target.readline().strip():
        name, _, value = line.decode().partition(":")
        if name == "Status":
            status = HTTPStatus(int(value.split()[0]))
        elif name.lower() != "content-length":
            headers[name] = value.strip()
    return Answer(status, target, headers)


def _environment() -> dict[str, str]:
    """Return the environment of Git without the caller's repository, identity and settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | _CLOSED
