"""Tags that every resource carries.

Default tags of each AWS provider hold what is true for the whole stack; a resource of one runner class adds `platform:class`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.sections import Tags

STACK, CLASS, OWNER, COST = "platform:stack", "platform:class", "platform:owner", "platform:cost"


def default_tags(stack: str, tags: Tags) -> dict[str, str]:
    """Tags of everything in a stack."""
    return {STACK: stack, OWNER: tags.owner, COST: tags.cost}


def class_tags(runner_class: str) -> dict[str, str]:
    """Tags that a class's own resources add."""
    return {CLASS: runner_class}
