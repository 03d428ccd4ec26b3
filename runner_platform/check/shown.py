"""Resources in the shape in which the engine shows them to a pack, from a mock run or from a deployed stack.

Policy documents are JSON text, numbers are floats, unknown values are the engine's mark; secrets are `[secret]` here, because no rule needs
one and no message may hold one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format, struct_pb2
from pulumi.runtime import proto

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner_platform.check.mock_run import Registration

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SHOWN_UNKNOWN, SHOWN_SECRET = "[unknown]", "[secret]"
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Key that marks secrets and assets in a state. Source: https://github.com/pulumi/pulumi `sdk/go/common/resource/properties.go`."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One resource, whether registered or deployed."""

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""
    provider: str = ""
    """URN of the provider."""
    protect: bool = False
    source: str = ""
    """Where the program registers it, `file:line`; empty where that is not known."""
    depends_on: tuple[str, ...] = field(default=())


def registered(registrations: Iterable[Registration]) -> list[Shown]:
    """Resources of a mock run."""
    return [
        Shown(
            urn=each.urn,
            type=each.type,
            name=each.name,
            inputs=each.inputs,
            parent=each.parent,
            provider=each.provider.rpartition("::")[0],
            protect=each.protect,
            outputs=each.outputs,
            source=each.source,
            depends_on=each.depends_on,
        )
        for each in registrations
    ]


def deployed(deployment: Mapping[str, Any]) -> list[Shown]:
    """Resources of a deployed stack: the inputs that were given, with the values that the cloud has for them."""
    found = []
    for each in deployment.get("resources", []):
        if each["type"] == "pulumi:pulumi:Stack" or each.get("delete"):
            continue
        inputs, outputs = each.get("inputs", {}), each.get("outputs", {})
        found.append(
            Shown(
                urn=each["urn"],
                type=each["type"],
                name=each["urn"].rpartition("::")[2],
                inputs={key: _without_secrets(outputs.get(key, value)) for key, value in inputs.items()},
                parent=each.get("parent", ""),
                provider=each.get("provider", "").rpartition("::")[0],
                protect=each.get("protect", False),
                outputs=_without_secrets(outputs),
                depends_on=tuple(each.get("dependencies", [])),
            )
        )
    return found


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        if SIGNATURE in value:
            return SHOWN_SECRET
        return {key: _without_secrets(each) for key, each in value.items()}
    return [_without_secrets(each) for each in value] if isinstance(value, list) else value


def requests(resources: list[Shown]) -> tuple[list[Any], Any]:
    """A request for each resource, in order, and the one for the whole stack."""
    providers = {each.urn: each for each in resources if each.type.startswith("pulumi:providers:")}
    bodies = {each.urn: _struct(each.inputs) for each in resources}
    single = [_filled(proto.AnalyzeRequest(), each, bodies, providers) for each in resources]
    whole = proto.AnalyzeStackRequest()
    for each in resources:
        one = _filled(whole.resources.add(), each, bodies, providers)
        one.properties.CopyFrom(_struct({**each.inputs, **each.outputs}))
        one.parent = each.parent
        one.dependencies.extend(each.depends_on)
    return single, whole


def _filled(request: Any, shown: Shown, bodies: Mapping[str, Any], providers: Mapping[str, Shown]) -> Any:
    request.type, request.urn, request.name = shown.type, shown.urn, shown.name
    request.properties.CopyFrom(bodies[shown.urn])
    request.options.protect = shown.protect
    request.options.parent = shown.parent
    provider = providers.get(shown.provider)
    if provider is not None:
        request.provider.type, request.provider.urn, request.provider.name = provider.type, provider.urn, provider.name
        request.provider.properties.CopyFrom(bodies[provider.urn])
    return request


def _struct(inputs: Mapping[str, Any]) -> Any:
    text = json.dumps(inputs, default=str).replace(json.dumps(SHOWN_UNKNOWN), json.dumps(UNKNOWN))
    return json_format.Parse(text, struct_pb2.Struct())
