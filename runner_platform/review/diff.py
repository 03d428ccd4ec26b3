"""What a branch changes against another commit: two mock runs, each of its own code and settings.

Needs git and no credentials, so an unreviewed branch can be looked at in a job that reaches nothing. Owns running both sides and the
shape of the answer; comparing is `runner_platform.review.diff_changes`'s and `runner_platform.review.diff_costs`'s business, showing `runner_platform.reports`'s.
"""

from __future__ import annotations

import os
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from config import load
from config.errors import unknown_key
from runner_platform.errors import WrongUseError
from runner_platform.reports.change import Counts, counts
from runner_platform.review import access_diff, access_matrix, worktree
from runner_platform.review.diff_changes import changes
from runner_platform.review.diff_costs import Cost, costs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runner_platform.reports.change import Change
    from runner_platform.review.access_matrix import Matrix, Side

UNSEEN = (
    "Two mock runs were compared; no engine, state or cloud was asked. They cannot show: drift; whether a secret's value changes; values "
    "that only a deployment knows; what follows in other resources from a replacement; replacements that a provider decides by itself; "
    "what a chart makes of its values; whether quotas and the organisation's policies allow it. The preview after the merge shows these."
)
"""What two mock runs cannot show; under every report."""
PROGRAM_PACKAGES = ("pulumi", "pulumi-aws", "pulumi-gitlab", "pulumi-kubernetes")
Resources = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class StackDiff:
    """What a branch changes in one stack."""

    stack: str
    changes: Sequence[Change]
    """In the order of a report."""
    costs: Sequence[Cost]
    access: Sequence[access_diff.Change]
    """Who gains and who loses, gains first."""
    matrix: Matrix | None = None
    """Who reaches what on this side; None where it has no such stack."""

    @property
    def counts(self) -> Counts:
        """Resources by kind of change."""
        return counts(self.changes)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a branch changes."""

    ref: str
    commit: str
    """What `ref` stands for: 40 hexadecimal digits."""
    stacks: Sequence[StackDiff]
    notes: Sequence[str]
    """Sentences on the comparison itself."""

    @property
    def against(self) -> str:
        """For people: `against main (0a1b2c3d)`."""
        short = self.commit[:8]
        return f"against {short}" if self.commit.startswith(self.ref) else f"against {self.ref} ({short})"


def compare(ref: str, stack: str | None = None) -> Comparison:
    """Compare this folder, uncommitted changes included, with another commit.

    Args:
        ref: anything that names a commit of this clone.
        stack: only this one; None for every stack that either side has.

    Raises:
        WrongUseError: no such commit, or neither side has the stack.
        FailedError: a program does not run on one of the sides.
    """
    commit = worktree.resolved(ref)
    with worktree.at(commit) as tree:
        names = list(dict.fromkeys([*worktree.stacks(load.ROOT), *worktree.stacks(tree)]))
        if stack is not None and stack not in names:
            raise WrongUseError(f"{stack!r} {unknown_key(stack, names).replace('is not a setting', 'is not a stack')}")
        # Always all of them: who may do what in one stack is also a matter of the others.
        old, new = _rehearsed(names, tree)
        reach = [access_matrix.of_tree(side, _all(runs)) for side, runs in ((tree, old), (load.ROOT, new))]
        notes = [*_behind(ref), *_other_packages(tree), *_other_rehearsal(tree)]
    found = [_of_stack(name, old[name], new[name], reach) for name in ([stack] if stack else names)]
    return Comparison(ref=ref, commit=commit, stacks=found, notes=notes)


def _rehearsed(names: Sequence[str], tree: Path) -> list[dict[str, Resources]]:
    def one(stack: str, side: Path) -> Resources:
        return worktree.rehearsed(side, stack) if stack in worktree.stacks(side) else []

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [{stack: pool.submit(one, stack, side) for stack in names} for side in (tree, load.ROOT)]
        return [{stack: run.result() for stack, run in side.items()} for side in runs]


def _all(runs: Mapping[str, Resources]) -> Resources:
    return [each for run in runs.values() for each in run]


def _of_stack(stack: str, old: Resources, new: Resources, reach: Sequence[Side]) -> StackDiff:
    before, after = (side.of(stack) for side in reach)
    return StackDiff(
        stack=stack,
        changes=changes(old, new),
        costs=costs(old, new),
        access=access_diff.changes(before, after),
        matrix=access_matrix.of_stack(stack, reach[1]) if new else None,
    )


def _behind(ref: str) -> list[str]:
    missing = worktree.behind(ref)
    if not missing:
        return []
    remedy = f"rebase, or compare with their common ancestor (git merge-base {ref} HEAD)"
    return [f"This branch lacks {missing} commits of {ref}, whose changes look undone here: {remedy}."]


def _other_rehearsal(tree: Path) -> list[str]:
    old, new = (side / "runner_platform" / "check" / "mock_run.py" for side in (tree, load.ROOT))
    if old.exists() and old.read_bytes() == new.read_bytes():
        return []
    made_up = "ids, ARNs and an issuer that only a deployment knows"
    return [
        f"The mock runs themselves differ (runner_platform/check/mock_run.py): differences of {made_up} may be theirs."
    ]


def _other_packages(tree: Path) -> list[str]:
    old, new = _locked(tree), _locked(load.ROOT)
    moved = [f"{name} {old[name]} → {new[name]}" for name in new if name in old and old[name] != new[name]]
    if not moved:
        return []
    return [f"Both runs used this branch's packages, and the other commit locks others: {', '.join(moved)}."]


def _locked(tree: Path) -> dict[str, str]:
    try:
        lock = tomllib.loads((tree / "uv.lock").read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    versions = {each["name"]: each.get("version", "") for each in lock.get("package", ())}
    return {name: versions[name] for name in PROGRAM_PACKAGES if name in versions}
