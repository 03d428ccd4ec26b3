import copy

import pytest
from google.protobuf import struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_platform_sandbox.providers import wire

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, width=64)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=4),
    max_leaves=12,
)


def struct(values: dict[str, object]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message


@settings(max_examples=25, deadline=None)  # a loaded machine is no failure
@given(st.dictionaries(st.text(min_size=1, max_size=5), PLAIN, max_size=5))
def test_an_encoded_value_decodes_to_the_same_value(values: dict[str, object]) -> None:
    assert wire.decode(wire.encode(values)) == values


def test_integral_numbers_come_back_as_integers_and_others_as_floats() -> None:
    decoded = wire.decode(struct({"port": 443.0, "share": 0.5, "big": 1e300}))
    assert decoded == {"port": 443, "share": 0.5, "big": 1e300}
    assert isinstance(decoded["port"], int)
    assert isinstance(decoded["big"], float), "beyond 2**53 a double is not an exact integer"


def test_booleans_stay_booleans() -> None:
    assert wire.decode(wire.encode({"yes": True})) == {"yes": True}
    assert wire.decode(wire.encode({"yes": True}))["yes"] is True


def test_an_unknown_value_is_the_sentinel_at_any_depth() -> None:
    decoded = wire.decode(struct({"a": wire.UNKNOWN_TEXT, "b": {"c": [wire.UNKNOWN_TEXT]}}))
    assert decoded["a"] is wire.UNKNOWN
    assert decoded["b"]["c"][0] is wire.UNKNOWN
    assert wire.decode(wire.encode(decoded)) == decoded


def test_the_unknown_sentinel_survives_copies() -> None:
    assert copy.deepcopy({"a": [wire.UNKNOWN]})["a"][0] is wire.UNKNOWN


def test_a_secret_is_wrapped_and_never_printed() -> None:
    decoded = wire.decode(struct({"token": {wire.SIGNATURE_KEY: wire.SECRET_SIGNATURE, "value": "glrt-1"}}))
    assert decoded["token"] == wire.Secret("glrt-1")
    assert "glrt-1" not in repr(decoded)
    assert wire.decode(wire.encode(decoded)) == decoded
    assert wire.reveal({"a": [decoded]}) == {"a": [{"token": "glrt-1"}]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"value": "x"}, "x"),
        ({"value": "x", "secret": True}, wire.Secret("x")),
        ({}, wire.UNKNOWN),
        ({"secret": True}, wire.Secret(wire.UNKNOWN)),
    ],
)
def test_an_output_value_becomes_what_it_holds(fields: dict[str, object], expected: object) -> None:
    assert wire.decode(struct({"p": {wire.SIGNATURE_KEY: wire.OUTPUT_SIGNATURE, **fields}})) == {"p": expected}


def test_an_asset_is_refused_with_a_message() -> None:
    with pytest.raises(wire.WireError, match="asset"):
        wire.decode(struct({"p": {wire.SIGNATURE_KEY: "c44067f5952c0a294b673a41bacd8c17", "text": "x"}}))


def test_a_value_without_a_form_is_refused() -> None:
    with pytest.raises(wire.WireError, match="bytes"):
        wire.encode({"p": b"x"})


def test_unknowns_are_found_inside_secrets_too() -> None:
    assert wire.has_unknown({"a": [wire.Secret({"b": wire.UNKNOWN})]})
    assert not wire.has_unknown({"a": [wire.Secret({"b": "c"})]})
