"""The annotations by which a program steers the plugin.

Owns those that are modelled: skipAwait, waitFor, patchForce, patchFieldManager, deletionPropagationPolicy, autonamed.
https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/#annotations
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from runner_platform_sandbox.providers.base import ProviderError

PREFIX: Final = "pulumi.com/"
AUTONAMED: Final = f"{PREFIX}autonamed"

_PROPAGATION: Final = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}
_JSON_PATH: Final = re.compile(r"^jsonpath=\{\.(?P<path>[\w.\-\[\]]+)\}(?:=(?P<value>.*))?$")
_CONDITION: Final = re.compile(r"^condition=(?P<type>[\w.\-/]+)(?:=(?P<status>\w+))?$")


def read(manifest: Mapping[str, Any], name: str) -> str | None:
    """Return the value of annotation `pulumi.com/<name>`, None if it is not set."""
    value = ((manifest.get("metadata") or {}).get("annotations") or {}).get(PREFIX + name)
    return None if value is None else str(value)


def is_true(manifest: Mapping[str, Any], name: str) -> bool:
    """Tell whether annotation `pulumi.com/<name>` says true."""
    return (read(manifest, name) or "").lower() == "true"


def propagation(manifest: Mapping[str, Any]) -> str:
    """Return how dependents are deleted: Foreground unless the object says otherwise, as in the real plugin.

    Raises:
        ProviderError: The annotation names no policy.
    """
    value = read(manifest, "deletionPropagationPolicy") or "foreground"
    try:
        return _PROPAGATION[value.lower()]
    except KeyError:
        raise ProviderError(
            f"annotation {PREFIX}deletionPropagationPolicy is {value!r}; use background, foreground or orphan"
        ) from None


def waits(manifest: Mapping[str, Any]) -> list[str]:
    """Return the conditions of `pulumi.com/waitFor`: one expression, or a JSON list of them.

    Raises:
        ProviderError: An expression is neither `condition=Type[=Status]` nor `jsonpath={.path}[=value]`.
    """
    text = read(manifest, "waitFor")
    if not text:
        return []
    expressions = json.loads(text) if text.startswith("[") else [text]
    for expression in expressions:
        if not (_JSON_PATH.match(expression) or _CONDITION.match(expression)):
            raise ProviderError(
                f"annotation {PREFIX}waitFor: {expression!r} is not understood; "
                "use condition=<type>[=<status>] or jsonpath={.<path>}[=<value>]"
            )
    return [str(expression) for expression in expressions]


def fulfilled(manifest: Mapping[str, Any], expression: str) -> bool:
    """Tell whether a live object fulfils one expression of `waits`."""
    condition = _CONDITION.match(expression)
    if condition:
        found = {
            item.get("type"): item.get("status") for item in (manifest.get("status") or {}).get("conditions") or []
        }
        return found.get(condition["type"]) == (condition["status"] or "True")
    path = _JSON_PATH.match(expression)
    if path is None:
        return False
    value: Any = manifest
    for part in re.findall(r"[\w\-]+", path["path"]):
        value = (
            value[int(part)]
            if isinstance(value, list) and part.isdigit() and int(part) < len(value)
            else _get(value, part)
        )
    return value is not None if path["value"] is None else str(value) == path["value"]


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
