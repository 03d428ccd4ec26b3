"""Values as rules read them: plain, and never read past what is not known yet.

Owns the copy of the SDK's proxies to plain values, and `Field`, a place in them. Reading a field that is not known records that, so that
a rule which then finds nothing wrong has not passed in silence: the pack reports UNDECIDED for that resource and field. Leaves out what
the values mean. The engine hands secrets over in clear text, so no function here puts a value into a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pulumi_policy.proxy import UnknownValueError

from access.resource import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ABSENT: Final = object()
"""Stands where there is nothing; different from a null that was written."""


def plain(value: Any) -> Any:
    """A copy without proxies: dict, list and scalars; whole floats as int, unknown values as `UNKNOWN`."""
    if isinstance(value, Mapping):
        return {key: _member(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_member(value, index) for index in range(len(value))]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _member(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def holds_unknown(value: Any) -> bool:
    """Whether a plain value is unknown, or something inside it is."""
    if isinstance(value, Mapping):
        return any(holds_unknown(each) for each in value.values())
    if isinstance(value, list):
        return any(holds_unknown(each) for each in value)
    return value is UNKNOWN


def decoded(value: Any) -> Any:
    """A provider's input: the SDK encodes everything but text as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


@dataclass(frozen=True, slots=True)
class Field:
    """A place in a resource's inputs, present or not."""

    value: Any
    """A plain value, `UNKNOWN` or `ABSENT`."""
    path: str
    """Where, such as `vpcConfig.publicAccessCidrs[0]`."""
    undecided: Callable[[str], None]
    """Told the path of everything that was asked for and is not known."""

    def __getitem__(self, key: str | int) -> Field:
        """The member of that name or index; absent where there is none, unknown below what is unknown."""
        path = f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}.{key}".lstrip(".")
        return Field(self._member(key), path, self.undecided)

    def _member(self, key: str | int) -> Any:
        if self.value is UNKNOWN:
            return UNKNOWN
        if isinstance(key, str):
            return self.value.get(key, ABSENT) if isinstance(self.value, Mapping) else ABSENT
        return self.value[key] if isinstance(self.value, list) and key < len(self.value) else ABSENT

    @property
    def absent(self) -> bool:
        """Whether there is nothing, or a null."""
        return self.value is ABSENT or self.value is None

    @property
    def unknown(self) -> bool:
        """Whether it is not known yet; asking records it."""
        if self.value is UNKNOWN:
            self.undecided(self.path)
        return self.value is UNKNOWN

    def get(self, default: Any = None) -> Any:
        """The whole value, `default` where it is absent; None and a record where any part is not known."""
        if self.absent:
            return default
        if holds_unknown(self.value):
            self.undecided(self.path)
            return None
        return self.value

    def text(self, default: str = "") -> str | None:
        """Text; None where it is not known. Anything else that stands there is shown as text."""
        value = self.get(default)
        return value if value is None or isinstance(value, str) else json.dumps(value, default=str)

    def flag(self, *, default: bool) -> bool | None:
        """True or false, also where it is written as text; None where it is not known or is neither."""
        value = self.get(default)
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.strip().lower(), value)
        if value is None or isinstance(value, bool):
            return value
        self.undecided(self.path)
        return None

    def number(self, default: float) -> float | None:
        """A number, also where it is written as text; None where it is not known or is none."""
        value = self.get(default)
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                self.undecided(self.path)
                return None
        return value if value is None or isinstance(value, int | float) else None

    def items(self) -> Iterator[Field]:
        """Members of a list; a lone value counts as a list of one. A list that is not known is recorded, and empty."""
        if self.absent or self.unknown:
            return
        if isinstance(self.value, list):
            yield from (self[index] for index in range(len(self.value)))
        else:
            yield self

    def entries(self) -> Iterator[tuple[str, Field]]:
        """Names and members of an object; an object that is not known is recorded, and empty."""
        if not self.absent and not self.unknown and isinstance(self.value, Mapping):
            yield from ((str(key), self[str(key)]) for key in self.value)

    def texts(self) -> list[str]:
        """Members of a list as text, without those that are not known, which are recorded."""
        return [text for each in self.items() if (text := each.text()) is not None]
