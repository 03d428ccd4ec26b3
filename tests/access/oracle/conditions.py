"""Condition operators, condition keys of a request, and policy variables.

Sources, all below https://docs.aws.amazon.com/IAM/latest/UserGuide/: reference_policies_elements_condition_operators.html,
reference_policies_condition-single-vs-multi-valued-context-keys.html, reference_policies_variables.html.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.access.oracle.readings import Readings

Values = str | list[str]
_VARIABLE = re.compile(r"\$\{(?:(?P<literal>[*?$])|(?P<key>[^{},']+?)(?:\s*,\s*'(?P<default>[^']*)')?)\}")


@dataclass(frozen=True, kw_only=True)
class Doubtful:
    """Value of a condition key that depends on the reading of a statement."""

    statement: str
    if_true: Values | None
    if_false: Values | None


@dataclass(frozen=True)
class Context:
    """Condition keys of a request. Names of keys are not case-sensitive."""

    keys: dict[str, Values | Doubtful | None]
    readings: Readings = field(compare=False)

    def get(self, key: str) -> Values | None:
        """Return the key's value, or None if the request does not have the key."""
        value = self.keys.get(key.lower())
        if isinstance(value, Doubtful):
            return value.if_true if self.readings(value.statement) else value.if_false
        return value


@cache
def _pattern(text: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(letter, re.escape(letter)) for letter in text), re.DOTALL)


@cache
def like(value: str, pattern: str) -> bool:
    """Whether a text matches a pattern with `*` and `?`."""
    return pattern == "*" or _pattern(pattern).fullmatch(value) is not None


def resolved(text: str, context: Context) -> tuple[str, re.Pattern[str]] | None:
    """Return a text with its variables replaced: as literal text, and as a pattern whose values are literal.

    None stands for a variable without a value and without a default: such a text equals nothing, and is like nothing.
    """
    literal, pattern, position = "", "", 0
    for match in _VARIABLE.finditer(text):
        before = text[position : match.start()]
        value = match["literal"] or context.get(match["key"]) or match["default"]
        if not isinstance(value, str):
            return None
        literal += before + value
        pattern += _pattern(before).pattern + re.escape(value)
        position = match.end()
    remainder = text[position:]
    return literal + remainder, re.compile(pattern + _pattern(remainder).pattern, re.DOTALL)


def matches_text(value: str, text: str, context: Context, *, variables: bool) -> bool:
    """Whether a value matches a text of a policy with wildcards and, if they are on, variables."""
    if not variables or "${" not in text:
        return like(value, text)
    texts = resolved(text, context)
    return texts is not None and texts[1].fullmatch(value) is not None


def _arn_like(value: str, pattern: str) -> bool:
    """Compare the six parts of two ARNs; the last one may have colons."""
    parts, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) == 6 and all(map(like, parts, patterns))


def _seconds(text: str) -> float:
    if text.isdigit():
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(compare: Callable[[float, float], bool], read: Callable[[str], float]) -> Callable[[str, str], bool]:
    return lambda value, expected: compare(read(value), read(expected))


def _in_network(value: str, network: str) -> bool:
    address, addresses = ipaddress.ip_address(value), ipaddress.ip_network(network, strict=False)
    return address.version == addresses.version and address in addresses


_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "Equals": lambda value, expected: value == expected,
    "LessThan": lambda value, expected: value < expected,
    "LessThanEquals": lambda value, expected: value <= expected,
    "GreaterThan": lambda value, expected: value > expected,
    "GreaterThanEquals": lambda value, expected: value >= expected,
}
_TEXT_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, expected: value == expected,
    "StringEqualsIgnoreCase": lambda value, expected: value.lower() == expected.lower(),
    "StringLike": like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
}
"""Operators that take policy variables."""
OPERATORS: dict[str, Callable[[str, str], bool]] = {
    **_TEXT_OPERATORS,
    **{f"Numeric{name}": _number(order, float) for name, order in _ORDERS.items()},
    **{f"Date{name}": _number(order, _seconds) for name, order in _ORDERS.items()},
    "Bool": lambda value, expected: value.lower() == expected.lower(),
    "IpAddress": _in_network,
    "BinaryEquals": lambda value, expected: base64.b64decode(value) == base64.b64decode(expected),
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as the only entry of one: JSON policies allow both."""
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    """Return a value of a policy as text: JSON booleans and numbers are allowed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matches(name: str, value: str, text: str, context: Context, *, variables: bool) -> bool:
    """Compare a value of the request with a value of the policy by an operator that is not negated."""
    if name == "StringLike":
        return matches_text(value, text, context, variables=variables)
    if variables and name in _TEXT_OPERATORS and "${" in text:
        texts = resolved(text, context)
        return texts is not None and OPERATORS[name](value, texts[0])
    return OPERATORS[name](value, text)


def _holds(operator: str, key: str, texts: list[Any], context: Context, *, variables: bool) -> bool:
    """Decide one operator with one key."""
    set_operator, _, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    value = context.get(key)
    values = [] if value is None else listed(value)
    if name == "Null":
        return any((str(text).lower() == "true") == (not values) for text in texts)
    if not values:
        if if_exists and value is None:
            return set_operator != "ForAnyValue" or context.readings("ForAnyValue with IfExists holds without the key")
        return {"": name in NEGATED, "ForAllValues": True, "ForAnyValue": False}[set_operator]
    positive = NEGATED.get(name, name)
    results = [
        any(_matches(positive, entry, _text(text), context, variables=variables) for text in texts) != (name in NEGATED)
        for entry in values
    ]
    if set_operator == "ForAllValues":
        return all(results)
    if set_operator == "ForAnyValue" or len(results) == 1:
        return any(results)
    any_value = context.readings("an operator without a set operator asks for any of several values")
    return any(results) if any_value else all(results)


def hold(condition: dict[str, dict[str, Any]], context: Context, *, variables: bool) -> bool:
    """Whether every operator of a condition block holds for every one of its keys."""
    return all(
        _holds(operator, key, listed(texts), context, variables=variables)
        for operator, keys in condition.items()
        for key, texts in keys.items()
    )
