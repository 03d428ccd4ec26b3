"""Condition operators, evaluated on a request whose values are given, absent or unknown.

Covers every operator of IAM's grammar: comparison, negation, `IfExists`, the set operators and `Null`. Another operator, a policy variable
and an unknown value are undecided. Where a request's values come from: `callers`.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from access import globs
from access.decision import Truth, Undecided, every, opposite, some
from access.policy_documents import ARN_PARTS, without_variables
from access.resource import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from access.policy_documents import Condition, Leaf

Values = tuple[str, ...] | None | Undecided
"""Values of a request under a key: texts, None if the request lacks the key, or undecided."""


class Request(Protocol):
    """A request on which conditions are evaluated."""

    def values(self, key: str) -> Values:
        """Return the values under a key in small letters."""


@dataclass(frozen=True)
class Operator:
    """The parts of a condition operator."""

    compare: Callable[[str, str], Truth]
    """Compares a value of the request with a value of the policy."""
    positive: bool
    if_exists: bool
    quantifier: str
    """`forallvalues`, `foranyvalue` or empty."""
    patterns: bool
    """Whether the policy's values may have wildcards."""
    textual: bool
    """Whether values are compared as texts, not as numbers, dates, addresses or truth values."""


def holds(condition: Condition, request: Request) -> Truth:
    """Whether a condition holds for a request."""
    operator = operator_of(condition.operator)
    if isinstance(operator, Undecided):
        return operator
    values = request.values(condition.key)
    if isinstance(values, Undecided):
        return values
    if operator.compare is _null:
        absent = str(values is None).lower()
        return some(_null(absent, "" if isinstance(value, Unknown) else value) for value in condition.values)
    return _without_the_key(operator) if values is None else _of_values(operator, values, condition)


def _of_values(operator: Operator, values: tuple[str, ...], condition: Condition) -> Truth:
    matches = [_matches_any(operator, value, condition.values) for value in values]
    if operator.quantifier == "forallvalues":
        return every(match if operator.positive else opposite(match) for match in matches)
    if operator.quantifier == "foranyvalue":
        return some(match if operator.positive else opposite(match) for match in matches)
    # Without a set operator, one matching value is enough for a key with several values, such as a token's `aud`.
    return some(matches) if operator.positive else opposite(some(matches))


@lru_cache(maxsize=1024)
def operator_of(spelled: str) -> Operator | Undecided:
    """Return the operator of a name such as `ForAnyValue:StringLikeIfExists`; undecided if it does not exist."""
    quantifier, _, name = spelled.lower().rpartition(":")
    if_exists = name.endswith("ifexists")
    comparison = OPERATORS.get(name.removesuffix("ifexists"))
    if comparison is None or quantifier not in ("", "forallvalues", "foranyvalue") or (name == "nullifexists"):
        return Undecided(f"the condition operator {spelled!r} does not exist")
    compare, positive = comparison
    textual = compare in (_equals, _equals_ignoring_case, _like, _arn)
    return Operator(compare, positive, if_exists, quantifier, patterns=compare in (_like, _arn), textual=textual)


def narrows(condition: Condition) -> bool:
    """Whether a condition of an Allow statement narrows it.

    `IfExists` and `ForAllValues` hold when the key is absent, so a request without the key passes; IAM's guide warns of both.
    """
    operator = operator_of(condition.operator)
    if isinstance(operator, Undecided):
        return True
    return not (operator.positive and (operator.if_exists or operator.quantifier == "forallvalues"))


def _without_the_key(operator: Operator) -> bool:
    # A negated operator, IfExists and ForAllValues hold when the key is absent.
    if operator.quantifier == "foranyvalue":
        return operator.if_exists
    return operator.if_exists or operator.quantifier == "forallvalues" or not operator.positive


def _matches_any(operator: Operator, value: str, expected: tuple[Leaf, ...]) -> Truth:
    return some(_compare(operator, value, text) for text in expected)


def _compare(operator: Operator, value: str, expected: Leaf) -> Truth:
    if isinstance(expected, Unknown):
        return Undecided("a value of a condition is not known yet")
    if "${" not in expected:
        return operator.compare(value, expected)
    # A variable stands for any text: if even that does not match, the answer is no.
    fits = globs.matches(without_variables(expected).lower(), value.lower())
    return Undecided(f"the condition value {expected} contains a policy variable") if fits else False


