"""Server-side apply of one object, and by dry run the question what an update would change.

Owns field managers, error texts, and the engine's diff: first the inputs, then the API server's answer to a dry
run, so that a quantity in another notation is no change, and a field that cannot change is known before an update.
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import hashlib
from typing import Any, Final

from runner_platform_sandbox.kubernetes.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    UnauthorizedError,
    UnknownKindError,
    UnreachableError,
)
from runner_platform_sandbox.kubernetes.kubeconfig import KubeconfigError
from runner_platform_sandbox.providers.kubernetes import differences
from runner_platform_sandbox.providers.kubernetes.cluster_access import Access
from runner_platform_sandbox.providers.kubernetes.manifest import (
    Kind,
    annotation,
    annotation_is_true,
    identifier,
    kind_of,
    namespace_and_name,
    replacing_paths,
)
from runner_platform_sandbox.providers.stand_in import Diff, Properties, ProviderError, Target
from runner_platform_sandbox.providers.wire import has_unknown

Manifest = dict[str, Any]

MANAGER_KEY: Final = "__fieldManager"
UNAVAILABLE: Final = (UnreachableError, KubeconfigError, UnauthorizedError)
"""Errors about the connection to the cluster, not about the object."""
CLUSTER_ERRORS: Final = (ApiError, UnknownKindError, *UNAVAILABLE)


_FIXED_FIELD: Final = ("immutable", "may not change once set", "updates to")
"""Texts of the API server about a field that cannot change."""
_CHANGES: Final = ""
"""Stands for a change in place in the result of `_dry_run_changes`."""


def manager_of(target: Target, inputs: Properties, olds: Properties) -> str:
    """Return a resource's field manager: from the annotation, from the state, or derived from the URN."""
    annotated = annotation(inputs, "patchFieldManager")
    digest = hashlib.sha256(target.urn.encode()).hexdigest()[:8]
    return str(annotated or olds.get(MANAGER_KEY) or f"pulumi-kubernetes-{digest}")


def apply(access: Access, target: Target, inputs: Properties, olds: Properties, *, dry_run: bool = False) -> Manifest:
    """Apply the inputs with the resource's field manager and return the live object.

    Raises:
        ProviderError: Another manager owns one of the fields.
        ApiError: The API server refused for another reason.
    """
    body = {key: value for key, value in inputs.items() if key != MANAGER_KEY}
    force = access.settings.patch_force or annotation_is_true(inputs, "patchForce")
    manager = manager_of(target, inputs, olds)
    try:
        return access.client.apply(body, force=force, dry_run=dry_run, field_manager=manager)
    except ConflictError as error:
        owners = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in error.causes)
        raise ProviderError(
            f"{describe(inputs)} has fields that another manager owns ({owners or error.message}); leave these fields out, or "
            'take them over with the annotation pulumi.com/patchForce: "true"'
        ) from error


def find(access: Access, manifest: Properties) -> Manifest | None:
    """Return the live object of the same kind, namespace and name, or None."""
    kind, metadata = kind_of(manifest), manifest["metadata"]
    return access.client.find(kind.api_version, kind.kind, metadata["name"], metadata.get("namespace"))


def refuse_foreign(access: Access, target: Target, inputs: Properties) -> None:
    """Refuse to create an object that exists already, unless an interrupted run of this resource created it.

    Raises:
        ProviderError: The object has another owner, and neither settings nor annotation allow to take it over.
    """
    if access.settings.upsert or annotation_is_true(inputs, "patchForce"):
        return
    try:
        live = find(access, inputs)
    except (UnknownKindError, ForbiddenError):
        return  # the apply gives a better message
    if live is None:
        return
    managers = {str(entry.get("manager")) for entry in live["metadata"].get("managedFields") or []}
    if manager_of(target, inputs, {}) not in managers:
        owners = ", ".join(sorted(managers)) or "another owner"
        raise ProviderError(
            f"{describe(inputs)} exists already and belongs to {owners}; import it "
            f"(`pulumi import {target.token} {target.name} {identifier(live)}`), delete it, or set "
            "upsertExistingObjects on the provider"
        )


def lacks_permission(error: ForbiddenError) -> bool:
    """Tell a missing permission ('user X cannot get Y') from an admission plugin's refusal."""
    return " cannot " in error.message


def describe(manifest: Properties) -> str:
    """Return kind and id of an object, for messages."""
    return f"{manifest.get('kind')} {identifier(manifest)}"


def message_of(error: Exception) -> str:
    """Return the message of an error without method and path."""
    return error.message if isinstance(error, ApiError) else str(error)


def compare(access: Access, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Diff:
    """Compare the state of an object with its new inputs.

    What the API server refuses is no error here: the engine compares in a refresh too, which changes nothing. The
    update, or its preview, says why.
    """
    changes = differences.changed(old_inputs, news)
    if not changes:
        return Diff()
    kind = kind_of(news)
    replaces = replacing_paths(kind, changes, mutable=_mutable(access, kind))
    same_place = namespace_and_name(old_inputs) == namespace_and_name(news)
    if same_place and not has_unknown(news) and not access.problem():
        dry_run = _dry_run_changes(access, target, olds, news)
        if dry_run == []:
            return Diff()
        if dry_run is not None:
            replaces = sorted({*replaces, *dry_run} - {_CHANGES})
    return Diff(changes=changes, replaces=replaces, delete_before_replace=bool(replaces) and same_place)


def _dry_run_changes(access: Access, target: Target, olds: Properties, news: Properties) -> list[str] | None:
    """Return the fields that need a new object, or `[_CHANGES]` for an update in place.

    An empty list means no change, None that the API server gives no answer to go by.
    """
    try:
        live = find(access, news)
        if live is None:
            return None
        result = apply(access, target, news, olds, dry_run=True)
    except InvalidError as error:
        return fixed_fields(error) or None
    except (ProviderError, *CLUSTER_ERRORS):
        return None
    return (
        [_CHANGES]
        if differences.changed(differences.without_server_fields(live), differences.without_server_fields(result))
        else []
    )


def fixed_fields(error: InvalidError) -> list[str]:
    """Return the fields that the API server refuses to change in place."""
    return [
        str(cause.get("field"))
        for cause in error.causes
        if any(text in str(cause.get("message")) for text in _FIXED_FIELD)
    ]


def _mutable(access: Access, kind: Kind) -> bool:
    return access.settings.secret_mutable if kind.kind == "Secret" else access.settings.config_map_mutable
