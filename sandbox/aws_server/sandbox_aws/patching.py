"""Replaces functions of MiniStack, and refuses to start when one is missing.

MiniStack has no extension points, so the wrapper depends on its private names and its pinned version. Every replacement
goes through this module: a name that a newer MiniStack lacks is an error at start, not a silent gap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping


class MissingNameError(RuntimeError):
    """MiniStack lacks a name that the wrapper replaces: its version is not the pinned version."""


def replace(module: str, name: str, make: Callable[[Any], Any]) -> None:
    """Replace `ministack.<module>.<name>` by `make(original)`.

    Raises:
        MissingNameError: MiniStack has no such name.
    """
    target = importlib.import_module(f"ministack.{module}")
    if not hasattr(target, name):
        raise MissingNameError(f"ministack.{module} has no {name!r}: this wrapper is written for MiniStack 1.5.33")
    setattr(target, name, make(getattr(target, name)))


def handlers(module: str, name: str) -> MutableMapping[str, Any]:
    """Return a table of MiniStack's operations, to extend it or to wrap operations.

    Raises:
        MissingNameError: MiniStack has no such table.
    """
    target = importlib.import_module(f"ministack.{module}")
    table = getattr(target, name, None)
    if not isinstance(table, dict):
        raise MissingNameError(
            f"ministack.{module} has no table {name!r}: this wrapper is written for MiniStack 1.5.33"
        )
    return table


def wrap(table: MutableMapping[str, Any], operation: str, make: Callable[[Any], Any]) -> None:
    """Replace one operation of a table by `make(original)`.

    Raises:
        MissingNameError: The table lacks the operation.
    """
    if operation not in table:
        raise MissingNameError(
            f"MiniStack has no operation {operation!r}: this wrapper is written for MiniStack 1.5.33"
        )
    table[operation] = make(table[operation])
