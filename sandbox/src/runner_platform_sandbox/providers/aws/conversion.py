"""Values and tags in the form of the SDK (`daysAfterInitiation`) and in the form of an API (`DaysAfterInitiation`).

Owns renaming and tags in the three forms of AWS's APIs. Leaves out every change of structure (the handlers) and default
tags, which `crud` merges first.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any


def to_api(value: Any, names: Mapping[str, str] | None = None) -> Any:
    """Return `value` with its keys starting in upper case; `names` holds irregular ones. Nulls are left out."""
    if isinstance(value, Mapping):
        return {
            _renamed(key, names, key[:1].upper()): to_api(item, names)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [to_api(item, names) for item in value]
    return value


def from_api(value: Any, names: Mapping[str, str] | None = None) -> Any:
    """Return `value` with its keys starting in lower case; `names` holds irregular ones. Times become text."""
    if isinstance(value, Mapping):
        return {_renamed(key, names, key[:1].lower()): from_api(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [from_api(item, names) for item in value]
    return timestamp(value) if isinstance(value, datetime) else value


def timestamp(value: datetime) -> str:
    """Return a time in the real plugin's format."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _renamed(key: str, names: Mapping[str, str] | None, first: str) -> str:
    return (names or {}).get(key) or first + key[1:]


def tag_list(tags: Mapping[str, str] | None, key: str = "Key", value: str = "Value") -> list[dict[str, str]] | None:
    """Return tags as a list of pairs, or None without tags (some APIs refuse an empty list)."""
    return [{key: name, value: text} for name, text in tags.items()] if tags else None


def tag_map(tags: Iterable[Mapping[str, Any]] | None, key: str = "Key", value: str = "Value") -> dict[str, str]:
    """Return a list of pairs as a map, without AWS's own tags (`aws:`)."""
    return {tag[key]: tag[value] for tag in tags or () if not tag[key].startswith("aws:")}


def own_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return a map of tags without AWS's own tags (`aws:`)."""
    return {key: value for key, value in (tags or {}).items() if not key.startswith("aws:")}


def tag_changes(present: Mapping[str, str], requested: Mapping[str, str] | None) -> tuple[dict[str, str], list[str]]:
    """Return the tags to set and the keys to remove to get from `present` to `requested`."""
    target = requested or {}
    put = {key: value for key, value in target.items() if present.get(key) != value}
    return put, sorted(present.keys() - target.keys())
