"""Check values against the property types that an SDK declares.

Owns the type language of the SDKs and the errors for a person. Leaves out where the types come from (`schema`) and
rules beyond types.
"""

import difflib
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from runner_platform_sandbox.providers.wire import UNKNOWN, Secret

DEFAULTS_KEY: Final = "__defaults"
"""Key in the checked inputs under which Pulumi's bridged plugins list the inputs that they filled in."""


class Kind(enum.Enum):
    """The types of a value."""

    STRING = "a string"
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    LIST = "a list"
    MAP = "a map"
    OBJECT = "an object"
    UNION = "one of several"
    ANY = "anything"
    NEVER = "nothing"


@dataclass(frozen=True, kw_only=True)
class PropertyType:
    """The type of a value."""

    kind: Kind
    of: "tuple[PropertyType, ...]" = ()
    """The element type of a list or map; the members of a union."""
    fields: "Callable[[], Mapping[str, Property]] | None" = None
    """Returns the properties of an object; called late, because types can contain themselves."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """One property of a resource or of a nested object, by its wire name."""

    name: str
    type: PropertyType
    required: bool


@dataclass(frozen=True)
class Failure:
    """A problem with one property."""

    path: str
    """Such as `rules[0].expiration.days`."""
    reason: str
    """A sentence with the problem and the remedy."""


def validate(
    properties: Mapping[str, Property], values: Mapping[str, Any], where: str = ""
) -> tuple[dict[str, Any], list[Failure]]:
    """Check `values` against `properties`.

    Strings, numbers and booleans are converted into each other where possible, as in the real plugins ("3" for 3).

    Args:
        properties: The declared properties by wire name.
        values: Values of the program; may hold `UNKNOWN`. Null counts as absent.
        where: Path of `values` within the resource, for messages.

    Returns:
        The values with converted types and without nulls, and the failures.
    """
    mended: dict[str, Any] = {}
    failures: list[Failure] = []
    for name, value in values.items():
        path = f"{where}.{name}" if where else name
        if name == DEFAULTS_KEY:
            mended[name] = value
        elif name not in properties:
            failures.append(Failure(path, _unknown(name, properties)))
        elif value is not None:
            mended[name], value_failures = _value(properties[name].type, value, path)
            failures += value_failures
    for name, declared in properties.items():
        if declared.required and values.get(name) is None:
            path = f"{where}.{name}" if where else name
            failures.append(Failure(path, "is required"))
    return mended, failures


def _unknown(name: str, properties: Mapping[str, Property]) -> str:
    close = difflib.get_close_matches(name, properties, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the properties are {', '.join(sorted(properties))}"
    return f"is not a property of this type; {hint}"


def _value(declared: PropertyType, value: Any, path: str) -> tuple[Any, list[Failure]]:
    if value is UNKNOWN or declared.kind is Kind.ANY or value is None:
        return value, []
    if isinstance(value, Secret):
        inner, failures = _value(declared, value.value, path)
        return Secret(inner), failures
    if isinstance(value, dict | list) or declared.kind is Kind.UNION:
        return _compound(declared, value, path)
    return _primitive(declared.kind, value, path)


def _compound(declared: PropertyType, value: Any, path: str) -> tuple[Any, list[Failure]]:
    if declared.kind is Kind.UNION:
        return _union(declared, value, path)
    if declared.kind is Kind.LIST and isinstance(value, list):
        return _values([(f"{path}[{index}]", item) for index, item in enumerate(value)], declared.of[0])
    if declared.kind is Kind.MAP and isinstance(value, dict):
        items, failures = _values([(f"{path}.{key}", item) for key, item in value.items()], declared.of[0])
        return dict(zip(value, items, strict=True)), failures
    if declared.kind is Kind.OBJECT and isinstance(value, dict) and declared.fields is not None:
        return validate(declared.fields(), value, path)
    return _primitive(declared.kind, value, path)


def _values(items: list[tuple[str, Any]], declared: PropertyType) -> tuple[list[Any], list[Failure]]:
    pairs = [_value(declared, item, path) for path, item in items]
    return [value for value, _ in pairs], [failure for _, failures in pairs for failure in failures]


def _union(declared: PropertyType, value: Any, path: str) -> tuple[Any, list[Failure]]:
    """Return the first member that accepts the value unchanged, or else the first that accepts it converted."""
    results = [_value(member, value, path) for member in declared.of]
    fitting = [(mended, failures) for mended, failures in results if not failures]
    same = [(mended, failures) for mended, failures in fitting if mended == value and type(mended) is type(value)]
    if isinstance(value, dict):  # no member fits: report the failures inside the object, not that it is no string
        objects = [result for member, result in zip(declared.of, results, strict=True) if member.kind is Kind.OBJECT]
        return (same or fitting or objects or results)[0]
    return (same or fitting or results)[0]


def _primitive(kind: Kind, value: Any, path: str) -> tuple[Any, list[Failure]]:
    mended: Any = None
    if kind is Kind.STRING and isinstance(value, str):
        mended = value
    elif kind is Kind.STRING and isinstance(value, bool):
        mended = str(value).lower()
    elif kind is Kind.STRING and isinstance(value, int | float):
        mended = str(value)
    elif kind is Kind.BOOLEAN and (isinstance(value, bool) or value in {"true", "false"}):
        mended = value is True or value == "true"
    elif kind in {Kind.INTEGER, Kind.NUMBER} and not isinstance(value, bool):
        mended = _number(kind, value)
    if mended is None:
        return value, [Failure(path, f"must be {kind.value}, got {_describe(value)}")]
    return mended, []


def _number(kind: Kind, value: Any) -> int | float | None:
    """Return `value` as a number of `kind`, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if number.is_integer():
        return int(number)
    return number if kind is Kind.NUMBER else None


def _describe(value: Any) -> str:
    """Describe a refused value by its type; the value may be long or confidential."""
    names = {dict: "a map", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
