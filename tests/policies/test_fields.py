"""Fields of a resource for rules: plain values from engine messages, and a record of every unknown value that a rule reads."""

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


def test_engine_messages_become_plain_values_with_unknown_values_marked() -> None:
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


def test_an_unknown_item_makes_its_container_unknown_but_not_its_siblings() -> None:
    field, undecided = field_of({"a": {"x": UNKNOWN, "y": 1}, "b": [UNKNOWN, 2]})
    assert field["a"]["y"].get() == 1
    assert undecided == [], "a known sibling stays known"
    assert field["a"].get() is None
    assert field["b"].texts() == ["2"]
    assert undecided == ["a", "b[0]"], "the path of each unknown value is recorded"


def test_every_field_below_an_unknown_value_is_unknown() -> None:
    field, undecided = field_of({"spec": UNKNOWN})
    assert field["spec"]["containers"][0].text() is None
    assert list(field["spec"].items()) == []
    assert undecided == ["spec.containers[0]", "spec"]


def test_an_absent_field_is_known_and_takes_the_default() -> None:
    field, undecided = field_of({"null": None, "empty": []})
    assert field["nothing"]["at"]["all"].get("default") == "default"
    assert field["null"].absent
    assert not field["empty"].absent
    assert field["nothing"].value is ABSENT
    assert undecided == []


@pytest.mark.parametrize(("value", "flag"), [(True, True), ("true", True), (" False ", False), (False, False)])
def test_a_flag_may_be_written_as_text(value: Any, *, flag: bool) -> None:
    field, undecided = field_of({"flag": value})
    assert field["flag"].flag(default=not flag) is flag
    assert undecided == []


@pytest.mark.parametrize("value", ["yes", 1, [], UNKNOWN])
def test_a_flag_that_is_neither_true_nor_false_is_undecided(value: Any) -> None:
    field, undecided = field_of({"flag": value})
    assert field["flag"].flag(default=False) is None
    assert undecided == ["flag"], "a rule that reads this flag must not pass in silence"


@pytest.mark.parametrize(("value", "number"), [(2, 2), ("2", 2), (2.0, 2), ("2.5", 2.5)])
def test_a_number_may_be_written_as_text_or_as_a_float(value: Any, number: float) -> None:
    assert field_of({"n": value})[0]["n"].number(default=0) == number


def test_a_value_that_is_not_a_number_is_undecided() -> None:
    field, undecided = field_of({"n": "many"})
    assert field["n"].number(default=0) is None
    assert undecided == ["n"]


def test_a_single_value_counts_as_a_list() -> None:
    field, _ = field_of({"one": "a", "list": ["a", "b"]})
    assert (field["one"].texts(), field["list"].texts()) == (["a"], ["a", "b"])


def test_provider_inputs_are_decoded_from_json_text() -> None:
    assert decode_json('["111111111111"]') == ["111111111111"]
    assert decode_json("eu-central-1") == "eu-central-1"
    assert decode_json(["x"]) == ["x"]


def test_unknown_values_are_detected_at_any_depth() -> None:
    assert contains_unknown({"a": [{"b": UNKNOWN}]})
    assert not contains_unknown({"a": [{"b": None}]})
