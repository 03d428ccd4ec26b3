"""The access matrix of the programs as they are here, or at another commit: mock runs in, cells out.

Foundation and all stacks are rehearsed together, since they share accounts and "the other stack" must be real. Owns turning registrations
into the reasoner's resources, and what a matrix has to say of one stack. Leaves out the reasoning (`access`) and how it is shown
(`access_report`).
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from access.flows import flows
from access.graph import AccessGraph
from access.inventory import Inventory
from access.matrix import declared, derived, differences
from access.resource import Resource, from_wire
from config import foundation, load, settings
from config.errors import SettingsError
from runner_platform.check import inspect
from runner_platform.review import worktree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from access.flows import Flow
    from access.matrix import Cell, Difference
    from config.foundation import FoundationSettings
    from config.settings import Settings
    from runner_platform.check.mock_run import Rehearsal

AWS_PROVIDER = "pulumi:providers:aws"


@dataclass(frozen=True, kw_only=True)
class Side:
    """The programs of one commit."""

    facts: Inventory
    stacks: Mapping[str, Settings]
    foundation: FoundationSettings
    world: AccessGraph
    cells: Sequence[Cell]
    """Of all stacks."""

    @cached_property
    def flows(self) -> list[Flow]:
        """Ways from what an open class writes into a protected one, of all stacks."""
        return flows(self.world)

    def of(self, stack: str) -> list[Cell]:
        """Cells whose role is the stack's or the foundation's, on which every stack stands."""
        own = {stack, foundation.STACK}
        return [cell for cell in self.cells if self.world.roles[cell.role].stack in own]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What there is to say about who reaches what in one stack."""

    stack: str
    side: Side
    cells: Sequence[Cell]
    differences: Sequence[Difference]
    """Where the documents say something else than the settings."""
    flows: Sequence[Flow]
    """Ways from what an open class writes into a protected one; there should be none."""

    @property
    def fine(self) -> bool:
        """Whether the documents say what the settings declare, and nothing flows from open to protected."""
        return not self.differences and not self.flows


def resources_of(listed: Iterable[Mapping[str, Any]]) -> list[Resource]:
    """The reasoner's resources, from those of `resources --json` with URNs."""
    everything = list(listed)
    ids = {each["name"]: _account(each["inputs"]) for each in everything if each["type"] == AWS_PROVIDER}
    return [
        Resource(each["urn"], each["type"], each["name"], ids.get(each["account"] or "", ""), from_wire(each["inputs"]))
        for each in everything
    ]


def _account(provider: Mapping[str, Any]) -> str:
    listed = provider.get("allowedAccountIds") or []
    found = json.loads(listed) if isinstance(listed, str) else listed
    return str(found[0]) if found else ""


def here(made: Mapping[str, Rehearsal] | None = None) -> Side:
    """The programs as they are in this folder.

    Args:
        made: rehearsals that there are already, by stack; the others are made.

    Raises:
        SettingsError: a stack file cannot be used.
    """
    names = [foundation.STACK, *load.stacks()]
    inspect.agree(names)
    known = made or {}
    registered = [
        each
        for name in names
        for each in (
            inspect.listed(known[name], options=True) if name in known else inspect.resources(name, options=True)
        )
    ]
    stacks = {name: inspect.settings_of(name) for name in load.stacks()}
    return _side(registered, stacks, load.of_foundation())


def at(ref: str) -> Side:
    """The programs as they are at another commit, each run by that commit's own code.

    Raises:
        WrongUseError: no such commit.
        FailedError: a program does not run there.
    """
    with worktree.at(ref) as tree:
        names = worktree.stacks(tree)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            runs = pool.map(lambda name: worktree.rehearsed(tree, name), names)
            registered = [each for run in runs for each in run]
        return of_tree(tree, registered)


def of_tree(tree: Path, registered: Iterable[Mapping[str, Any]]) -> Side:
    """The programs of a tree, from what they register there, as `worktree.rehearsed` tells it."""
    return _side(registered, _stacks_of(tree, worktree.stacks(tree)), _foundation_of(tree))


def _stacks_of(tree: Path, names: Sequence[str]) -> dict[str, Settings]:
    found = {}
    for name in names:
        if name == foundation.STACK:
            continue
        file = f"Pulumi.{name}.yaml"
        try:
            found[name] = settings.parse(load.raw_of(tree / file, settings.PROJECT), name, file)
        except SettingsError:
            # Settings that only the other commit's code can read: who is who is then taken from here.
            if name in load.stacks():
                found[name] = inspect.settings_of(name)
    return found


def _foundation_of(tree: Path) -> FoundationSettings:
    file = tree / "foundation" / f"Pulumi.{foundation.STACK}.yaml"
    try:
        return foundation.parse(load.raw_of(file, foundation.PROJECT), file.name)
    except SettingsError:
        return load.of_foundation()


def _side(listed: Iterable[Mapping[str, Any]], stacks: Mapping[str, Settings], base: FoundationSettings) -> Side:
    facts = Inventory.of(stacks.values(), base)
    world = AccessGraph.of(resources_of(listed), facts)
    return Side(facts=facts, stacks=stacks, foundation=base, world=world, cells=derived(world))


def of_stack(stack: str, side: Side | None = None) -> Matrix:
    """What there is to say about one stack as it is here.

    Raises:
        WrongUseError: the stack has no file.
        SettingsError: a stack file cannot be used.
    """
    inspect.known(stack)
    found = side or here()
    cells = found.of(stack)
    expected = declared(list(found.stacks.values()), found.foundation)
    roles, known = {cell.role for cell in cells}, set(found.world.roles)
    wrong = [
        each for each in differences(expected, found.cells) if each.cell.role in roles or each.cell.role not in known
    ]
    mixed = [each for each in found.flows if f":{stack}/" in f"{each.writer} {each.consumer}"]
    return Matrix(stack=stack, side=found, cells=cells, differences=wrong, flows=mixed)
