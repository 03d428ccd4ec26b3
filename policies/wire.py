"""The engine's messages as plain values, read once and straight: half the time of the SDK's way over JSON and proxies.

Unknown values become `UNKNOWN`, secrets their value (no message repeats one), and what a resource reads from a file `UNKNOWN` too, because no
rule can look into it. Source of the marks: https://github.com/pulumi/pulumi `sdk/go/common/resource/properties.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_policy import proxy
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY

from access.resources import UNKNOWN
from policies.memory import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.memory import Memory

UNKNOWN_MARKS = frozenset(value for name, value in vars(proxy).items() if name.startswith("UNKNOWN_"))


def read(fields: Mapping[str, Any]) -> Any:
    """The fields of a `Struct`, as a plain object."""
    if SPECIAL_SIG_KEY in fields:
        return _value(fields["value"]) if fields[SPECIAL_SIG_KEY].string_value == SPECIAL_SECRET_SIG else UNKNOWN
    return {key: _value(fields[key]) for key in fields}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in UNKNOWN_MARKS else text
    if kind == "struct_value":
        return read(value.struct_value.fields)
    if kind == "list_value":
        return [_value(each) for each in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return value.bool_value if kind == "bool_value" else None


def shown(request: Any, memory: Memory) -> Seen:
    """The resource that a call of `Analyze` shows; its provider was shown before, as a resource of its own."""
    provider = request.provider if request.HasField("provider") else None
    return Seen(
        urn=request.urn,
        type=request.type,
        name=request.name,
        inputs=read(request.properties.fields),
        provider=provider.urn if provider else "",
        provider_inputs=_inputs(provider, memory) if provider else None,
        protect=request.options.protect,
    )


def _inputs(provider: Any, memory: Memory) -> Mapping[str, Any]:
    known = memory.known([provider.urn])
    inputs: Mapping[str, Any] = known[0].inputs if known else read(provider.properties.fields)
    return inputs
