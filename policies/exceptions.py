"""Exceptions from rules: one file, an entry for each resource that a rule is wrong about, with a reason and an end.

`exceptions.yaml` is a list of {rule, resource, reason, expires}; the resource is a URN, as findings show it. An expired entry covers
nothing, and an entry that covers nothing is itself a finding (rule H04), so the file stays short.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import yaml

from config.errors import Problem, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = ("rule", "resource", "reason", "expires")
SHORTEST_REASON = 20
"""In characters; one word is not a reason."""


@dataclass(frozen=True)
class Entry:
    """One exception."""

    rule: str
    resource: str
    reason: str
    expires: date

    def expired(self, today: date) -> bool:
        """Whether the entry's last day is over."""
        return today > self.expires

    def belongs_to(self, stack: str, project: str) -> bool:
        """Whether the entry's resource is in a stack."""
        return self.resource.startswith(f"urn:pulumi:{stack}::{project}::")


@dataclass
class Exceptions:
    """The file's entries, and which of them were needed in this run."""

    entries: list[Entry] = field(default_factory=list)
    today: date = field(default_factory=lambda: datetime.now(UTC).date())
    used: set[Entry] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Exceptions:
        """Read the entries of a file; a missing file has none.

        Raises:
            SettingsError: the file is not a list of complete entries; lists every problem.
        """
        try:
            document = yaml.safe_load(path.read_text()) if path.exists() else []
        except yaml.YAMLError as error:
            raise SettingsError(path.name, [Problem(path="file", message=f"is not YAML: {error}")]) from None
        if not isinstance(document, list):
            message = f"is not a list; write [] or entries of {', '.join(KEYS)}"
            raise SettingsError(path.name, [Problem(path="file", message=message)])
        problems = [problem for index, entry in enumerate(document) for problem in _problems(f"[{index}]", entry)]
        if problems:
            raise SettingsError(path.name, problems)
        return cls([Entry(**entry) for entry in document])

    def cover(self, rule: str, urn: str) -> bool:
        """Whether an entry that has not expired covers a violation; marks the entry as used."""
        matching = [
            entry
            for entry in self.entries
            if (entry.rule, entry.resource) == (rule, urn) and not entry.expired(self.today)
        ]
        self.used.update(matching)
        return bool(matching)

    def complaints(self, stack: str, project: str) -> Iterator[tuple[str, str]]:
        """Yield URN and message for each entry of a stack that has expired or is not needed."""
        for entry in self.entries:
            if not entry.belongs_to(stack, project):
                continue
            if entry.expired(self.today):
                message = (
                    f"the exception for {entry.rule} expired on {entry.expires}: fix the resource, or decide again"
                )
                yield entry.resource, message
            elif entry not in self.used:
                yield entry.resource, f"the exception for {entry.rule} covers nothing any more: remove it"
        self.used = set()


def _problems(path: str, entry: Any) -> Iterator[Problem]:
    if not isinstance(entry, dict) or set(entry) != set(KEYS):
        yield Problem(path=path, message=f"is not an entry; write {{{', '.join(KEYS)}}}")
        return
    for key in ("rule", "resource", "reason"):
        if not isinstance(entry[key], str):
            yield Problem(path=f"{path}.{key}", message=f"is {entry[key]!r}, not text; write it in quotes")
    expires, resource, reason = entry["expires"], entry["resource"], entry["reason"]
    if type(expires) is not date:
        message = f"is {str(expires)!r}, not a date; write it as 2026-11-21, without quotes"
        yield Problem(path=f"{path}.expires", message=message)
    if isinstance(resource, str) and not resource.startswith("urn:pulumi:"):
        yield Problem(path=f"{path}.resource", message=f"is {resource!r}, not a URN; copy the URN from the finding")
    if isinstance(reason, str) and len(reason.strip()) < SHORTEST_REASON:
        message = f"is shorter than {SHORTEST_REASON} characters; say why the rule is wrong here"
        yield Problem(path=f"{path}.reason", message=message)
