"""One case of the aws stand-in's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.tests.support.provider_aws_account import Account
    from sandbox.tests.support.provider_driver import State

Inputs = dict[str, Any]
Given = Inputs | Callable[["Account"], Inputs]
TAGS: Inputs = {"tags": {"a": "1", "b": "2"}}
RETAGGED: Inputs = {"tags": {"a": "1", "b": "3", "c": "4"}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """The inputs of one resource, and changes of them."""

    token: str
    inputs: Given
    change: Given | None = None
    """Inputs to merge for an update in place."""
    replace: Given | None = None
    """Inputs to merge for a replacement."""
    import_id: Callable[[State], str] = lambda state: state.id
    kept_inputs: frozenset[str] = frozenset()
    """Inputs that AWS does not return, so that an import lacks them."""
    leaves: bool = False
    """True: the delete keeps a part of the resource, on purpose."""


def of(account: Account, given: Given) -> Inputs:
    """Return the inputs, with ids of the prerequisites filled in."""
    return given(account) if callable(given) else given
