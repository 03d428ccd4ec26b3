"""Resources from the engine's messages, remembered until the whole stack is evaluated.

The engine first sends each resource's inputs (`Analyze`), then all resources with their outputs (`AnalyzeStack`). Outputs are an empty map
while a provider is not configured yet, so rules of a whole stack read the inputs that are remembered here, by URN. Messages are read
directly, which takes half the time of the SDK's conversion through JSON and proxies. Unknown values become `UNKNOWN`; secrets become their
value (no finding repeats one); assets become `UNKNOWN`, because no rule can look into them. Source of the marks:
https://github.com/pulumi/pulumi `sdk/go/common/resource/properties.go`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pulumi_policy import proxy
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY

from access.resource import UNKNOWN, Resource
from policies.type_tokens import CLUSTER, STACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WITH_OUTPUTS = frozenset({CLUSTER})
"""Types whose outputs a rule of stacks compares with."""
UNKNOWN_MARKS = frozenset(value for name, value in vars(proxy).items() if name.startswith("UNKNOWN_"))


class AnalyzedResources:
    """Resources by URN, of one run of the engine."""

    def __init__(self) -> None:
        self._by_urn: dict[str, Resource] = {}

    def remember(self, resource: Resource) -> None:
        """Keep a resource, in place of an earlier version."""
        self._by_urn[resource.urn] = resource

    def of_type(self, token: str) -> list[Resource]:
        """Return the resources of a type."""
        return [resource for resource in self._by_urn.values() if resource.type == token]

    def with_urns(self, urns: Iterable[str]) -> list[Resource]:
        """Return the resources with these URNs, without those that the engine has not sent."""
        return [self._by_urn[urn] for urn in urns if urn in self._by_urn]

    def missing(self, urns: Iterable[str]) -> list[str]:
        """Return the URNs of resources that the engine has not sent."""
        return [urn for urn in urns if urn not in self._by_urn]

    def clear(self) -> None:
        """Forget everything, at the end of a run."""
        self._by_urn = {}


def resource_of(request: Any, earlier: AnalyzedResources) -> Resource:
    """Read the resource of an `Analyze` call; the provider is one of the earlier resources."""
    provider = request.provider if request.HasField("provider") else None
    return Resource(
        urn=request.urn,
        type=request.type,
        name=request.name,
        inputs=plain_object(request.properties.fields),
        provider=provider.urn if provider else "",
        provider_inputs=_provider_inputs(provider, earlier) if provider else None,
        protect=request.options.protect,
        ignore_changes=tuple(request.options.ignoreChanges),
    )


def stack_resources(request: Any, earlier: AnalyzedResources) -> list[Resource]:
    """Return the resources of an `AnalyzeStack` call with the inputs of their `Analyze` calls, without resources that were never sent."""
    sent = {resource.urn: resource for resource in request.resources}
    return [_of_stack(resource, sent[resource.urn]) for resource in earlier.with_urns(stack_urns(request))]


def _of_stack(resource: Resource, sent: Any) -> Resource:
    """Add to a resource what only the call of the whole stack says: where its inputs come from, and some outputs."""
    dependencies = {key: tuple(sorted(entry.urns)) for key, entry in sent.propertyDependencies.items()}
    outputs = plain_object(sent.properties.fields) if resource.type in WITH_OUTPUTS else resource.outputs
    return replace(resource, outputs=outputs, property_dependencies=dependencies)


def stack_urns(request: Any) -> list[str]:
    """Return the URNs of all resources of an `AnalyzeStack` call, without the stack itself."""
    return [resource.urn for resource in request.resources if resource.type != STACK]


def _provider_inputs(provider: Any, earlier: AnalyzedResources) -> Mapping[str, Any]:
    remembered = earlier.with_urns([provider.urn])
    inputs: Mapping[str, Any] = remembered[0].inputs if remembered else plain_object(provider.properties.fields)
    return inputs


def plain_object(fields: Mapping[str, Any]) -> Any:
    """Convert the fields of a protobuf `Struct` into a plain object."""
    if SPECIAL_SIG_KEY in fields:
        secret = fields[SPECIAL_SIG_KEY].string_value == SPECIAL_SECRET_SIG
        return _plain_value(fields["value"]) if secret else UNKNOWN
    return {key: _plain_value(fields[key]) for key in fields}


def _plain_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in UNKNOWN_MARKS else text
    if kind == "struct_value":
        return plain_object(value.struct_value.fields)
    if kind == "list_value":
        return [_plain_value(member) for member in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return value.bool_value if kind == "bool_value" else None
