"""Tags of AWS resources: each AWS provider has the stack's default tags, and resources of a runner class add `platform:class`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.sections import Tags

STACK, CLASS, OWNER, COST = "platform:stack", "platform:class", "platform:owner", "platform:cost"


def default_tags(stack: str, tags: Tags) -> dict[str, str]:
    """Return the tags of all resources of a stack."""
    return {STACK: stack, OWNER: tags.owner, COST: tags.cost, **tags.further}


def class_tags(runner_class: str) -> dict[str, str]:
    """Return the tags that a class's own resources add."""
    return {CLASS: runner_class}
