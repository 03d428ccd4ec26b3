"""Runner configurations with every key that GitLab Runner reads, made from the runner's own structure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import tomli_w

from config import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS: dict[str, Any] = json.loads((load.ROOT / "tests" / "data" / "runner-config-keys.json").read_text())["config"]
"""Keys of `config.toml` with the types of the runner's structure."""
EMBEDDED = {"host": {"type": "string"}, "tls_cert_path": {"type": "string"}, "tls_verify": {"type": "bool"}}
"""Keys of `[runners.docker]` from an embedded structure, which the list does not follow."""
KEYS["runners"]["keys"]["docker"]["keys"] |= EMBEDDED
EXECUTORS = (
    *(
        "docker",
        "docker+machine",
        "docker-autoscaler",
        "kubernetes",
        "shell",
        "custom",
        "instance",
        "ssh",
        "virtualbox",
    ),
    *("parallels", "docker-windows", "docker-ssh"),
)


def all_keys(table: dict[str, Any] = KEYS, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every key that holds a value, as `runners.docker.image`, with its type."""
    for name, entry in table.items():
        if entry.get("keys"):
            yield from all_keys(entry["keys"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry["type"]


def whole_file(executor: str, text_of: Callable[[str], str]) -> str:
    """Return a configuration with one runner in which every key is set.

    Args:
        executor: the runner's executor.
        text_of: the text of a key that holds one.
    """
    document = _table(KEYS, "", text_of)
    document["runners"][0]["executor"] = executor
    return tomli_w.dumps(document)


def _table(table: dict[str, Any], prefix: str, text_of: Callable[[str], str]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, entry in table.items():
        key = f"{prefix}{name}"
        if entry.get("keys"):
            members = _table(entry["keys"], f"{key}.", text_of)
            document[name] = [members] if entry["type"].startswith("[]") else members
        else:
            document[name] = _value(entry["type"], text_of(key))
    return document


def _value(kind: str, text: str) -> Any:
    bare = kind.lstrip("*")
    if bare == "bool":
        return True
    if bare in ("int", "int32", "int64", "float64"):
        return 7
    if bare.startswith("map") or bare in ("Labels", "AutoscalerSettingsMap"):
        return {"entry": text}
    return [text, f"{text}=1"] if bare.startswith("[]") else text
