"""URNs as the engine makes them, so that a mock run, a preview and a deployed state name a resource alike.

Source: https://www.pulumi.com/docs/iac/concepts/resources/names/#urns
"""

from __future__ import annotations

from typing import Final

STACK_TYPE: Final = "pulumi:pulumi:Stack"


def urn(stack: str, project: str, parent: str, type_: str, name: str) -> str:
    """URN of a resource.

    Args:
        stack: its name.
        project: its name.
        parent: URN of the parent; empty, or the stack's own, for what has none: the engine then writes no parent's type.
        type_: type token.
        name: logical name.
    """
    above = parent.split("::")[2] if parent else ""
    types = f"{above}${type_}" if above not in ("", STACK_TYPE) else type_
    return f"urn:pulumi:{stack}::{project}::{types}::{name}"
