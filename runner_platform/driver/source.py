"""Which program is this: the git tree of the working folder, uncommitted changes included."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Source:
    """A program as it lies in the working folder."""

    tree: str
    """Hash of all files that git does not ignore."""
    commit: str
    changed: tuple[str, ...]
    """Files that differ from the commit."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.commit[:8]}" + (f" with {len(self.changed)} uncommitted changes" if self.changed else "")


def of(folder: Path) -> Source:
    """The program in a folder.

    Raises:
        FailedError: the folder is in no git repository, or git is missing.
    """
    changed = _git(folder, "status", "--porcelain", "--untracked-files=all").splitlines()
    commit = _git(folder, "rev-parse", "HEAD").strip()
    tree = _tree_of_changes(folder) if changed else _git(folder, "rev-parse", "HEAD^{tree}").strip()
    return Source(tree=tree, commit=commit, changed=tuple(line[3:] for line in changed))


def _tree_of_changes(folder: Path) -> str:
    """What the tree would be if everything were committed; the person's own index is left alone."""
    with tempfile.TemporaryDirectory(prefix="runner-platform-") as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
        _git(top, "read-tree", "HEAD", more=index)
        _git(top, "add", "--all", more=index)
        return _git(top, "write-tree", more=index).strip()


def _git(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", **(more or {})},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise FailedError("git is not on PATH; plans and promotions are bound to a git tree") from None
    if done.returncode:
        raise FailedError(
            f"git cannot tell which program this is: {done.stderr.strip()}; plans and promotions need a checkout with a commit"
        )
    return done.stdout
