"""The runner's configuration text, read as GitLab Runner reads it: the case of a key does not matter.

The runner's reader (github.com/BurntSushi/toml) takes the field with exactly the key's spelling, else the one that differs in case only,
by Unicode's simple folding. If a text has two spellings of one key, the runner takes either of them, in the random order of a Go map; two
spellings of a table are merged. Keys of a Go map, such as labels and feature flags, keep their case.
`tests/data/runner-toml-spellings.json` holds what that reader answered.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import Any

MAPS = frozenset({"feature_flags", "node_selector", "node_tolerations", "pod_labels", "pod_annotations"})
"""Tables with free keys, whose case matters."""
CACHE = "cache"
CAPITALS = ("Type", "Path", "Shared", "BucketName", "BucketLocation", "AuthenticationType", "ServerAddress")
"""Keys below `cache` that the runner spells with capitals; all others are in lower case."""
_CAPITALS = {key.casefold(): key for key in CAPITALS}


@dataclass
class RunnerToml:
    """A configuration with every key in the runner's own spelling."""

    document: dict[str, Any] = field(default_factory=dict)
    respelled: list[str] = field(default_factory=list)
    """Keys, as `runners[0].kubernetes.Privileged`, that are in another spelling than the runner's; the runner reads them all the same."""
    twice: list[str] = field(default_factory=list)
    """Keys in another spelling beside the same key: the runner takes either value. In `document` the other spelling wins."""

    @property
    def runners(self) -> Any:
        """The list of `[[runners]]`; None if there is none."""
        return self.document.get("runners")


def read(text: str) -> RunnerToml:
    """Read a configuration text.

    Raises:
        tomllib.TOMLDecodeError: the text is not TOML.
    """
    result = RunnerToml()
    result.document = _folded(tomllib.loads(text), "", result)
    return result


def _folded(table: dict[str, Any], path: str, result: RunnerToml) -> dict[str, Any]:
    names = {key: _runners_spelling(key, path) for key in table}
    folded: dict[str, Any] = {}
    # The runner's own spellings come first, so that another spelling is what the reader sees.
    for key in sorted(table, key=lambda key: names[key] != key):
        name, place = names[key], f"{path}.{key}".lstrip(".")
        value = table[key] if name in MAPS else _value(table[key], place, result)
        if name != key:
            (result.twice if name in folded else result.respelled).append(place)
        folded[name] = _merged(folded[name], value) if name in folded else value
    return folded


def _runners_spelling(key: str, path: str) -> str:
    folded = key.casefold()
    return _CAPITALS.get(folded, folded) if CACHE in path.casefold().split(".") else folded


def _value(value: Any, path: str, result: RunnerToml) -> Any:
    if isinstance(value, dict):
        return _folded(value, path, result)
    if isinstance(value, list):
        return [_value(member, f"{path}[{index}]", result) for index, member in enumerate(value)]
    return value


def _merged(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        return {
            **first,
            **{key: _merged(first[key], value) if key in first else value for key, value in second.items()},
        }
    return [*first, *second] if isinstance(first, list) and isinstance(second, list) else second
