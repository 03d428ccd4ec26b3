"""Translation between the engine's protobuf structs and plain Python values.

Two markers: `UNKNOWN` (a value that a preview cannot know) and `Secret` (a value that the state must encrypt).
Assets, archives and resource references are refused, because no property of the modelled types takes one.

The signatures are the protocol's own, see `pulumi.runtime.rpc` of the Python SDK and
https://www.pulumi.com/docs/iac/concepts/inputs-outputs/. They are repeated here because importing the SDK costs every
provider process 26 MB and half a second.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE_KEY: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a marker of the protocol, protects nothing
OUTPUT_SIGNATURE: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"

# Doubles hold integers exactly up to this number; a larger float stays a float and does not become a wrong integer.
_LARGEST_EXACT_INTEGER: Final = 2**53


class WireError(ValueError):
    """A value that the stand-ins cannot carry, such as an asset."""


class Unknown(enum.Enum):
    """The type of `UNKNOWN`; an enumeration, so that every copy is the same object."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN
"""A value that only the deployment makes known."""


@dataclass(frozen=True)
class Secret:
    """A value that the engine encrypts in the state and hides in its output."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(...)"


def decode(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Turn a struct of the engine into a dictionary.

    Args:
        struct: Properties of a resource, arguments of a function, or a provider's configuration.

    Returns:
        Plain values; integral numbers as `int`; `UNKNOWN` and `Secret` where the engine says so.

    Raises:
        WireError: The struct holds an asset, an archive or a resource reference.
    """
    return {key: _decode_value(value) for key, value in struct.fields.items()}


def encode(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Turn a dictionary into a struct for the engine; None becomes null.

    Raises:
        WireError: The protocol has no form for the type of a value.
    """
    return struct_pb2.Struct(fields={key: _encode_value(value) for key, value in properties.items()})


def reveal(value: Any) -> Any:
    """Return `value` with the content of every `Secret` in place of it."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [reveal(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Tell whether `value` is, or holds anywhere, `UNKNOWN`."""
    return any(leaf is UNKNOWN for leaf in _leaves(value))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Secret):
        yield from _leaves(value.value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _decode_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_TEXT else value.string_value
    if kind == "number_value":
        return _number(value.number_value)
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode_value(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Any:
    if SIGNATURE_KEY not in struct.fields:
        return decode(struct)
    signature = struct.fields[SIGNATURE_KEY].string_value
    if signature == SECRET_SIGNATURE:
        return Secret(_decode_value(struct.fields["value"]))
    if signature == OUTPUT_SIGNATURE:
        inner = _decode_value(struct.fields["value"]) if "value" in struct.fields else UNKNOWN
        secret = "secret" in struct.fields and struct.fields["secret"].bool_value
        return Secret(inner) if secret else inner
    raise WireError(
        "a property holds an asset, an archive or a resource reference; the stand-ins take plain values only"
    )


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) <= _LARGEST_EXACT_INTEGER else value


def _encode_value(value: Any) -> struct_pb2.Value:
    if isinstance(value, Secret):
        return _encode_value({SIGNATURE_KEY: SECRET_SIGNATURE, "value": value.value})
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=encode(value))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode_value(item) for item in value]))
    return _encode_primitive(value)


def _encode_primitive(value: Any) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=UNKNOWN_TEXT)
    if isinstance(value, bool):  # before numbers: bool is an int
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=str(value))
    raise WireError(f"a value of type {type(value).__name__} has no form in the engine's protocol")
