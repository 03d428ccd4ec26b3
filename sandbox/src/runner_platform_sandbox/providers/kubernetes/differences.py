"""Compare objects: the differences between two objects, and the program's part of a live object.

Pure functions over plain values, without a cluster.
"""

import copy
from typing import Any, Final

from runner_platform_sandbox.providers.wire import UNKNOWN

Manifest = dict[str, Any]

# Written by the API server; a difference in them is no change.
_SERVER_FIELDS: Final = (
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)


def changed(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the dotted paths at which two values differ; `UNKNOWN` differs from everything.

    Lists are compared by position. An absent key, a null and an empty map or list are equal, as for the API server.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        paths = []
        for key in sorted(old.keys() | new.keys()):
            paths += changed(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return paths
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [item for at, pair in enumerate(zip(old, new, strict=True)) for item in changed(*pair, f"{path}[{at}]")]
    if old is UNKNOWN or new is UNKNOWN:
        return [path]
    same = old == new or (_empty(old) and _empty(new))
    return [] if same else [path]


def _empty(value: Any) -> bool:
    return value is None or value in ({}, [])


def without_server_fields(manifest: Manifest) -> Manifest:
    """Return a live object without status and the metadata that only the server writes."""
    result = {key: copy.deepcopy(value) for key, value in manifest.items() if key != "status"}
    result["metadata"] = {
        key: value for key, value in (result.get("metadata") or {}).items() if key not in _SERVER_FIELDS
    }
    return result


def without_field_owners(manifest: Manifest) -> Manifest:
    """Return a live object without field ownership, for outputs."""
    result = copy.deepcopy(manifest)
    result.get("metadata", {}).pop("managedFields", None)
    return result


def adopt_live(inputs: Any, live: Any) -> Any:
    """Return `inputs` with live values; values that the program did not set are left out.

    A key that is missing in the live object is missing in the result, so that a refresh shows drift. Maps are compared
    by key, lists of named items by name, other lists as a whole.
    """
    if isinstance(inputs, dict) and isinstance(live, dict):
        return {key: adopt_live(value, live.get(key)) for key, value in inputs.items() if key in live or _empty(value)}
    if isinstance(inputs, list) and isinstance(live, list):
        return _adopt_list(inputs, live)
    if _empty(inputs) and live is None:
        return inputs
    return live


def _adopt_list(inputs: list[Any], live: list[Any]) -> list[Any]:
    named = all(isinstance(item, dict) and "name" in item for item in [*inputs, *live])
    if named:
        by_name = {item["name"]: item for item in inputs}
        return [adopt_live(by_name[item["name"]], item) if item["name"] in by_name else item for item in live]
    if len(inputs) == len(live):
        return [adopt_live(*pair) for pair in zip(inputs, live, strict=True)]
    return list(live)


def without_nulls(value: Any) -> Any:
    """Return `value` without null members of maps; an apply would own their fields."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def renamed(value: Any, old: str, new: str) -> Any:
    """Return `value` with keys that begin with `old` written like `new`: with dashes or underscores."""
    if isinstance(value, dict):
        return {_restyled(key, old, new): renamed(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, old, new) for item in value]
    return value


def _restyled(key: str, old: str, new: str) -> str:
    return key.replace(old[1], new[1]) if key.startswith(old) else key
