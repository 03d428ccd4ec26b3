"""The files of a project at one commit, as the reader of pipeline files asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner_platform_sandbox.gitlab.repositories import GitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.gitlab.repositories import Repository
    from runner_platform_sandbox.gitlab.store import Body


class CommitFiles:
    """The files of a commit; `ci.context.Files` describes the methods.

    Args:
        repository: The project's repository.
        sha: The commit.
        visible: Returns another project and its repository by path, or None if the caller may not see it.
    """

    def __init__(
        self, repository: Repository, sha: str, visible: Callable[[str], tuple[Body, Repository] | None]
    ) -> None:
        self._repository = repository
        self._sha = sha
        self._visible = visible

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None."""
        return self._repository.read(self._sha, path)

    def paths(self) -> list[str]:
        """Return the paths of all files."""
        return self._repository.paths(self._sha)

    def changed_since(self, ref: str) -> list[str] | None:
        """Return the files that differ from another ref, or None if there is no such ref."""
        start = self._repository.find(ref)
        if start is None:
            return None
        try:
            return self._repository.changed_files(start, self._sha)
        except GitError:  # the two have no common ancestor
            return None

    def last_commit(self, path: str) -> str | None:
        """Return the newest commit that changed a file, or None."""
        return self._repository.last_commit(self._sha, path)

    def project(self, path: str, ref: str | None) -> CommitFiles | None:
        """Return the files of another project at a ref, or None."""
        project = self._visible(path)
        if project is None:
            return None
        fields, repository = project
        sha = repository.find(ref or fields["default_branch"])
        return None if sha is None else CommitFiles(repository, sha, self._visible)
