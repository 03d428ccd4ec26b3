"""URNs as the engine makes them, so that a mock run, a preview and a deployed state name a resource alike.

Source: https://www.pulumi.com/docs/iac/concepts/resources/names/#urns
"""

from __future__ import annotations

from access.resource import STACK_TYPE


def urn(stack: str, project: str, parent: str, type_: str, name: str) -> str:
    """URN of a resource.

    Args:
        stack: name of the stack.
        project: name of the project.
        parent: URN of the parent; empty, or the stack's URN, at the top, where the engine writes no parent's type.
        type_: type token.
        name: logical name.
    """
    parent_type = parent.split("::")[2] if parent else ""
    types = f"{parent_type}${type_}" if parent_type not in ("", STACK_TYPE) else type_
    return f"urn:pulumi:{stack}::{project}::{types}::{name}"
