"""Applying one object server-side, and what the API server's refusals mean to a person.

Owns field managers, the dry run, and the words of errors. Leaves out when to apply
(`objects`) and comparing (`comparing`).
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import hashlib
from typing import Any, Final

from runner_platform_sandbox.kubernetes.connection import KubeconfigError
from runner_platform_sandbox.kubernetes.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    UnauthorizedError,
    UnknownKindError,
    UnreachableError,
)
from runner_platform_sandbox.providers.base import Properties, ProviderError, Target
from runner_platform_sandbox.providers.kubernetes import annotations, naming
from runner_platform_sandbox.providers.kubernetes.access import Access
from runner_platform_sandbox.providers.kubernetes.kinds import of_object

Manifest = dict[str, Any]

MANAGER_KEY: Final = "__fieldManager"
UNAVAILABLE: Final = (UnreachableError, KubeconfigError, UnauthorizedError)
"""Errors that say nothing about the object, only that the cluster could not be asked."""
CLUSTER_ERRORS: Final = (ApiError, UnknownKindError, *UNAVAILABLE)


def manager_of(target: Target, inputs: Properties, olds: Properties) -> str:
    """Return a resource's field manager: given by annotation, else the one of its state, else made from its URN."""
    given = annotations.read(inputs, "patchFieldManager")
    digest = hashlib.sha256(target.urn.encode()).hexdigest()[:8]
    return str(given or olds.get(MANAGER_KEY) or f"pulumi-kubernetes-{digest}")


def apply(access: Access, target: Target, inputs: Properties, olds: Properties, *, dry_run: bool = False) -> Manifest:
    """Apply the inputs with the resource's field manager and return the live object.

    Raises:
        ProviderError: Somebody else owns one of the fields.
        ApiError: Any other refusal.
    """
    body = {key: value for key, value in inputs.items() if key != MANAGER_KEY}
    force = access.settings.patch_force or annotations.is_true(inputs, "patchForce")
    manager = manager_of(target, inputs, olds)
    try:
        return access.client.apply(body, force=force, dry_run=dry_run, field_manager=manager)
    except ConflictError as error:
        owners = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in error.causes)
        raise ProviderError(
            f"{called(inputs)} has fields that somebody else owns ({owners or error.message}); leave them out, or take "
            'them over with the annotation pulumi.com/patchForce: "true"'
        ) from error


def find(access: Access, manifest: Properties) -> Manifest | None:
    """Return the live object of this kind, namespace and name, None if there is none."""
    kind, metadata = of_object(manifest), manifest["metadata"]
    return access.client.find(kind.api_version, kind.kind, metadata["name"], metadata.get("namespace"))


def refuse_foreign(access: Access, target: Target, inputs: Properties) -> None:
    """Refuse to create an object that exists already, unless an interrupted run of this very resource made it.

    Raises:
        ProviderError: It is somebody else's, and nothing allows taking it over.
    """
    if access.settings.upsert or annotations.is_true(inputs, "patchForce"):
        return
    try:
        live = find(access, inputs)
    except (UnknownKindError, ForbiddenError):
        return  # applying says it better
    if live is None:
        return
    managers = {str(entry.get("manager")) for entry in live["metadata"].get("managedFields") or []}
    if manager_of(target, inputs, {}) not in managers:
        owners = ", ".join(sorted(managers)) or "somebody else"
        raise ProviderError(
            f"{called(inputs)} exists already and belongs to {owners}; import it "
            f"(`pulumi import {target.token} {target.name} {naming.identifier(live)}`), delete it, or set "
            "upsertExistingObjects on the provider"
        )


def lacks_permission(error: ForbiddenError) -> bool:
    """Tell a missing permission from an admission plugin's refusal: only the first says who cannot do what."""
    return " cannot " in error.message


def called(manifest: Properties) -> str:
    """Return how messages name an object."""
    return f"{manifest.get('kind')} {naming.identifier(manifest)}"


def words(error: Exception) -> str:
    """Return an error's own sentence, without method and path."""
    return error.message if isinstance(error, ApiError) else str(error)
