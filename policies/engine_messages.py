"""Resources from the engine's messages, remembered until the whole stack is evaluated.

The engine first sends each resource's inputs (`Analyze`), then all resources with their outputs (`AnalyzeStack`). Outputs are an empty map
while a provider is not configured yet, so rules of a whole stack read the inputs that are remembered here, by URN. Messages are read
directly, which takes half the time of the SDK's conversion through JSON and proxies. Unknown values become `UNKNOWN`; secrets become their
value (no finding repeats one); assets become `UNKNOWN`, because no rule can look into them. Source of the marks:
https://github.com/pulumi/pulumi `sdk/go/common/resource/properties.go`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pulumi_policy import proxy
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY

from access.resource import UNKNOWN
from policies.fields import decoded, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pulumi_policy import ResourceValidationArgs

AWS_PROVIDER = "pulumi:providers:aws"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One resource: what the engine showed of it, as plain values."""

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    """By wire name; unknown values are `UNKNOWN`."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What the cloud answered; only of types whose answers rules compare with, and only when the whole stack is judged."""
    provider: str = ""
    """URN of its provider; empty for components and providers."""
    provider_inputs: Mapping[str, Any] | None = None
    """Inputs of the provider; None where there is none, or the engine did not show it."""
    protect: bool = False

    @property
    def allowed_accounts(self) -> list[str] | None:
        """Account ids that the resource's provider is pinned to; None where it is pinned to none."""
        pinned = decoded((self.provider_inputs or {}).get("allowedAccountIds"))
        return [str(each) for each in pinned] if isinstance(pinned, list) else None

    @property
    def account(self) -> str:
        """Id of the AWS account that it goes to; empty outside AWS, or where the provider is pinned to no single one."""
        pinned = self.allowed_accounts
        return pinned[0] if self.type.startswith("aws:") and pinned is not None and len(pinned) == 1 else ""


def seen(args: ResourceValidationArgs) -> Seen:
    """What a call of `Analyze` shows."""
    provider = args.provider
    return Seen(
        urn=args.urn,
        type=args.resource_type,
        name=args.name,
        inputs=plain(args.props),
        provider=provider.urn if provider else "",
        provider_inputs=plain(provider.props) if provider else None,
        protect=bool(args.opts.protect) if args.opts else False,
    )


class AnalyzedResources:
    """Resources by URN, of one run of the engine."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def remember(self, resource: Seen) -> None:
        """Keep the newest look at a resource."""
        self._seen[resource.urn] = resource

    def of_type(self, token: str) -> list[Seen]:
        """Resources of a type that were seen so far."""
        return [each for each in self._seen.values() if each.type == token]

    def known(self, urns: Iterable[str]) -> list[Seen]:
        """The resources of these URNs, as far as they were shown."""
        return [self._seen[urn] for urn in urns if urn in self._seen]

    def never_shown(self, urns: Iterable[str]) -> list[str]:
        """URNs of resources that the engine has not shown."""
        return [urn for urn in urns if urn not in self._seen]

    def forget(self) -> None:
        """End a run."""
        self._seen = {}


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


def shown(request: Any, memory: AnalyzedResources) -> Seen:
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


def _inputs(provider: Any, memory: AnalyzedResources) -> Mapping[str, Any]:
    known = memory.known([provider.urn])
    inputs: Mapping[str, Any] = known[0].inputs if known else read(provider.properties.fields)
    return inputs
