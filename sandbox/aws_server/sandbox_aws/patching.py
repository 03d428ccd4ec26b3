"""Replaces functions of MiniStack, and refuses to start when one is missing.

MiniStack has no extension points, so its private names are a contract that only its version pin guards. Every
replacement goes through here: a name that a newer MiniStack no longer has is an error at start, not a gap that nobody
sees.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping


class MissingNameError(RuntimeError):
    """MiniStack lacks a name that the wrapper replaces: its version is not the pinned one."""


def replace(module: str, name: str, make: Callable[[Any], Any]) -> None:
    """Replace `ministack.<module>.<name>` by `make(original)`.

    Raises:
        MissingNameError: when MiniStack has no such name.
    """
    target = importlib.import_module(f"ministack.{module}")
    if not hasattr(target, name):
        raise MissingNameError(f"ministack.{module} has no {name!r}: this wrapper is written for MiniStack 1.5.33")
    setattr(target, name, make(getattr(target, name)))


def handlers(module: str, name: str) -> MutableMapping[str, Any]:
    """Return MiniStack's own table of operations, to add to or to wrap.

    Raises:
        MissingNameError: when MiniStack has no such table.
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
        MissingNameError: when the table lacks the operation.
    """
    if operation not in table:
        raise MissingNameError(
            f"MiniStack has no operation {operation!r}: this wrapper is written for MiniStack 1.5.33"
        )
    table[operation] = make(table[operation])
