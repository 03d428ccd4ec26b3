"""Values as rules read them: proxies become plain, and nothing that is not known is read past in silence."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi_policy.proxy import UNKNOWN_NUMBER_VALUE, UNKNOWN_STRING_VALUE, unknown_checking_proxy

from access.resource import UNKNOWN
from policies.fields import ABSENT, Field, decoded, holds_unknown, plain


def field_of(value: Any) -> tuple[Field, list[str]]:
    undecided: list[str] = []
    return Field(value, "", undecided.append), undecided


def test_proxies_become_plain_values_and_unknown_ones_are_marked() -> None:
    proxy = unknown_checking_proxy(
        {"port": 443.0, "share": 0.5, "list": [1.0, {"deep": UNKNOWN_STRING_VALUE}], "number": UNKNOWN_NUMBER_VALUE}
    )
    assert plain(proxy) == {"port": 443, "share": 0.5, "list": [1, {"deep": UNKNOWN}], "number": UNKNOWN}
    assert isinstance(plain(proxy)["port"], int), "443 and 443.0 are the same port"


def test_an_unknown_leaf_makes_its_whole_value_unknown_but_not_its_neighbours() -> None:
    field, undecided = field_of({"a": {"x": UNKNOWN, "y": 1}, "b": [UNKNOWN, 2]})
    assert field["a"]["y"].get() == 1
    assert undecided == [], "a known neighbour is known"
    assert field["a"].get() is None
    assert field["b"].texts() == ["2"]
    assert undecided == ["a", "b[0]"], "what was asked for is recorded with its path"


def test_below_an_unknown_value_everything_is_unknown() -> None:
    field, undecided = field_of({"spec": UNKNOWN})
    assert field["spec"]["containers"][0].text() is None
    assert list(field["spec"].items()) == []
    assert undecided == ["spec.containers[0]", "spec"]


def test_absence_is_an_answer_and_no_gap() -> None:
    field, undecided = field_of({"null": None, "empty": []})
    assert field["nothing"]["at"]["all"].get("default") == "default"
    assert field["null"].absent
    assert not field["empty"].absent
    assert field["nothing"].value is ABSENT
    assert undecided == []


@pytest.mark.parametrize(("given", "flag"), [(True, True), ("true", True), (" False ", False), (False, False)])
def test_a_flag_may_be_written_as_text(given: Any, *, flag: bool) -> None:
    field, undecided = field_of({"flag": given})
    assert field["flag"].flag(default=not flag) is flag
    assert undecided == []


@pytest.mark.parametrize("given", ["yes", 1, [], UNKNOWN])
def test_a_flag_that_is_neither_is_undecided(given: Any) -> None:
    field, undecided = field_of({"flag": given})
    assert field["flag"].flag(default=False) is None
    assert undecided == ["flag"], "a rule that reads it must not pass in silence"


@pytest.mark.parametrize(("given", "number"), [(2, 2), ("2", 2), (2.0, 2), ("2.5", 2.5)])
def test_a_number_may_be_written_as_text_or_as_a_float(given: Any, number: float) -> None:
    assert field_of({"n": given})[0]["n"].number(default=0) == number


def test_a_number_that_is_none_is_undecided() -> None:
    field, undecided = field_of({"n": "many"})
    assert field["n"].number(default=0) is None
    assert undecided == ["n"]


def test_a_lone_value_counts_as_a_list_of_one() -> None:
    field, _ = field_of({"one": "a", "list": ["a", "b"]})
    assert (field["one"].texts(), field["list"].texts()) == (["a"], ["a", "b"])


def test_inputs_of_providers_are_decoded_from_json_text() -> None:
    assert decoded('["111111111111"]') == ["111111111111"]
    assert decoded("eu-central-1") == "eu-central-1"
    assert decoded(["x"]) == ["x"]


def test_unknown_values_are_found_at_any_depth() -> None:
    assert holds_unknown({"a": [{"b": UNKNOWN}]})
    assert not holds_unknown({"a": [{"b": None}]})
