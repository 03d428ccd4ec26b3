"""Compare a program's values with AWS's, and choose between two equal forms. Pure functions.

Documents compare regardless of white space and key order, sets regardless of order; values that AWS fills in do not
count. The rules are those of Terraform's schemas, on which the real plugin is built: a missing optional property differs
from an existing value unless AWS computes it; an empty value and no value are equal.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner_platform_sandbox.providers.validation import DEFAULTS_KEY
from runner_platform_sandbox.providers.wire import has_unknown


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How the properties of a resource type compare, by path (`vpcConfig.subnetIds`; a list adds nothing to the path)."""

    documents: frozenset[str] = frozenset()
    """Strings with JSON documents."""
    sets: frozenset[str] = frozenset()
    """Lists without an order."""
    computed: frozenset[str] = frozenset()
    """Optional values that AWS fills in."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values that are equal to a missing one."""
    equal: Mapping[str, Callable[[Any, Any], bool]] = field(default_factory=dict)
    """Comparison functions for values with several equal forms."""


def same(rules: Rules, new: Any, old: Any, path: str = "") -> bool:
    """Tell whether the requested value `new` equals the existing value `old`."""
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
    """Return the paths at which `new` differs from `old`, as deep as both sides have objects."""
    paths: list[str] = []
    for key in sorted(new.keys() | old.keys() - {DEFAULTS_KEY}):
        place = f"{path}.{key}" if path else key
        if key == DEFAULTS_KEY:
            continue
        if new.get(key) is None:
            if not _may_be_left_out(rules, old.get(key), place):
                paths.append(place)
        elif isinstance(new[key], dict) and isinstance(old.get(key), dict) and place not in rules.documents:
            paths += differences(rules, new[key], old[key], place)
        elif not same(rules, new[key], old.get(key, rules.defaults.get(place)), place):
            paths.append(place)
    return paths


def outputs_like(rules: Rules, previous: Any, current: Any, path: str = "") -> Any:
    """Return `current`, in the form of `previous` where both are equal."""
    if isinstance(previous, dict) and isinstance(current, dict):
        return {
            key: outputs_like(rules, previous.get(key), value, f"{path}.{key}" if path else key)
            for key, value in current.items()
        }
    return previous if previous is not None and same(rules, previous, current, path) else current


def inputs_like(
    rules: Rules, previous: Mapping[str, Any], current: Mapping[str, Any], path: str = ""
) -> dict[str, Any]:
    """Return the inputs that create `current`, in the form of `previous` and without optional values."""
    inputs: dict[str, Any] = {}
    for key in [*previous, *(key for key in current if key not in previous)]:
        place = f"{path}.{key}" if path else key
        input_value, value = previous.get(key), current.get(key)
        if key == DEFAULTS_KEY:
            inputs[key] = input_value
        elif key not in previous:
            if not _may_be_left_out(rules, value, place):
                inputs[key] = _without_computed(rules, value, place)
        elif isinstance(input_value, dict) and isinstance(value, dict):
            inputs[key] = inputs_like(rules, input_value, value, place)
        elif same(rules, input_value, current.get(key, rules.defaults.get(place)), place):
            inputs[key] = input_value
        elif not is_empty(value):
            inputs[key] = value
    return inputs


def canonical(document: str) -> Any:
    """Return a JSON document in a form that is equal for equal policies, or the text itself if it is not JSON.

    As in IAM's grammar, a list of one equals its element, and strings in a list have no order.
    """
    try:
        return _canonical(json.loads(document))
    except ValueError:
        return document


def same_last_part(new: Any, old: Any) -> bool:
    """Tell whether two ARNs or ids name the same resource."""
    return str(new).rpartition("/")[2] == str(old).rpartition("/")[2]


def is_empty(value: Any) -> bool:
    """Tell whether Terraform's schemas treat `value` like a missing value."""
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
    unmatched = list(old)
    for item in new:
        match = _index(rules, item, unmatched, path)
        if match is None:
            return False
        del unmatched[match]
    return True


def _index(rules: Rules, item: Any, candidates: Iterable[Any], path: str) -> int | None:
    return next((index for index, candidate in enumerate(candidates) if same(rules, item, candidate, path)), None)