def _null(absent: str, expected: str) -> Truth:
    if expected.lower() not in ("true", "false"):
        return Undecided(f"the operator Null needs true or false, not {expected!r}")
    return absent == expected.lower()


def _equals(value: str, expected: str) -> Truth:
    return value == expected


def _equals_ignoring_case(value: str, expected: str) -> Truth:
    return value.lower() == expected.lower()


def _like(value: str, expected: str) -> Truth:
    return globs.matches(expected, value)


def _arn(value: str, expected: str) -> Truth:
    """Compare ARNs part by part, with wildcards in every part; ArnEquals and ArnLike do the same."""
    value_parts, parts = value.split(":", ARN_PARTS - 1), expected.split(":", ARN_PARTS - 1)
    if len(parts) != ARN_PARTS:
        return (
            Undecided(f"cannot compare with {expected}: it is not an ARN") if globs.matches(expected, value) else False
        )
    return len(value_parts) == ARN_PARTS and all(map(globs.matches, parts, value_parts))


def _boolean(value: str, expected: str) -> Truth:
    if expected.lower() not in ("true", "false"):
        return Undecided(f"cannot compare with {expected}: it is neither true nor false")
    return value.lower() == expected.lower()


def _address(value: str, expected: str) -> Truth:
    try:
        network = ipaddress.ip_network(expected, strict=False)
        address = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return Undecided(f"cannot compare {value} with {expected}: one of them is not an IP address")
    if network.version != address.version:
        return False
    return address.subnet_of(network)  # type: ignore[arg-type]  # both are of one version


def _number(text: str) -> Decimal:
    return Decimal(text)


def seconds(text: str) -> Decimal | None:
    """Return seconds since 1970 of a date, or None if a text is no date."""
    try:
        return _moment(text)
    except (ValueError, InvalidOperation):
        return None


def _moment(text: str) -> Decimal:
    """Return seconds since 1970 of an ISO 8601 date or a number of seconds."""
    try:
        return Decimal(text)
    except InvalidOperation:
        moment = datetime.fromisoformat(text)
        return Decimal(str((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def _ordered(read: Callable[[str], Decimal], test: Callable[[int], bool]) -> Callable[[str, str], Truth]:
    def compare(value: str, expected: str) -> Truth:
        try:
            difference = read(value).compare(read(expected))
            return test(int(difference))
        except (ValueError, InvalidOperation):
            return Undecided(f"cannot compare {value} with {expected}: one of them is neither a number nor a date")

    return compare


def _orders(kind: str, read: Callable[[str], Decimal]) -> dict[str, tuple[Callable[[str, str], Truth], bool]]:
    same = _ordered(read, lambda sign: sign == 0)
    return {
        f"{kind}equals": (same, True),
        f"{kind}notequals": (same, False),
        f"{kind}lessthan": (_ordered(read, lambda sign: sign < 0), True),
        f"{kind}lessthanequals": (_ordered(read, lambda sign: sign <= 0), True),
        f"{kind}greaterthan": (_ordered(read, lambda sign: sign > 0), True),
        f"{kind}greaterthanequals": (_ordered(read, lambda sign: sign >= 0), True),
    }


OPERATORS: dict[str, tuple[Callable[[str, str], Truth], bool]] = {
    "stringequals": (_equals, True),
    "stringnotequals": (_equals, False),
    "stringequalsignorecase": (_equals_ignoring_case, True),
    "stringnotequalsignorecase": (_equals_ignoring_case, False),
    "stringlike": (_like, True),
    "stringnotlike": (_like, False),
    "arnequals": (_arn, True),
    "arnlike": (_arn, True),
    "arnnotequals": (_arn, False),
    "arnnotlike": (_arn, False),
    "bool": (_boolean, True),
    "binaryequals": (_equals, True),
    "ipaddress": (_address, True),
    "notipaddress": (_address, False),
    "null": (_null, True),
    **_orders("numeric", _number),
    **_orders("date", _moment),
}
"""Comparison, and whether it is positive, by name in small letters."""
