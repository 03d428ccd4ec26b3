"""What one case of the aws stand-in's tests says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.tests.support.provider_aws_world import World
    from sandbox.tests.support.provider_driver import State

Inputs = dict[str, Any]
Given = Inputs | Callable[["World"], Inputs]
TAGS: Inputs = {"tags": {"a": "1", "b": "2"}}
RETAGGED: Inputs = {"tags": {"a": "1", "b": "3", "c": "4"}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happens to one resource."""

    token: str
    inputs: Given
    change: Given | None = None
    """Merged over the inputs: an update in place."""
    replace: Given | None = None
    """Merged over the inputs: another resource."""
    import_id: Callable[[State], str] = lambda state: state.id
    kept_inputs: frozenset[str] = frozenset()
    """Inputs that AWS does not know, which an import cannot find."""
    leaves: bool = False
    """Deleting it leaves something behind, on purpose."""


def of(world: World, given: Given) -> Inputs:
    """Return inputs, with the world's things in them."""
    return given(world) if callable(given) else given
