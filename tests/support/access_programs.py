"""The real programs as the reasoner sees them: one world of all stacks, and worlds with one thing changed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from access.graph import AccessGraph
from access.inventory import Inventory
from config import load
from tests.support.program import ALL_STACKS, mock_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from access.resource import Resource

ALL = ("foundation", *ALL_STACKS)


@cache
def resources(stack: str) -> tuple[Resource, ...]:
    return tuple(mock_run(stack).resources)


@cache
def facts() -> Inventory:
    return Inventory.of([load.of_stack(stack) for stack in ALL_STACKS], load.of_foundation())


@cache
def whole() -> AccessGraph:
    """Foundation and both stacks side by side."""
    return AccessGraph.of([each for stack in ALL for each in resources(stack)], facts())


def changed(change: Callable[[Resource], dict[str, Any] | None], *further: Resource) -> AccessGraph:
    """The same with other inputs for the resources that `change` answers for, and further resources."""
    listed = []
    for stack in ALL:
        for each in resources(stack):
            inputs = change(each)
            listed.append(each if inputs is None else replace(each, inputs={**each.inputs, **inputs}))
    return AccessGraph.of([*listed, *further], facts())


def role_named(name: str, account: str | None = None) -> Callable[[Resource], bool]:
    """Whether a resource is the role of a name."""
    return lambda each: (
        each.type == "aws:iam/role:Role" and each.inputs["name"] == name and account in (None, each.account)
    )


def trust_of(each: Resource) -> dict[str, Any]:
    """A role's trust, to be changed at will."""
    found: dict[str, Any] = json.loads(each.inputs["assumeRolePolicy"])
    return found
