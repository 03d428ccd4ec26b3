"""Changes of the resources that the program registered: quicker than a change of the program, which needs a run of its own.

Each function here returns an `Edit` of the whole list. The names of resources are logical names.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.attacks.change import adding_statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from access.resource import Resource

    Resources = list[Resource]
    Edit = Callable[[Resources], Resources]


def with_resource(name: str, edit: Callable[[Resource], Resource]) -> Edit:
    """Change one resource."""
    return lambda resources: [edit(resource) if resource.name == name else resource for resource in resources]


def with_document(name: str, edit: Callable[[Any], Any], key: str = "policy") -> Edit:
    """Change the policy document of a resource."""

    def edited(resources: Resources) -> Resources:
        resource = _named(resources, name)
        document = resource.inputs[key]
        document = json.loads(document) if isinstance(document, str) else copy.deepcopy(document)
        return _replaced(resources, resource, {key: json.dumps(edit(document))})

    return edited


def granting(name: str, action: str, resource: Any = "*", **more: Any) -> Edit:
    """Add a statement to the permissions in a resource."""
    return with_document(name, adding_statement({"Action": action, "Resource": resource, **more}))


def admitting(name: str, principal: Any, action: Any, **more: Any) -> Edit:
    """Add a statement to the policy of a bucket, a key or a repository."""
    return with_document(name, adding_statement({"Principal": principal, "Action": action, **more}))


def trusting(name: str, principal: Any, **more: Any) -> Edit:
    """Add a statement to the trust of a role."""
    statement = {"Principal": principal, "Action": "sts:AssumeRole", **more}
    return with_document(name, adding_statement(statement), "assumeRolePolicy")


def with_values(name: str, /, **inputs: Any) -> Edit:
    """Change inputs of a resource."""
    return lambda resources: _replaced(resources, _named(resources, name), inputs)


def with_further(token: str, like: str, **inputs: Any) -> Edit:
    """Add a resource of a type in the account of another resource, as the last of all."""

    def edited(resources: Resources) -> Resources:
        model = _named(resources, like)
        urn = f"{model.urn.partition('::')[0]}::runner-platform::{token}::further"
        further = replace(model, urn=urn, type=token, name="further", inputs=inputs, outputs={}, parent="")
        return [*resources, further]

    return edited


def registered_first(edit: Edit) -> Edit:
    """Make the last resource of a change the first of all."""

    def edited(resources: Resources) -> Resources:
        *earlier, last = edit(resources)
        return [last, *earlier]

    return edited


def _named(resources: Resources, name: str) -> Resource:
    (resource,) = [
        resource for resource in resources if resource.name == name and not resource.type.startswith("runner")
    ]
    return resource


def _replaced(resources: Resources, resource: Resource, inputs: dict[str, Any]) -> Resources:
    changed = replace(resource, inputs={**resource.inputs, **inputs})
    return [changed if candidate.urn == resource.urn else candidate for candidate in resources]
