"""Another commit of this project, beside the one that runs: a git worktree of its own, and its programs in processes of their own.

Owns the worktree's life and running `resources` in it with its own code and settings. Leaves out what the answers mean
(`runner_platform.review.diff`, `access --diff`). The other commit's code runs with the packages of the Python that runs now: installing its own
would need a network, so where they do not suffice the error says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import foundation, load
from runner_platform import urns
from runner_platform.errors import FailedError, WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTES = 5
"""Longest time that a program may take under mocks."""
UNKNOWN_OPTION, UNKNOWN_COMMAND = "No such option", "No such command"
HOOKS_OFF = ("-c", "core.hooksPath=/dev/null")


@contextmanager
def at(ref: str) -> Iterator[Path]:
    """The project's folder as it is at a commit, for as long as the context lasts.

    Args:
        ref: anything that names a commit: a branch, `origin/main`, a hash.

    Raises:
        WrongUseError: nothing of that name is here.
        FailedError: this is no git repository, or the worktree cannot be made.
    """
    commit = resolved(ref)
    inside = _git("rev-parse", "--show-prefix").strip()
    with tempfile.TemporaryDirectory(prefix="runner-platform-at-") as folder:
        tree = Path(folder) / "tree"
        _git(*HOOKS_OFF, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree / inside
        finally:
            _git("worktree", "remove", "--force", str(tree))


def resolved(ref: str) -> str:
    """The commit that a name stands for, 40 hexadecimal digits.

    Raises:
        WrongUseError: nothing of that name is here.
        FailedError: this is no git repository.
    """
    _git("rev-parse", "--git-dir")
    done = _run_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if done.returncode:
        raise WrongUseError(
            f"{ref!r} is no commit of this clone; fetch it (git fetch origin {ref}), and in a GitLab job set GIT_DEPTH: 0"
        )
    return done.stdout.strip()


def behind(ref: str) -> int:
    """Commits of `ref` that this branch does not have: their changes look undone in a comparison."""
    return int(_git("rev-list", "--count", f"HEAD..{resolved(ref)}").strip())


def stacks(tree: Path) -> list[str]:
    """Names of the stacks whose files a tree has, the foundation's first."""
    first = [foundation.STACK] if (tree / "foundation" / f"Pulumi.{foundation.STACK}.yaml").exists() else []
    return [*first, *sorted(path.name.split(".")[1] for path in tree.glob("Pulumi.*.yaml"))]


def rehearsed(tree: Path, stack: str) -> list[dict[str, Any]]:
    """What a stack's program registers in a tree, in a process of its own that runs that tree's code.

    Args:
        tree: the project's folder, such as `at` yields or `load.ROOT`.
        stack: a stack that has a file there.

    Returns:
        The dictionaries of `resources --json`, each with `urn`, and with `options` (aliases, protect, retainOnDelete) where the tree's
        `resources` can tell them.

    Raises:
        FailedError: the program does not run there.
    """
    command = ["resources", "--stack", stack, "--json"]
    done = _run(tree, *command, "--options")
    if done.returncode and UNKNOWN_OPTION in done.stderr:
        done = _run(tree, *command)
    if done.returncode:
        raise FailedError(_explained(tree, stack, done.stderr))
    found: list[dict[str, Any]] = json.loads(done.stdout)
    project = foundation.PROJECT if stack == foundation.STACK else "runner-platform"
    return [{"urn": urn_of(each, stack, project), **each} for each in found]


def urn_of(resource: dict[str, Any], stack: str, project: str) -> str:
    """The URN under which a resource of `resources --json` is registered."""
    return urns.urn(stack, project, resource["parent"] or "", resource["type"], resource["name"])


def _run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1", "TERM": "dumb"}
    environment.pop("PYTHONSAFEPATH", None)
    try:
        return subprocess.run(
            [sys.executable, "-m", "runner_platform", *arguments],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MINUTES * 60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"the program of {_called(tree)} did not end within {MINUTES} minutes") from None


def _explained(tree: Path, stack: str, said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()] or ["it said nothing"]
    where = f"stack {stack} cannot be rehearsed as it is {_called(tree)}"
    if UNKNOWN_COMMAND in said or "No module named runner_platform" in said:
        return f"{where}: that commit has no command `resources`; compare with a later one"
    if lines[-1].startswith(("ModuleNotFoundError", "ImportError")):
        return (
            f"{where}: {lines[-1]}. It needs other packages than this branch locks (uv.lock); in the other commit's own clone run "
            f"`runner-platform resources --stack {stack} --json`, and compare by hand"
        )
    shown = "\n".join(f"  {line}" for line in lines[-12:])
    return f"{where}:\n{shown}"


def _called(tree: Path) -> str:
    return "here" if tree == load.ROOT else "in the commit that is compared with"


def _git(*arguments: str) -> str:
    done = _run_git(*arguments)
    if done.returncode:
        raise FailedError(f"git {arguments[0] if arguments[0] != '-c' else arguments[2]}: {done.stderr.strip()}")
    return done.stdout


def _run_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Variables that a hook or another git command left would name another repository.
    environment = {name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_WORK_TREE"}}
    try:
        return subprocess.run(
            ["git", "-C", str(load.ROOT), *arguments],
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise FailedError("git is not on PATH; comparing with another commit needs it") from None
