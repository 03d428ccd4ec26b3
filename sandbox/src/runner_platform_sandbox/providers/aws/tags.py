"""Tags in the three forms that AWS's APIs have.

Owns translating between a program's map and the lists of the APIs, and what must change. Leaves out default tags, which
`lifecycle` merges before anything else sees them.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def as_list(tags: Mapping[str, str] | None, key: str = "Key", value: str = "Value") -> list[dict[str, str]] | None:
    """Return tags as a list of pairs, None if there are none (an empty list is an error for some APIs)."""
    return [{key: name, value: text} for name, text in tags.items()] if tags else None


def as_map(tags: Iterable[Mapping[str, Any]] | None, key: str = "Key", value: str = "Value") -> dict[str, str]:
    """Return a list of pairs as a map, without the tags that AWS itself sets."""
    return {tag[key]: tag[value] for tag in tags or () if not tag[key].startswith("aws:")}


def own(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return a map of tags without those that AWS itself sets."""
    return {key: value for key, value in (tags or {}).items() if not key.startswith("aws:")}


def changes(present: Mapping[str, str], wanted: Mapping[str, str] | None) -> tuple[dict[str, str], list[str]]:
    """Return the tags to put and the keys to remove, so that `wanted` is what there is."""
    goal = wanted or {}
    put = {key: value for key, value in goal.items() if present.get(key) != value}
    return put, sorted(present.keys() - goal.keys())
