"""`Resource`: one resource of a stack, whether a program registers it, the engine shows it to a policy pack, or a state holds it.

Three adapters fill it: `runner_platform.check.mock_run` from a mock run, `policies.engine_messages` from a request of the engine, and `deployed`
below from an exported state. Plain data, no Pulumi.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Final

UNKNOWN_TEXT: Final = "[unknown]"
"""An unknown value in `resources --json`."""
ENGINE_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""An unknown value in the engine's messages. Source: https://github.com/pulumi/pulumi `sdk/python/lib/pulumi/runtime/rpc.py`."""
SECRET: Final = "[secret]"  # noqa: S105  # stands for a value that is never kept
"""A secret value: no rule needs one, and no message may hold one."""
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
"""Key that marks secrets and assets in a state. Source: https://github.com/pulumi/pulumi `sdk/go/common/resource/properties.go`."""
STACK_TYPE: Final = "pulumi:pulumi:Stack"
AWS_PROVIDER: Final = "pulumi:providers:aws"


class Unknown(Enum):
    """A value that is not known yet."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One registered or deployed resource."""

    urn: str
    type: str
    """Type token, such as `aws:iam/role:Role`."""
    name: str
    """Logical name."""
    inputs: Mapping[str, Any] = field(hash=False)
    """Wire names (camelCase). Unknown values are `UNKNOWN`; policy documents are JSON text or objects."""
    outputs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Values that the cloud, or a mock, answered. A mock run keeps them for a few types only."""
    parent: str = ""
    """URN of the parent; empty below the stack itself."""
    provider: str = ""
    """URN of the provider; empty for components and providers."""
    provider_id: str = ""
    provider_inputs: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    """Inputs of the provider; None without a provider, or when the engine did not show it."""
    custom: bool = True
    """False for components."""
    protect: bool | None = False
    """None when an older `resources --json` did not list it."""
    retain_on_delete: bool | None = False
    """None likewise."""
    depends_on: tuple[str, ...] = ()
    """URNs, sorted."""
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """URNs, sorted, of the resources whose outputs are in an input, by the input's wire name."""
    ignore_changes: tuple[str, ...] = ()
    """Inputs that an update leaves alone."""
    deleted_with: str = ""
    """URN of the resource whose deletion deletes this one too."""
    delete_timeout: str = ""
    aliases: tuple[str, ...] = ()
    """Earlier URNs."""
    source: str = ""
    """Line of the program that registers it, `file:line`; empty when unknown."""

    @property
    def stack(self) -> str:
        """Name of the stack, from the URN `urn:pulumi:<stack>::…`; empty for another form of URN."""
        head = self.urn.partition("::")[0]
        return head.removeprefix("urn:pulumi:") if head.startswith("urn:pulumi:") else ""

    @property
    def account_name(self) -> str | None:
        """Name of the AWS account: the logical name of the provider; None outside AWS."""
        return self.provider.rpartition("::")[2] or None if self.type.startswith("aws:") else None

    @cached_property
    def account(self) -> str:
        """Id of the AWS account, twelve digits; empty outside AWS, or when the provider is not pinned to exactly one account."""
        ids = account_ids(self.provider_inputs or {})
        return ids[0] if self.type.startswith("aws:") and len(ids) == 1 else ""


def account_ids(provider_inputs: Mapping[str, Any]) -> list[str]:
    """Account ids that an AWS provider is pinned to; the SDK may encode the list as JSON text."""
    ids = provider_inputs.get("allowedAccountIds")
    if isinstance(ids, str):
        try:
            ids = json.loads(ids)
        except json.JSONDecodeError:
            return []
    return [str(account) for account in ids] if isinstance(ids, list) else []


def pinned_to(account: str) -> dict[str, Any]:
    """Inputs of an AWS provider that is pinned to one account."""
    return {"allowedAccountIds": [account]}


def deployed(deployment: Mapping[str, Any]) -> list[Resource]:
    """Resources of a deployed stack, with the cloud's value of every input; secrets are `[secret]`.

    Args:
        deployment: member `deployment` of the output of `pulumi stack export`.
    """
    states = [
        state for state in deployment.get("resources", []) if state["type"] != STACK_TYPE and not state.get("delete")
    ]
    live_inputs = {state["urn"]: _live_inputs(state) for state in states}
    return [_deployed(state, live_inputs) for state in states]


def _live_inputs(state: Mapping[str, Any]) -> dict[str, Any]:
    outputs = state.get("outputs", {})
    return {key: without_secrets(outputs.get(key, value)) for key, value in state.get("inputs", {}).items()}


def _deployed(state: Mapping[str, Any], live_inputs: Mapping[str, Mapping[str, Any]]) -> Resource:
    provider, _, provider_id = state.get("provider", "").rpartition("::")
    return Resource(
        urn=state["urn"],
        type=state["type"],
        name=state["urn"].rpartition("::")[2],
        inputs=live_inputs[state["urn"]],
        outputs=without_secrets(state.get("outputs", {})),
        parent=state.get("parent", ""),
        provider=provider,
        provider_id=provider_id,
        provider_inputs=live_inputs.get(provider),
        custom=state.get("custom", True),
        protect=state.get("protect", False),
        retain_on_delete=state.get("retainOnDelete", False),
        depends_on=tuple(state.get("dependencies", [])),
        property_dependencies={
            key: tuple(sorted(urns or ())) for key, urns in state.get("propertyDependencies", {}).items()
        },
        deleted_with=state.get("deletedWith", ""),
        aliases=tuple(state.get("aliases", [])),
    )


def without_secrets(value: Any) -> Any:
    """The value with every secret and asset of a state replaced by `[secret]`."""
    if isinstance(value, Mapping):
        if SIGNATURE in value:
            return SECRET
        return {key: without_secrets(member) for key, member in value.items()}
    return [without_secrets(member) for member in value] if isinstance(value, list) else value


def from_wire(value: Any) -> Any:
    """The value with every mark of an unknown value replaced by `UNKNOWN`."""
    if value in (UNKNOWN_TEXT, ENGINE_UNKNOWN):
        return UNKNOWN
    if isinstance(value, Mapping):
        return {key: from_wire(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [from_wire(member) for member in value]
    return value


def at(value: Any, *path: str) -> Any:
    """The value at a path of keys; None when it is absent, `UNKNOWN` when it or a value above it is unknown."""
    for key in path:
        if value is UNKNOWN:
            return UNKNOWN
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def listed(value: Any) -> list[Any]:
    """The value as a list: a list as it is, None as an empty list, anything else (`UNKNOWN` too) as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
