"""Condition operators: present, absent and unknown keys, for every operator and variant."""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access import callers, globs
from access.callers import Choice, PossibleRequests
from access.conditions import OPERATORS, Values, holds, operator_of
from access.decision import Decision, Truth, Undecided, decision_of, every, opposite, some
from access.policy_documents import Condition
from access.resource import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLE = "arn:aws:iam::222222222222:role/cicd/runner-small"
PERHAPS = Undecided("perhaps")
TRUTHS = st.sampled_from([True, False, PERHAPS])


@dataclass
class Request:
    keys: Mapping[str, Values]

    def values(self, key: str) -> Values:
        return self.keys.get(key)


def truth(operator: str, expected: Any, *values: str, unknown: bool = False) -> Truth:
    expected = tuple(expected) if isinstance(expected, list) else (expected,)
    request = Request({"key": PERHAPS if unknown else values or None})
    return holds(Condition(operator, "key", expected), request)


@pytest.mark.parametrize(
    ("operator", "expected", "value", "result"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", ["b", "a"], "a", True),
        ("StringEquals", "*", "a", False),
        ("StringEquals", "A", "a", False),
        ("stringequals", "a", "a", True),
        ("StringNotEquals", ["b", "a"], "a", False),
        ("StringNotEquals", "b", "a", True),
        ("StringEqualsIgnoreCase", "A", "a", True),
        ("StringNotEqualsIgnoreCase", "A", "a", False),
        ("StringLike", "a*c?", "abbbcd", True),
        ("StringLike", "plain", "plain", True),
        ("StringLike", "A*", "abc", False),
        ("StringNotLike", "a*", "abc", False),
        ("ArnEquals", ROLE, ROLE, True),
        ("ArnEquals", "arn:aws:iam::222222222222:role/*", ROLE, True),
        ("ArnLike", "arn:aws:iam::*:role/cicd/runner-small", ROLE, True),
        ("ArnLike", "arn:aws:iam::222222222222:root", ROLE, False),
        ("ArnNotEquals", ROLE, ROLE, False),
        ("ArnNotLike", "arn:aws:iam::1*:role/x", ROLE, True),
        ("NumericEquals", "443", "443.0", True),
        ("NumericNotEquals", "1", "2", True),
        ("Bool", "true", "true", True),
        ("Bool", "True", "false", False),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", "2001:db8::/32", "203.0.113.7", False),
        ("NotIpAddress", "203.0.113.0/24", "203.0.113.7", False),
        ("Null", "true", "a", False),
        ("Null", "false", "a", True),
    ],
)
def test_an_operator_compares(operator: str, expected: Any, value: str, result: bool) -> None:
    assert truth(operator, expected, value) is result


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("Numeric", ("9.5", "10", "11")),
        ("Date", ("2025-12-31", "2026-01-01T00:00:00Z", "1767225601")),
        ("Date", ("2026-01-01T00:59:59+01:00", "1767225600", "2026-01-01T00:00:00.5Z")),
    ],
)
def test_an_operator_orders_numbers_and_dates(kind: str, values: tuple[str, str, str]) -> None:
    smaller, same, larger = values
    for name, answers in {
        "Equals": (False, True, False),
        "NotEquals": (True, False, True),
        "LessThan": (True, False, False),
        "LessThanEquals": (True, True, False),
        "GreaterThan": (False, False, True),
        "GreaterThanEquals": (False, True, True),
    }.items():
        assert tuple(truth(f"{kind}{name}", same, value) for value in (smaller, same, larger)) == answers, name


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"null"}))
def test_an_absent_key_fails_positive_operators_only(name: str) -> None:
    positive = OPERATORS[name][1]
    assert truth(name, "1") is not positive
    assert truth(f"{name}IfExists", "1") is True
    assert truth(f"ForAllValues:{name}", "1") is True
    assert truth(f"ForAnyValue:{name}", "1") is False


def test_null_tests_whether_the_key_is_present() -> None:
    assert truth("Null", "true") is True
    assert truth("Null", "false") is False
    assert isinstance(truth("Null", "perhaps"), Undecided)
    assert isinstance(truth("Null", UNKNOWN), Undecided)


def test_set_operators_compare_every_value() -> None:
    assert truth("ForAllValues:StringEquals", ["a", "b"], "a", "b") is True
    assert truth("ForAllValues:StringEquals", ["a"], "a", "b") is False
    assert truth("ForAnyValue:StringEquals", ["a"], "a", "b") is True
    assert truth("ForAnyValue:StringLike", ["c*"], "a", "b") is False
    assert truth("ForAllValues:StringNotEquals", ["a"], "b", "c") is True
    assert truth("ForAllValues:StringNotEquals", ["a"], "a", "c") is False
    assert truth("ForAnyValue:StringNotEquals", ["a"], "a", "c") is True


