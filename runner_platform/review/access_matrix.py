"""The access matrix of the programs, here or at another commit, and its changes: mock runs in, cells out.

Foundation and all stacks run together, since they share accounts and each is a stranger to the others. The reasoning is in `access`,
the words are in `access_report`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from access.decision import Decision
from access.flows import flows
from access.graph import AccessGraph
from access.inventory import Inventory
from access.matrix import declared, derived, differences
from access.profiles import profile_problems
from config import foundation, load, settings
from config.errors import SettingsError
from runner_platform import stacks
from runner_platform.check import mock_run
from runner_platform.review import worktree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from access.flows import Flow
    from access.matrix import Cell, Difference
    from access.resource import Resource
    from config.foundation import FoundationSettings
    from config.settings import Settings

RANK = {Decision.DENIED: 0, Decision.UNDECIDED: 1, Decision.ALLOWED: 2}


@dataclass(frozen=True, kw_only=True)
class Side:
    """The programs of one commit, all stacks together."""

    facts: Inventory
    stacks: Mapping[str, Settings]
    foundation: FoundationSettings
    world: AccessGraph
    cells: Sequence[Cell]
    """Of all stacks."""
    profiles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Sentences on AWS profiles that lead elsewhere than the settings declare, by stack."""

    @cached_property
    def flows(self) -> list[Flow]:
        """Flows of all stacks from an open class to a protected one."""
        return flows(self.world)

    def of(self, stack: str) -> list[Cell]:
        """Cells whose role belongs to the stack or to the foundation."""
        own = {stack, foundation.STACK}
        return [cell for cell in self.cells if self.world.roles[cell.role].stack in own]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The access matrix of one stack."""

    stack: str
    side: Side
    cells: Sequence[Cell]
    differences: Sequence[Difference]
    """Cells where the documents say something else than the settings."""
    flows: Sequence[Flow]
    """Flows from an open class to a protected one; there should be none."""
    profiles: Sequence[str] = ()
    """Sentences on profiles in the AWS configs of jobs that lead elsewhere than the settings declare."""

    @property
    def fine(self) -> bool:
        """Whether documents and profiles agree with the settings, and nothing flows from open to protected."""
        return not (self.differences or self.flows or self.profiles)


@dataclass(frozen=True, kw_only=True)
class AccessChange:
    """A cell whose answer changes."""

    principal: str
    account: str
    role: str
    before: Decision
    after: Decision
    chain: tuple[str, ...]
    """The chain that opens, or the one that closes."""

    @property
    def gains(self) -> bool:
        """Whether the principal reaches more than before."""
        return RANK[self.after] > RANK[self.before]


def changes(before: Iterable[Cell], after: Iterable[Cell]) -> list[AccessChange]:
    """Changes between two matrices, gains first; a missing principal or role counts as denied."""
    old = {(cell.principal, cell.role): cell for cell in before}
    new = {(cell.principal, cell.role): cell for cell in after}
    gains_and_losses = [
        change
        for principal, role in sorted({*old, *new})
        if (change := _change(old.get((principal, role)), new.get((principal, role)))) is not None
    ]
    return sorted(gains_and_losses, key=lambda change: not change.gains)


def _change(old: Cell | None, new: Cell | None) -> AccessChange | None:
    before = old.decision if old else Decision.DENIED
    after = new.decision if new else Decision.DENIED
    cell = new if RANK[after] > RANK[before] else old
    if before is after or cell is None:
        return None
    return AccessChange(
        principal=cell.principal, account=cell.account, role=cell.role, before=before, after=after, chain=cell.chain
    )


def here(resources: Mapping[str, Sequence[Resource]] | None = None) -> Side:
    """The programs in this folder.

    Args:
        resources: resources by stack, when they are known already; the other stacks' programs run under mocks.

    Raises:
        SettingsError: a stack file cannot be used.
    """
    names = stacks.names()
    stacks.agree(names)
    by_stack = dict(resources or {})
    for name in names:
        if name not in by_stack:
            by_stack[name] = mock_run.run_program(name).resources
    everything = [resource for name in names for resource in by_stack[name]]
    return _side(everything, {name: stacks.settings_of(name) for name in load.stacks()}, load.of_foundation())


def at(ref: str) -> Side:
    """The programs at another commit, run by that commit's own code.

    Raises:
        WrongUseError: there is no such commit.
        FailedError: a program does not run there.
    """
    with worktree.at(ref) as tree:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            runs = pool.map(lambda name: worktree.resources_of(tree, name), worktree.stacks(tree))
            resources = [resource for run in runs for resource in run]
        return of_tree(tree, resources)


def of_tree(tree: Path, resources: Iterable[Resource]) -> Side:
    """The programs of a checkout.

    Args:
        tree: the project's folder in the checkout, for its settings.
        resources: of all its stacks, from `worktree.resources_of`.
    """
    return _side(resources, _stacks_of(tree, worktree.stacks(tree)), _foundation_of(tree))


def _stacks_of(tree: Path, names: Sequence[str]) -> dict[str, Settings]:
    by_stack = {}
    for name in names:
        if name == foundation.STACK:
            continue
        file = f"Pulumi.{name}.yaml"
        try:
            by_stack[name] = settings.parse(load.raw_of(tree / file, settings.PROJECT), name, file)
        except SettingsError:
            # Only the other commit's code can read these settings; this side's settings name the principals then.
            if name in load.stacks():
                by_stack[name] = stacks.settings_of(name)
    return by_stack


def _foundation_of(tree: Path) -> FoundationSettings:
    file = tree / "foundation" / f"Pulumi.{foundation.STACK}.yaml"
    try:
        return foundation.parse(load.raw_of(file, foundation.PROJECT), file.name)
    except SettingsError:
        return load.of_foundation()


def _side(resources: Iterable[Resource], by_stack: Mapping[str, Settings], base: FoundationSettings) -> Side:
    facts = Inventory.of(by_stack.values(), base)
    everything = list(resources)
    world = AccessGraph.of(everything, facts)
    profiles = {
        name: profile_problems([resource for resource in everything if resource.stack == name], settings_of_stack)
        for name, settings_of_stack in by_stack.items()
    }
    return Side(facts=facts, stacks=by_stack, foundation=base, world=world, cells=derived(world), profiles=profiles)


def of_stack(stack: str, side: Side | None = None) -> Matrix:
    """The access matrix of one stack.

    Args:
        stack: name of the stack.
        side: the programs; None to run those in this folder.

    Raises:
        WrongUseError: the stack has no file.
        SettingsError: a stack file cannot be used.
    """
    stacks.known(stack)
    side = side or here()
    cells = side.of(stack)
    expected = declared(list(side.stacks.values()), side.foundation)
    own_roles, all_roles = {cell.role for cell in cells}, set(side.world.roles)
    own_differences = [
        difference
        for difference in differences(expected, side.cells)
        if difference.cell.role in own_roles or difference.cell.role not in all_roles
    ]
    own_flows = [flow for flow in side.flows if f":{stack}/" in f"{flow.writer} {flow.consumer}"]
    return Matrix(
        stack=stack,
        side=side,
        cells=cells,
        differences=own_differences,
        flows=own_flows,
        profiles=side.profiles.get(stack, ()),
    )
