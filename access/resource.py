"""Resources as the reasoner reads them: plain data, from a mock run, from an engine's analysis, or from a deployed state.

Owns the one shape that all of these are brought into, and the mark of a value that is not known yet. Leaves out where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

SHOWN_UNKNOWN: Final = "[unknown]"
"""How a mock run shows a value that is not known."""
ENGINE_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How the engine sends one. Source: https://github.com/pulumi/pulumi `sdk/python/lib/pulumi/runtime/rpc.py`."""


class Unknown(Enum):
    """A value that is not known yet."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True)
class Resource:
    """One resource that a program registers or that is deployed."""

    urn: str
    type: str
    """Type token, such as `aws:iam/role:Role`."""
    name: str
    """Logical name."""
    account: str
    """Twelve digits; empty outside AWS."""
    inputs: Mapping[str, Any] = field(hash=False)
    """Wire names (camelCase); policy documents as JSON text or as objects; leaves that are not known are `UNKNOWN`."""

    @property
    def stack(self) -> str:
        """Name of the stack, from the URN `urn:pulumi:<stack>::…`; empty where there is none."""
        head = self.urn.partition("::")[0]
        return head.removeprefix("urn:pulumi:") if head.startswith("urn:pulumi:") else ""


def from_wire(value: Any) -> Any:
    """The same value with every mark of an unknown one replaced by `UNKNOWN`."""
    if value in (SHOWN_UNKNOWN, ENGINE_UNKNOWN):
        return UNKNOWN
    if isinstance(value, Mapping):
        return {key: from_wire(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [from_wire(each) for each in value]
    return value


def at(value: Any, *path: str) -> Any:
    """What stands at a path of keys: None where there is nothing, `UNKNOWN` where it or anything above it is not known."""
    for key in path:
        if value is UNKNOWN:
            return UNKNOWN
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def listed(value: Any) -> list[Any]:
    """A list as it is, nothing as an empty one, anything else as a list of one; of an unknown list nothing is known, so it holds that."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
