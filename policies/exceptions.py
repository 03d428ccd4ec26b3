"""Exceptions: what a rule may be wrong about, said in one file, with a reason and an end.

`exceptions.yaml` is a list of {rule, resource, reason, expires}; the resource is a URN, as findings show it. An entry that has expired
covers nothing any more, and one that covers nothing is itself a finding (rule H04), so the file cannot rot.
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
"""Characters; a word is no reason."""


@dataclass(frozen=True)
class Entry:
    """One entry."""

    rule: str
    resource: str
    reason: str
    expires: date

    def expired(self, today: date) -> bool:
        """Whether its last day is over."""
        return today > self.expires

    def concerns(self, stack: str, project: str) -> bool:
        """Whether its resource is one of this stack."""
        return self.resource.startswith(f"urn:pulumi:{stack}::{project}::")


@dataclass
class Exceptions:
    """The file's entries, and which of them were needed."""

    entries: list[Entry] = field(default_factory=list)
    today: date = field(default_factory=lambda: datetime.now(UTC).date())
    used: set[Entry] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Exceptions:
        """Entries of a file.

        Raises:
            SettingsError: it is not a list of whole entries, with everything that is wrong with it.
        """
        try:
            document = yaml.safe_load(path.read_text()) if path.exists() else []
        except yaml.YAMLError as error:
            raise SettingsError(path.name, [Problem(path="file", message=f"is not YAML: {error}")]) from None
        if not isinstance(document, list):
            raise SettingsError(
                path.name, [Problem(path="file", message=f"is not a list; write [] or entries of {', '.join(KEYS)}")]
            )
        problems = [problem for index, each in enumerate(document) for problem in _problems(f"[{index}]", each)]
        if problems:
            raise SettingsError(path.name, problems)
        return cls([Entry(**each) for each in document])

    def cover(self, rule: str, urn: str) -> bool:
        """Whether an entry that has not expired covers a violation; that entry is used from now on."""
        found = [e for e in self.entries if (e.rule, e.resource) == (rule, urn) and not e.expired(self.today)]
        self.used.update(found)
        return bool(found)

    def complaints(self, stack: str, project: str) -> Iterator[tuple[str, str]]:
        """URN and sentence for each entry of a stack that has expired or that nothing needs."""
        for each in self.entries:
            if not each.concerns(stack, project):
                continue
            if each.expired(self.today):
                yield (
                    each.resource,
                    f"the exception for {each.rule} expired on {each.expires}: mend the resource, or decide anew",
                )
            elif each not in self.used:
                yield each.resource, f"the exception for {each.rule} covers nothing any more: remove it"
        self.used = set()


def _problems(path: str, entry: Any) -> Iterator[Problem]:
    if not isinstance(entry, dict) or set(entry) != set(KEYS):
        yield Problem(path=path, message=f"is not an entry; write {{{', '.join(KEYS)}}}")
        return
    for key in ("rule", "resource", "reason"):
        if not isinstance(entry[key], str):
            yield Problem(path=f"{path}.{key}", message="is not text; write it in quotes")
    if type(entry["expires"]) is not date:
        yield Problem(path=f"{path}.expires", message="is not a date; write it as 2026-11-21, without quotes")
    if isinstance(entry["resource"], str) and not entry["resource"].startswith("urn:pulumi:"):
        yield Problem(path=f"{path}.resource", message="is not a URN; copy it from the finding")
    if isinstance(entry["reason"], str) and len(entry["reason"].strip()) < SHORTEST_REASON:
        yield Problem(
            path=f"{path}.reason",
            message=f"is shorter than {SHORTEST_REASON} characters; say why the rule is wrong here",
        )
