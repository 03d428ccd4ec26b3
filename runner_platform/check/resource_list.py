"""The JSON of `resources --json`: a list of a stack's resources, to write and to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from access.resource import AWS_PROVIDER, UNKNOWN, UNKNOWN_TEXT, Resource, from_wire
from runner_platform.urns import urn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def to_json(resources: Sequence[Resource], *, options: bool = False) -> list[dict[str, Any]]:
    """List resources as `{type, name, parent, provider, account, inputs}`.

    `account` is the account's name, null outside AWS; `provider` is a reference, `<urn>::<id>`; secrets are `[secret]`, unknown values
    `[unknown]`.

    Args:
        resources: all resources of a stack, providers too.
        options: add `urn` and `options: {aliases, protect, retainOnDelete}`.
    """
    accounts = {resource.urn: resource.name for resource in resources if resource.type == AWS_PROVIDER}
    return [
        {
            "type": resource.type,
            "name": resource.name,
            "parent": resource.parent or None,
            "provider": f"{resource.provider}::{resource.provider_id}" if resource.provider else None,
            "account": accounts.get(resource.provider) if resource.type.startswith("aws:") else None,
            "inputs": _with_text_for_unknown(resource.inputs),
            **(_options(resource) if options else {}),
        }
        for resource in resources
    ]


def _options(resource: Resource) -> dict[str, Any]:
    return {
        "urn": resource.urn,
        "options": {
            "aliases": list(resource.aliases),
            "protect": resource.protect,
            "retainOnDelete": resource.retain_on_delete,
        },
    }


def _with_text_for_unknown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_text_for_unknown(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_text_for_unknown(member) for member in value]
    return UNKNOWN_TEXT if value is UNKNOWN else value


def from_json(entries: Iterable[Mapping[str, Any]], stack: str, project: str) -> list[Resource]:
    """Resources from the JSON list of one stack.

    Args:
        entries: members of the list, with or without `options`.
        stack: name of the stack, for URNs that the list does not hold.
        project: name of the project, for the same.
    """
    by_urn = {_urn(entry, stack, project): entry for entry in entries}
    inputs = {resource_urn: from_wire(entry["inputs"]) for resource_urn, entry in by_urn.items()}
    return [_resource(resource_urn, entry, inputs) for resource_urn, entry in by_urn.items()]


def _urn(entry: Mapping[str, Any], stack: str, project: str) -> str:
    return entry.get("urn") or urn(stack, project, entry["parent"] or "", entry["type"], entry["name"])


def _resource(resource_urn: str, entry: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]]) -> Resource:
    provider, _, provider_id = (entry["provider"] or "").rpartition("::")
    options = entry.get("options", {})
    return Resource(
        urn=resource_urn,
        type=entry["type"],
        name=entry["name"],
        inputs=inputs[resource_urn],
        parent=entry["parent"] or "",
        provider=provider,
        provider_id=provider_id,
        provider_inputs=inputs.get(provider),
        protect=options.get("protect"),
        retain_on_delete=options.get("retainOnDelete"),
        aliases=tuple(options.get("aliases", ())),
    )
