"""Compares this folder's programs with those of another commit: two mock runs, of either side's own code and settings.

Needs git and no credentials, so that an unreviewed branch can be compared in a job that reaches nothing. A resource is matched by URN, or
by an alias that names its earlier URN.
"""

from __future__ import annotations

import os
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from access.resource import SECRET
from config import load
from config.errors import unknown_key
from runner_platform.errors import WrongUseError
from runner_platform.reports.change import Change, Counts, Kind, Property, counts, ordered
from runner_platform.review import access_matrix, worktree
from runner_platform.review.costs import Cost, costs
from runner_platform.review.property_diff import differences, forces_replacement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from access.resource import Resource
    from runner_platform.review.access_matrix import AccessChange, Matrix, Side

UNSEEN = (
    "Two mock runs were compared; no engine, state or cloud was asked. They cannot show: drift; whether a secret's value changes; values "
    "that only a deployment knows; what follows in other resources from a replacement; replacements that a provider decides by itself; "
    "what a chart makes of its values; whether quotas and the organisation's policies allow it. The preview after the merge shows these."
)
"""Limits of the comparison; under every report."""
PROGRAM_PACKAGES = ("pulumi", "pulumi-aws", "pulumi-gitlab", "pulumi-kubernetes")
MOCK_FILES = ("runner_platform/check/mock_run.py", "runner_platform/check/mock_cloud.py")
SECRET_TYPES = {"kubernetes:core/v1:Secret": ("data", "stringData")}
"""Inputs that are secret even if the program does not say so."""
PROTECTED = "is protected: `up` refuses until `protect` is off"
UNPROTECTED = "loses its protection against deletion"
RETAINED = "stays in the cloud, out of the stack's hands (retainOnDelete)"
OTHER_PROVIDER = "gets another provider; only a preview can tell whether that moves or replaces it"


