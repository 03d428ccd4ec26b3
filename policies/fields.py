"""Fields of a resource's inputs, as rules read them, and values that are not known yet.

Reading an unknown field records its path, so that a rule cannot pass in silence: the pack reports UNDECIDED for that resource and field.
The engine hands over secrets in clear text, so no function here puts a value into a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from access.resource import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ABSENT: Final = object()
"""Value of a field that the resource does not have; a null that was written is None."""


def contains_unknown(value: Any) -> bool:
    """Whether a value is unknown, or contains an unknown value."""
    if isinstance(value, Mapping):
        return any(contains_unknown(member) for member in value.values())
    if isinstance(value, list):
        return any(contains_unknown(member) for member in value)
    return value is UNKNOWN


def decode_json(value: Any) -> Any:
    """Decode an input of a provider: the SDK encodes everything but text as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a resource's inputs, present or absent."""

    value: Any
    """A plain value, `UNKNOWN` or `ABSENT`."""
    path: str
    """Such as `vpcConfig.publicAccessCidrs[0]`."""
    record_unknown: Callable[[str], None]
    """Called with the path of every unknown field that a rule reads."""

    def __getitem__(self, key: str | int) -> Field:
        """Return the member with a name or index: absent if it does not exist, unknown below an unknown value."""
        path = f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}.{key}".lstrip(".")
        return Field(self._member(key), path, self.record_unknown)

    def _member(self, key: str | int) -> Any:
        if self.value is UNKNOWN:
            return UNKNOWN
        if isinstance(key, str):
            return self.value.get(key, ABSENT) if isinstance(self.value, Mapping) else ABSENT
        return self.value[key] if isinstance(self.value, list) and key < len(self.value) else ABSENT

    def undecide(self) -> None:
        """Record that the rule cannot decide because of this field."""
        self.record_unknown(self.path)

    @property
    def absent(self) -> bool:
        """Whether the field does not exist or is null."""
        return self.value is ABSENT or self.value is None

    @property
    def unknown(self) -> bool:
        """Whether the value is not known yet; reading this property records it."""
        if self.value is UNKNOWN:
            self.undecide()
        return self.value is UNKNOWN

    def get(self, default: Any = None) -> Any:
        """Return the whole value, or `default` if it is absent; if any part is unknown, record it and return None."""
        if self.absent:
            return default
        if contains_unknown(self.value):
            self.undecide()
            return None
        return self.value

    def text(self, default: str = "") -> str | None:
        """Return the value as text (JSON if it is another type), or None if it is unknown."""
        value = self.get(default)
        return value if value is None or isinstance(value, str) else json.dumps(value, default=str)

    def flag(self, *, default: bool) -> bool | None:
        """Return a boolean, also from text; record any other value and return None."""
        value = self.get(default)
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.strip().lower(), value)
        if value is None or isinstance(value, bool):
            return value
        self.undecide()
        return None

    def number(self, default: float) -> float | None:
        """Return a number, also from text; record any other text or an unknown value and return None."""
        value = self.get(default)
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                self.undecide()
                return None
        return value if value is None or isinstance(value, int | float) else None

    def items(self) -> Iterator[Field]:
        """Yield the members of a list; a single value counts as a list of one. An unknown list is recorded and empty."""
        if self.absent or self.unknown:
            return
        if isinstance(self.value, list):
            yield from (self[index] for index in range(len(self.value)))
        else:
            yield self

    def entries(self) -> Iterator[tuple[str, Field]]:
        """Yield names and members of an object. An unknown object is recorded and empty."""
        if not self.absent and not self.unknown and isinstance(self.value, Mapping):
            yield from ((str(key), self[str(key)]) for key in self.value)

    def texts(self) -> list[str]:
        """Return the members of a list as text, without unknown members, which are recorded."""
        return [text for member in self.items() if (text := member.text()) is not None]
