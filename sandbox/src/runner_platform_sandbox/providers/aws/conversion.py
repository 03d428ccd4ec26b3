"""Values and tags in the form of the SDK (`daysAfterInitiation`) and in the form of an API (`DaysAfterInitiation`).

Owns renaming and tags in the three forms of AWS's APIs. Leaves out every change of structure (the handlers) and default
tags, which `crud` merges first.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any


def to_api(value: Any, names: Mapping[str, str] | None = None) -> Any:
    """Return `value` with its keys starting in upper case; `names` holds the irregular ones. Nulls are left out."""
    if isinstance(value, Mapping):
        return {
            _named(key, names, key[:1].upper()): to_api(item, names) for key, item in value.items() if item is not None
        }
    if isinstance(value, list):
        return [to_api(item, names) for item in value]
    return value


def from_api(value: Any, names: Mapping[str, str] | None = None) -> Any:
    """Return `value` with its keys starting in lower case; `names` holds the irregular ones. Times become text."""
    if isinstance(value, Mapping):
        return {_named(key, names, key[:1].lower()): from_api(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [from_api(item, names) for item in value]
    return timestamp(value) if isinstance(value, datetime) else value


def timestamp(value: datetime) -> str:
    """Return a time as the real plugin writes it."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _named(key: str, names: Mapping[str, str] | None, first: str) -> str:
    return (names or {}).get(key) or first + key[1:]


def tag_list(tags: Mapping[str, str] | None, key: str = "Key", value: str = "Value") -> list[dict[str, str]] | None:
    """Return tags as a list of pairs, None if there are none (an empty list is an error for some APIs)."""
    return [{key: name, value: text} for name, text in tags.items()] if tags else None


def tag_map(tags: Iterable[Mapping[str, Any]] | None, key: str = "Key", value: str = "Value") -> dict[str, str]:
    """Return a list of pairs as a map, without the tags that AWS itself sets."""
    return {tag[key]: tag[value] for tag in tags or () if not tag[key].startswith("aws:")}


def own_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return a map of tags without those that AWS itself sets."""
    return {key: value for key, value in (tags or {}).items() if not key.startswith("aws:")}


def tag_changes(present: Mapping[str, str], wanted: Mapping[str, str] | None) -> tuple[dict[str, str], list[str]]:
    """Return the tags to put and the keys to remove, so that `wanted` is what there is."""
    goal = wanted or {}
    put = {key: value for key, value in goal.items() if present.get(key) != value}
    return put, sorted(present.keys() - goal.keys())
