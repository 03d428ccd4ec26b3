"""Kubernetes' strategic merge patch, as far as pod specifications need it.

Lists whose items have a merge key are merged item by item, other lists are replaced. `$patch` directives are refused: the platform
writes none, and a proof must not guess. Source:
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
}
"""`patchMergeKey` of the lists of a pod specification."""


class UnknownPatchError(ValueError):
    """The patch uses what is not understood here."""


def merged(original: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The original with the patch applied; neither is changed.

    Raises:
        UnknownPatchError: it holds a directive.
    """
    result = dict(original)
    for key, value in patch.items():
        if key.startswith("$"):
            raise UnknownPatchError(f"the patch uses {key}, which is not understood here")
        known = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(known if isinstance(known, dict) else {}, value)
        elif isinstance(value, list) and key in MERGE_KEYS:
            result[key] = _items(known or [], value, MERGE_KEYS[key])
        else:
            result[key] = value
    return result


def _items(original: Sequence[Mapping[str, Any]], patch: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    found = {item[key]: dict(item) for item in original}
    for item in patch:
        found[item[key]] = merged(found.get(item[key], {}), item)
    return list(found.values())
