"""Another commit of this project: a git worktree of its own, whose programs run in processes of their own.

The other commit's code runs with the packages of this Python, since installing its own would need a network; the error says so when they
do not suffice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from config import foundation, load, stack_file
from runner_platform.check.resource_list import from_json
from runner_platform.errors import FailedError, WrongUseError
from runner_platform.stacks import project_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.resource import Resource

MINUTES = 5
"""Longest time that a program may take under mocks."""
UNKNOWN_OPTION, UNKNOWN_COMMAND = "No such option", "No such command"
HOOKS_OFF = ("-c", "core.hooksPath=/dev/null")
COMMAND_LINES = {"runner_platform/__main__.py": "runner_platform", "automation/cli.py": "automation.cli"}
"""Module of the command line by its file, the newest first: commits before 2026-11-29 have `automation`."""


@contextmanager
def at(ref: str) -> Iterator[Path]:
    """The project's folder at a commit; removed when the context ends.

    Args:
        ref: any name of a commit: a branch, `origin/main`, a hash.

    Raises:
        WrongUseError: this clone has no such commit.
        FailedError: this is no git repository, or the worktree cannot be made.
    """
    commit = resolved(ref)
    prefix = _git("rev-parse", "--show-prefix").strip()
    with tempfile.TemporaryDirectory(prefix="runner-platform-at-") as folder:
        tree = Path(folder) / "tree"
        _git(*HOOKS_OFF, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree / prefix
        finally:
            _git("worktree", "remove", "--force", str(tree))


def resolved(ref: str) -> str:
    """The commit of a name, 40 hexadecimal digits.

    Raises:
        WrongUseError: this clone has no such commit.
        FailedError: this is no git repository.
    """
    _git("rev-parse", "--git-dir")
    process = _run_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if process.returncode:
        raise WrongUseError(
            f"{ref!r} is no commit of this clone; fetch it (git fetch origin {ref}), and in a GitLab job set GIT_DEPTH: 0"
        )
    return process.stdout.strip()


def behind(ref: str) -> int:
    """Number of commits of `ref` that this branch lacks: their changes look undone in a comparison."""
    return int(_git("rev-list", "--count", f"HEAD..{resolved(ref)}").strip())


def stacks(tree: Path) -> list[str]:
    """Names of the stacks with a file in a tree, the foundation first."""
    first = [foundation.STACK] if (tree / "foundation" / f"Pulumi.{foundation.STACK}.yaml").exists() else []
    return [*first, *sorted(stack_file.stack_of(path.name) for path in tree.glob("Pulumi.*.yaml"))]


def resources_of(tree: Path, stack: str) -> list[Resource]:
    """Resources of a stack's program in a tree, run by the tree's own code in a process of its own.

    Args:
        tree: the project's folder, such as `at` yields or `load.ROOT`.
        stack: a stack that has a file in the tree.

    Returns:
        Resources as `resources --json` lists them: without outputs and dependencies.

    Raises:
        FailedError: the program does not run there.
    """
    command = ["resources", "--stack", stack, "--json"]
    process = _run_command_line(tree, *command, "--options")
    if process.returncode and UNKNOWN_OPTION in process.stderr:
        process = _run_command_line(tree, *command)
    if process.returncode:
        raise FailedError(_explanation(tree, stack, process.stderr))
    return from_json(json.loads(process.stdout), stack, project_of(stack))


def _run_command_line(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1", "TERM": "dumb"}
    environment.pop("PYTHONSAFEPATH", None)
    try:
        return subprocess.run(
            [sys.executable, "-m", _command_line(tree), *arguments],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MINUTES * 60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"a program {_place(tree)} did not end within {MINUTES} minutes") from None


def _command_line(tree: Path) -> str:
    """Module of the tree's command line.

    Raises:
        FailedError: the tree has none.
    """
    for file, module in COMMAND_LINES.items():
        if (tree / file).exists():
            return module
    raise FailedError(
        f"there is no command line {_place(tree)} ({' or '.join(COMMAND_LINES)}); compare with a later commit"
    )


def _explanation(tree: Path, stack: str, stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()] or ["it wrote no message"]
    problem = f"the program of stack {stack} cannot be run under mocks {_place(tree)}"
    if UNKNOWN_COMMAND in stderr:
        return f"{problem}: that commit has no command `resources`; compare with a later commit"
    if lines[-1].startswith(("ModuleNotFoundError", "ImportError")):
        return (
            f"{problem}: {lines[-1]}. It needs other packages than this branch locks (uv.lock); in a clone of the other commit run "
            f"`runner-platform resources --stack {stack} --json`, and compare by hand"
        )
    excerpt = "\n".join(f"  {line}" for line in lines[-12:])
    return f"{problem}:\n{excerpt}"


def _place(tree: Path) -> str:
    return "in this folder" if tree == load.ROOT else "in the commit that is compared with"


def _git(*arguments: str) -> str:
    process = _run_git(*arguments)
    if process.returncode:
        subcommand = arguments[0] if arguments[0] != "-c" else arguments[2]
        raise FailedError(f"git {subcommand}: {process.stderr.strip()}")
    return process.stdout


def _run_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    # A hook or another git command may have set these variables, which would name another repository.
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
