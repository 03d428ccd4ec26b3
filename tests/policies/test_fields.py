"""Fields as rules read them: messages become plain values, and no rule reads an unknown value in silence."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2
from pulumi_policy.deserialize import SPECIAL_ASSET_SIG, SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY
from pulumi_policy.proxy import UNKNOWN_NUMBER_VALUE, UNKNOWN_STRING_VALUE

from access.resource import UNKNOWN
from policies.engine_messages import plain_object
from policies.fields import ABSENT, Field, contains_unknown, decode_json


def field_of(value: Any) -> tuple[Field, list[str]]:
    undecided: list[str] = []
    return Field(value, "", undecided.append), undecided


def test_messages_become_plain_values_and_unknown_ones_are_marked() -> None:
    message = struct_pb2.Struct()
    message.update(
        {"port": 443.0, "share": 0.5, "list": [1.0, {"deep": UNKNOWN_STRING_VALUE}], "number": UNKNOWN_NUMBER_VALUE}
    )
    plain = plain_object(message.fields)
    assert plain == {"port": 443, "share": 0.5, "list": [1, {"deep": UNKNOWN}], "number": UNKNOWN}
    assert isinstance(plain["port"], int), "443 and 443.0 are the same port"


def test_a_secret_becomes_its_value_and_an_asset_is_unknown() -> None:
    message = struct_pb2.Struct()
    message.update(
        {
            "secret": {SPECIAL_SIG_KEY: SPECIAL_SECRET_SIG, "value": "x"},
            "asset": {SPECIAL_SIG_KEY: SPECIAL_ASSET_SIG, "path": "file"},
        }
    )
    assert plain_object(message.fields) == {"secret": "x", "asset": UNKNOWN}, "no rule can look into an asset"


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
    assert decode_json('["111111111111"]') == ["111111111111"]
    assert decode_json("eu-central-1") == "eu-central-1"
    assert decode_json(["x"]) == ["x"]


def test_unknown_values_are_found_at_any_depth() -> None:
    assert contains_unknown({"a": [{"b": UNKNOWN}]})
    assert not contains_unknown({"a": [{"b": None}]})
