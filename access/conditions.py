"""Condition operators over a request whose values may be given, absent, or not known.

Owns every operator of IAM's grammar: their comparison, their negation, `IfExists`, the set operators and `Null`. An operator that is not
among them, a policy variable and an unknown value are undecided. Leaves out where a request's values come from (`contexts`).
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
"""What a request has under a key: values, nothing (None), or something that is not known."""


class Request(Protocol):
    """What conditions are asked about."""

    def values(self, key: str) -> Values:
        """What the request has under a key, which is in small letters."""


@dataclass(frozen=True)
class Operator:
    """A condition operator, taken apart."""

    compare: Callable[[str, str], Truth]
    """Whether a value of the request is as a value of the policy says."""
    positive: bool
    if_exists: bool
    quantifier: str
    """`forallvalues`, `foranyvalue` or nothing."""
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
        return some(_null(absent, "" if isinstance(each, Unknown) else each) for each in condition.values)
    return _without_the_key(operator) if values is None else _of_values(operator, values, condition)


def _of_values(operator: Operator, values: tuple[str, ...], condition: Condition) -> Truth:
    found = [_as_any(operator, value, condition.values) for value in values]
    if operator.quantifier == "forallvalues":
        return every(each if operator.positive else opposite(each) for each in found)
    if operator.quantifier == "foranyvalue":
        return some(each if operator.positive else opposite(each) for each in found)
    # Without a set operator a key with many values, such as a token's `aud`, is as the policy says if one of them is.
    return some(found) if operator.positive else opposite(some(found))


@lru_cache(maxsize=1024)
def operator_of(spelled: str) -> Operator | Undecided:
    """The operator of a name such as `ForAnyValue:StringLikeIfExists`; undecided if there is none."""
    quantifier, _, name = spelled.lower().rpartition(":")
    if_exists = name.endswith("ifexists")
    found = OPERATORS.get(name.removesuffix("ifexists"))
    if found is None or quantifier not in ("", "forallvalues", "foranyvalue") or (name == "nullifexists"):
        return Undecided(f"the condition operator {spelled!r} is not known")
    compare, positive = found
    textual = compare in (_equals, _equals_ignoring_case, _like, _arn)
    return Operator(compare, positive, if_exists, quantifier, patterns=compare in (_like, _arn), textual=textual)


def narrows(condition: Condition) -> bool:
    """Whether a condition of an Allow keeps anybody out: one that holds for an absent key is never relied on.

    `IfExists` and `ForAllValues` hold when the key is absent, so that a request without the key passes; IAM's guide warns of both.
    """
    operator = operator_of(condition.operator)
    if isinstance(operator, Undecided):
        return True
    return not (operator.positive and (operator.if_exists or operator.quantifier == "forallvalues"))


def _without_the_key(operator: Operator) -> bool:
    # A negated operator, IfExists and ForAllValues hold when the key is absent: they narrow nothing.
    if operator.quantifier == "foranyvalue":
        return operator.if_exists
    return operator.if_exists or operator.quantifier == "forallvalues" or not operator.positive


def _as_any(operator: Operator, value: str, expected: tuple[Leaf, ...]) -> Truth:
    return some(_compared(operator, value, each) for each in expected)


def _compared(operator: Operator, value: str, expected: Leaf) -> Truth:
    if isinstance(expected, Unknown):
        return Undecided("a value of a condition is not known yet")
    if "${" not in expected:
        return operator.compare(value, expected)
    # A variable stands for any text: where not even that fits, the answer is no.
    fits = globs.matches(without_variables(expected).lower(), value.lower())
    return Undecided(f"the condition value {expected} has a variable") if fits else False


def _null(absent: str, expected: str) -> Truth:
    if expected.lower() not in ("true", "false"):
        return Undecided("Null is compared with neither true nor false")
    return absent == expected.lower()


def _equals(value: str, expected: str) -> Truth:
    return value == expected


def _equals_ignoring_case(value: str, expected: str) -> Truth:
    return value.lower() == expected.lower()


def _like(value: str, expected: str) -> Truth:
    return globs.matches(expected, value)


def _arn(value: str, expected: str) -> Truth:
    """ARNs are compared part by part, each with wildcards, by ArnEquals and ArnLike alike."""
    its, parts = value.split(":", ARN_PARTS - 1), expected.split(":", ARN_PARTS - 1)
    if len(parts) != ARN_PARTS:
        return Undecided(f"{expected} is compared as an ARN and is none") if globs.matches(expected, value) else False
    return len(its) == ARN_PARTS and all(map(globs.matches, parts, its))


def _boolean(value: str, expected: str) -> Truth:
    if expected.lower() not in ("true", "false"):
        return Undecided(f"{expected} is compared as a boolean and is none")
    return value.lower() == expected.lower()


def _address(value: str, expected: str) -> Truth:
    try:
        network = ipaddress.ip_network(expected, strict=False)
        address = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return Undecided(f"{expected} is compared as an address and one of both is none")
    if network.version != address.version:
        return False
    return address.subnet_of(network)  # type: ignore[arg-type]  # both are of one version


def _number(text: str) -> Decimal:
    return Decimal(text)


def _moment(text: str) -> Decimal:
    """Seconds since 1970 of an ISO 8601 date or of a number of seconds."""
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
            return Undecided(f"{expected} is compared as a number or a date and one of both is none")

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
"""Comparison and whether it is positive, by name in small letters."""