def test_a_token_with_several_audiences_matches_by_any_of_them() -> None:
    assert truth("StringEquals", "sts.amazonaws.com", "https://kubernetes.default.svc", "sts.amazonaws.com") is True
    assert truth("StringNotEquals", "sts.amazonaws.com", "https://kubernetes.default.svc", "sts.amazonaws.com") is False


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringMatches", "a"),
        ("ForSomeValues:StringEquals", "a"),
        ("NullIfExists", "true"),
        ("", "a"),
        ("StringEquals", "${aws:username}"),
        ("StringLike", "${aws:PrincipalTag/team}*"),
        ("StringEquals", UNKNOWN),
        ("NumericEquals", "many"),
        ("DateLessThan", "tomorrow"),
        ("IpAddress", "everywhere"),
        ("Bool", "perhaps"),
        ("ArnLike", "*"),
    ],
)
def test_an_operator_or_value_that_cannot_be_read_is_undecided(operator: str, expected: Any) -> None:
    assert isinstance(truth(operator, expected, "a1"), Undecided)


@pytest.mark.parametrize(
    "operator", ["StringEquals", "StringNotEquals", "Null", "StringLikeIfExists", "ForAllValues:Bool"]
)
def test_an_unknown_value_is_undecided_for_every_operator(operator: str) -> None:
    assert isinstance(truth(operator, "true", unknown=True), Undecided)


def test_a_known_match_decides_beside_an_unknown_value() -> None:
    assert truth("StringEquals", [UNKNOWN, "a"], "a") is True
    assert isinstance(truth("StringNotEquals", [UNKNOWN, "b"], "a"), Undecided)
    assert truth("StringNotEquals", [UNKNOWN, "a"], "a") is False


def test_operators_are_parsed_regardless_of_case() -> None:
    operator = operator_of("foranyvalue:STRINGLIKEIFEXISTS")
    assert not isinstance(operator, Undecided)
    assert (operator.quantifier, operator.if_exists, operator.positive) == ("foranyvalue", True, True)


@given(st.lists(TRUTHS, max_size=4))
def test_truths_are_combined_by_kleenes_logic(truths: list[Truth]) -> None:
    assert decision_of(every(truths)) == decision_of(opposite(some(opposite(truth) for truth in truths)))
    decided = [truth for truth in truths if not isinstance(truth, Undecided)]
    if len(decided) == len(truths):
        assert every(truths) is all(decided)
        assert some(truths) is any(decided)
    if any(truth is False for truth in truths):
        assert decision_of(every(truths)) is Decision.DENIED, "an undecided truth cannot outweigh a False"


def test_an_undecided_truth_cannot_be_used_as_a_boolean() -> None:
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(PERHAPS)


PATTERN = st.text("ab*?", max_size=5)


@given(PATTERN, st.text("abc", max_size=6))
def test_patterns_match_like_regular_expressions(pattern: str, text: str) -> None:
    expression = pattern.replace("*", ".*").replace("?", ".")
    assert globs.matches(pattern, text) is (re.fullmatch(expression, text) is not None)


@given(st.lists(PATTERN, max_size=3), PATTERN)
def test_witnesses_cover_every_possible_combination_of_matches(patterns: list[str], within: str) -> None:
    witnesses = globs.witnesses(patterns, within)
    assert witnesses is not None
    covered = {tuple(globs.matches(pattern, text) for pattern in patterns) for text in witnesses}
    texts = ("".join(letters) for size in range(6) for letters in itertools.product("abc", repeat=size))
    possible = {
        tuple(globs.matches(pattern, text) for pattern in patterns) for text in texts if globs.matches(within, text)
    }
    assert possible <= covered
    assert all(globs.matches(within, text) for text in witnesses)


@given(st.lists(PATTERN, min_size=1, max_size=3), st.lists(PATTERN, max_size=3), PATTERN)
def test_possible_requests_try_an_own_value_for_each_combination_of_matches(
    patterns: list[str], foreign_patterns: list[str], within: str
) -> None:
    tried_values: list[str] = []

    def record(request: callers.Request) -> bool:
        tried_values.extend(text for text in request.values("key") if isinstance(text, str))
        return False

    free = Choice(within=within, outside=tuple(foreign_patterns), optional=False)
    PossibleRequests({}, {"key": free}).any_allowed(
        [Condition("StringLike", "key", (pattern,)) for pattern in patterns], record
    )
    texts = ("".join(letters) for size in range(6) for letters in itertools.product("abc", repeat=size))
    own_values = [text for text in texts if globs.matches(within, text) and not matches_any(foreign_patterns, text)]
    assert not any(matches_any(foreign_patterns, text) for text in tried_values)
    combinations = {tuple(globs.matches(pattern, text) for pattern in patterns) for text in own_values}
    assert combinations <= {tuple(globs.matches(pattern, text) for pattern in patterns) for text in tried_values}


def matches_any(patterns: list[str], text: str) -> bool:
    return any(globs.matches(pattern, text) for pattern in patterns)


def test_too_many_combinations_of_matches_are_not_enumerated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(globs, "MOST_STATES", 3)
    assert globs.witnesses(("a*b", "*a?b")) is None


def test_moments_are_written_in_the_time_of_greenwich_wherever_the_machine_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        first, *_ = callers._moments([], datetime(2026, 1, 1, tzinfo=UTC))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert first == {"aws:currenttime": ("2026-01-01T00:00:00+00:00",), "aws:epochtime": ("1767225600",)}