@dataclass(frozen=True, kw_only=True)
class StackDiff:
    """Changes of one stack."""

    stack: str
    changes: Sequence[Change]
    """In the order of a report."""
    costs: Sequence[Cost]
    access: Sequence[AccessChange]
    """Gains first."""
    matrix: Matrix | None = None
    """This side's access matrix; None if this side has no such stack."""

    @property
    def counts(self) -> Counts:
        """Resources by kind of change."""
        return counts(self.changes)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Changes of a branch."""

    ref: str
    commit: str
    """The commit of `ref`, 40 hexadecimal digits."""
    stacks: Sequence[StackDiff]
    notes: Sequence[str]
    """Sentences on the comparison itself."""

    @property
    def against(self) -> str:
        """The other side for people: `against main (0a1b2c3d)`."""
        short = self.commit[:8]
        return f"against {short}" if self.commit.startswith(self.ref) else f"against {self.ref} ({short})"


def compare(ref: str, stack: str | None = None) -> Comparison:
    """Compare this folder, uncommitted changes included, with another commit.

    Args:
        ref: any name of a commit of this clone.
        stack: only this one; None for every stack of either side.

    Raises:
        WrongUseError: there is no such commit, or neither side has the stack.
        FailedError: a program does not run on one of the sides.
    """
    commit = worktree.resolved(ref)
    with worktree.at(commit) as tree:
        names = list(dict.fromkeys([*worktree.stacks(load.ROOT), *worktree.stacks(tree)]))
        if stack is not None and stack not in names:
            raise WrongUseError(f"{stack!r} {unknown_key(stack, names).replace('is not a setting', 'is not a stack')}")
        # All stacks in any case: the access of one stack depends on the others.
        old, new = _mock_runs(names, tree)
        sides = [
            access_matrix.of_tree(folder, [resource for resources in runs.values() for resource in resources])
            for folder, runs in ((tree, old), (load.ROOT, new))
        ]
        notes = [*_behind(ref), *_other_packages(tree), *_other_mocks(tree)]
    diffs = [_stack_diff(name, old[name], new[name], sides) for name in ([stack] if stack else names)]
    return Comparison(ref=ref, commit=commit, stacks=diffs, notes=notes)


def _mock_runs(names: Sequence[str], tree: Path) -> list[dict[str, list[Resource]]]:
    def run(stack: str, folder: Path) -> list[Resource]:
        return worktree.resources_of(folder, stack) if stack in worktree.stacks(folder) else []

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = [{stack: pool.submit(run, stack, folder) for stack in names} for folder in (tree, load.ROOT)]
        return [{stack: future.result() for stack, future in futures.items()} for futures in pending]


def _stack_diff(stack: str, old: Sequence[Resource], new: Sequence[Resource], sides: Sequence[Side]) -> StackDiff:
    before, after = (side.of(stack) for side in sides)
    return StackDiff(
        stack=stack,
        changes=changes(old, new),
        costs=costs(old, new),
        access=access_matrix.changes(before, after),
        matrix=access_matrix.of_stack(stack, sides[1]) if new else None,
    )


# Notes on the comparison ----------------------------------------------------------------------------------------------


def _behind(ref: str) -> list[str]:
    missing = worktree.behind(ref)
    if not missing:
        return []
    remedy = f"rebase, or compare with their common ancestor (git merge-base {ref} HEAD)"
    return [f"This branch lacks {missing} commits of {ref}, whose changes look undone here: {remedy}."]


def _other_mocks(tree: Path) -> list[str]:
    if all(_content(tree / name) == _content(load.ROOT / name) for name in MOCK_FILES):
        return []
    return [f"The mocks differ too ({', '.join(MOCK_FILES)}): differences of ids, ARNs and issuers may come from them."]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


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
    versions = {package["name"]: package.get("version", "") for package in lock.get("package", ())}
    return {name: versions[name] for name in PROGRAM_PACKAGES if name in versions}


# Changes --------------------------------------------------------------------------------------------------------------


def changes(old: Sequence[Resource], new: Sequence[Resource]) -> list[Change]:
    """Changes between two lists of resources, in the order of a report; unchanged resources are left out."""
    before = {resource.urn: resource for resource in old}
    after = {resource.urn: resource for resource in new}
    result: list[Change] = []
    for urn, resource in after.items():
        earlier = before.pop(urn, None)
        alias = None if earlier else next((name for name in resource.aliases if name in before), None)
        if alias:
            earlier = before.pop(alias)
        change = _created(resource) if earlier is None else _changed(earlier, resource, moved=alias is not None)
        result += [change] if change else []
    result += [_deleted(resource) for resource in before.values()]
    return ordered(result)


def _created(resource: Resource) -> Change:
    return _change(Kind.CREATE, resource, differences({}, _inputs(resource)))


def _deleted(resource: Resource) -> Change:
    warnings = [*([PROTECTED] if resource.protect else []), *([RETAINED] if resource.retain_on_delete else [])]
    return _change(Kind.DELETE, resource, (), warnings)


def _changed(old: Resource, new: Resource, *, moved: bool) -> Change | None:
    properties = [
        Property(
            path=difference.path,
            old=difference.old,
            new=difference.new,
            forces_replacement=forces_replacement(new.type, difference.path) or old.type != new.type,
        )
        for difference in differences(_inputs(old), _inputs(new))
    ]
    option_properties, warnings = _option_changes(old, new)
    properties += option_properties
    replaced = any(difference.forces_replacement for difference in properties)
    if not properties:
        return _change(Kind.MOVE, new, (), [f"was {old.urn}"]) if moved else None
    if replaced and old.protect:
        warnings.append(PROTECTED)
    return _change(Kind.REPLACE if replaced else Kind.UPDATE, new, properties, warnings)


def _option_changes(old: Resource, new: Resource) -> tuple[list[Property], list[str]]:
    """Differences of resource options, and warnings; an option that one side does not list is no difference."""
    warnings: list[str] = []
    properties: list[Property] = []
    options = (
        ("protect", old.protect, new.protect),
        ("retainOnDelete", old.retain_on_delete, new.retain_on_delete),
    )
    for name, before, after in options:
        if before is not None and after is not None and before != after:
            properties.append(Property(path=f"({name})", old=str(before).lower(), new=str(after).lower()))
            warnings += [UNPROTECTED] if name == "protect" and before else []
    if old.provider != new.provider:
        properties.append(Property(path="(provider)", old=old.provider or None, new=new.provider or None))
        warnings.append(OTHER_PROVIDER)
    return properties, warnings


def _change(kind: Kind, resource: Resource, properties: Iterable[Property], warnings: Sequence[str] = ()) -> Change:
    return Change(
        kind=kind,
        urn=resource.urn,
        type=resource.type,
        name=resource.name,
        account=resource.account_name,
        properties=tuple(properties),
        warnings=tuple(warnings),
    )


def _inputs(resource: Resource) -> Mapping[str, Any]:
    hidden = SECRET_TYPES.get(resource.type, ())
    return {key: _masked(value) if key in hidden else value for key, value in resource.inputs.items()}


def _masked(value: Any) -> Any:
    return dict.fromkeys(value, SECRET) if isinstance(value, dict) else SECRET
