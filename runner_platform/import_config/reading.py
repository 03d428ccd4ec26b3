"""A runner's `config.toml` as a list of keys and values, read as the runner reads it: the case of a key does not matter."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_INDEX = re.compile(r"\[\d+\]")


class UnreadableConfigError(ValueError):
    """The text is no configuration of a runner; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A key with its value."""

    path: str
    """The key with its tables as the file writes it, such as `runners.machine.autoscaling[0].IdleCount`."""
    key: str
    """The same in small letters and without positions in lists: `runners.machine.autoscaling.idlecount`."""
    value: Any


@dataclass(frozen=True, kw_only=True)
class RunnerSection:
    """One `[[runners]]`."""

    position: int
    """Place in the file, from 1."""
    entries: tuple[Entry, ...]

    def value(self, key: str, default: Any = None) -> Any:
        """Return the value of a key below `runners`, such as `machine.idlecount`; of one that is written twice, the last."""
        values = [entry.value for entry in self.entries if entry.key == f"runners.{key}"]
        return values[-1] if values else default

    def text(self, key: str) -> str:
        """Return the text of a key; empty if the key is missing or holds no text."""
        value = self.value(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return the number of a key; 0 if the key is missing or holds no number."""
        return whole(self.value(key))

    @property
    def executor(self) -> str:
        """The executor; empty if the section names none."""
        return self.text("executor")


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """A whole `config.toml`."""

    entries: tuple[Entry, ...]
    """Keys outside of `[[runners]]`."""
    runners: tuple[RunnerSection, ...]

    @property
    def concurrent(self) -> int:
        """Jobs of all runners at once; the runner takes 1 if the file says nothing."""
        numbers = [whole(entry.value) for entry in self.entries if entry.key == "concurrent"]
        return max(1, *numbers) if numbers else 1


def whole(value: Any) -> int:
    """Return a whole number that is not negative; 0 for anything else."""
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def read(text: str) -> RunnerConfig:
    """Read the text of a configuration.

    Raises:
        UnreadableConfigError: it is not TOML, or has no `[[runners]]`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableConfigError(f"is not TOML: {error}; correct the line, `gitlab-runner lint` checks it") from None
    sections = [value for key, value in document.items() if key.casefold() == "runners"]
    tables = [table for section in sections for table in (section if isinstance(section, list) else [section])]
    if any(not isinstance(section, list) for section in sections) or not all(
        isinstance(table, dict) for table in tables
    ):
        raise UnreadableConfigError("has runners that are no list of tables; write [[runners]], with two brackets")
    if not tables:
        raise UnreadableConfigError(
            "has no [[runners]]: no runner is registered in it; take the file of the manager, usually /etc/gitlab-runner/config.toml"
        )
    outside = {key: value for key, value in document.items() if key.casefold() != "runners"}
    return RunnerConfig(
        entries=tuple(_entries(outside, "")),
        runners=tuple(
            RunnerSection(position=position, entries=tuple(_entries(table, "runners.")))
            for position, table in enumerate(tables, start=1)
        ),
    )


def _entries(table: Mapping[str, Any], prefix: str) -> Iterator[Entry]:
    for name, value in table.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _entries(value, f"{path}.")
        elif isinstance(value, list) and value and all(isinstance(member, dict) for member in value):
            for index, member in enumerate(value):
                yield from _entries(member, f"{path}[{index}].")
        else:
            yield Entry(path=path, key=_INDEX.sub("", path).casefold(), value=value)
