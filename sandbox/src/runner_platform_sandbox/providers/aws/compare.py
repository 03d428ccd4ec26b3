"""When two values mean the same to AWS, and which of two equal forms to keep.

Owns comparison of what a program wants with what AWS has: documents regardless of white space and key order, sets
regardless of order, values that AWS fills in. Leaves out where values come from. Pure functions.

The rules are those of Terraform's schemas, which the real plugin is built from: an optional property that was not given
differs from an existing value unless AWS computes it; an empty value and no value are the same.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner_platform_sandbox.providers.validation import DEFAULTS_KEY
from runner_platform_sandbox.providers.wire import has_unknown


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a resource type says about its properties, by path (`vpcConfig.subnetIds`; lists add nothing to a path)."""

    documents: frozenset[str] = frozenset()
    """JSON documents in strings."""
    sets: frozenset[str] = frozenset()
    """Lists whose order means nothing."""
    computed: frozenset[str] = frozenset()
    """Values that AWS fills in when they are not given."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values that stand for "not given"."""
    equal: Mapping[str, Callable[[Any, Any], bool]] = field(default_factory=dict)
    """Comparisons of values that have several forms for one meaning."""


def same(rules: Rules, new: Any, old: Any, path: str = "") -> bool:
    """Tell whether what is wanted (`new`) is what there is (`old`)."""
    if has_unknown(new):
        return False
    if path in rules.equal and new is not None and old is not None:
        return rules.equal[path](new, old)
    if path in rules.documents and isinstance(new, str) and isinstance(old, str):
        return bool(canonical(new) == canonical(old))
    if isinstance(new, dict) and isinstance(old, dict):
        return not differences(rules, new, old, path)
    if isinstance(new, list) and isinstance(old, list):
        return _same_lists(rules, new, old, path)
    return bool(new == old) or (is_empty(new) and is_empty(old))


def differences(rules: Rules, new: Mapping[str, Any], old: Mapping[str, Any], path: str = "") -> list[str]:
    """Return the paths, as deep as both sides have objects, at which `new` is not what `old` is."""
    found: list[str] = []
    for key in sorted(new.keys() | old.keys() - {DEFAULTS_KEY}):
        place = f"{path}.{key}" if path else key
        if key == DEFAULTS_KEY:
            continue
        if new.get(key) is None:
            if not _may_be_left_out(rules, old.get(key), place):
                found.append(place)
        elif isinstance(new[key], dict) and isinstance(old.get(key), dict) and place not in rules.documents:
            found += differences(rules, new[key], old[key], place)
        elif not same(rules, new[key], old.get(key, rules.defaults.get(place)), place):
            found.append(place)
    return found


def outputs_like(rules: Rules, given: Any, found: Any, path: str = "") -> Any:
    """Return `found`, in the form of `given` where both mean the same."""
    if isinstance(given, dict) and isinstance(found, dict):
        return {
            key: outputs_like(rules, given.get(key), value, f"{path}.{key}" if path else key)
            for key, value in found.items()
        }
    return given if given is not None and same(rules, given, found, path) else found


def inputs_like(rules: Rules, given: Mapping[str, Any], found: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return the inputs that would make `found`, in the form of `given`, without what nobody has to give."""
    inputs: dict[str, Any] = {}
    for key in [*given, *(key for key in found if key not in given)]:
        place = f"{path}.{key}" if path else key
        wanted, value = given.get(key), found.get(key)
        if key == DEFAULTS_KEY:
            inputs[key] = wanted
        elif key not in given:
            if not _may_be_left_out(rules, value, place):
                inputs[key] = _without_computed(rules, value, place)
        elif isinstance(wanted, dict) and isinstance(value, dict):
            inputs[key] = inputs_like(rules, wanted, value, place)
        elif same(rules, wanted, found.get(key, rules.defaults.get(place)), place):
            inputs[key] = wanted
        elif not is_empty(value):
            inputs[key] = value
    return inputs


def canonical(document: str) -> Any:
    """Return a JSON document in a form in which equal policies are equal; the text itself if it is no JSON.

    A list of one is its element, and the order of strings in a list means nothing, as in IAM's grammar.
    """
    try:
        return _canonical(json.loads(document))
    except ValueError:
        return document


def same_last_part(new: Any, old: Any) -> bool:
    """Tell whether an ARN and an id, or two of either, name the same thing."""
    return str(new).rpartition("/")[2] == str(old).rpartition("/")[2]


def is_empty(value: Any) -> bool:
    """Tell whether `value` is what Terraform's schemas treat like no value."""
    return value is None or value is False or value in ("", 0) or value in ({}, [])


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_canonical(item) for item in value]
        if len(items) == 1:
            return items[0]
        return sorted(items) if all(isinstance(item, str) for item in items) else items
    return value


def _may_be_left_out(rules: Rules, value: Any, path: str) -> bool:
    return is_empty(value) or path in rules.computed or (path in rules.defaults and rules.defaults[path] == value)


def _without_computed(rules: Rules, value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return inputs_like(rules, {}, value, path)
    if isinstance(value, list):
        return [_without_computed(rules, item, path) for item in value]
    return value


def _same_lists(rules: Rules, new: list[Any], old: list[Any], path: str) -> bool:
    if len(new) != len(old):
        return False
    if path not in rules.sets:
        return all(same(rules, *pair, path) for pair in zip(new, old, strict=True))
    rest = list(old)
    for item in new:
        match = _index(rules, item, rest, path)
        if match is None:
            return False
        del rest[match]
    return True


def _index(rules: Rules, item: Any, candidates: Iterable[Any], path: str) -> int | None:
    return next((index for index, other in enumerate(candidates) if same(rules, item, other, path)), None)
