"""Nested values in the form of the SDK (`daysAfterInitiation`) and in the form of an API (`DaysAfterInitiation`).

Owns the two renamings. Leaves out every change of structure, which is the handlers' business.
"""

from collections.abc import Mapping
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
