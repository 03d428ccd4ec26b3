"""Server-side apply of one object, and by dry run the question what an update would change.

Owns field managers, the words of errors, and the engine's diff: first the inputs, then the API server's answer to a dry
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
    NotFoundError,
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
    identifier,
    is_set,
    kind_of,
    namespace_and_name,
    replacing_paths,
)
from runner_platform_sandbox.providers.stand_in import Diff, Properties, ProviderError, Target
from runner_platform_sandbox.providers.wire import has_unknown

Manifest = dict[str, Any]

MANAGER_KEY: Final = "__fieldManager"
UNAVAILABLE: Final = (UnreachableError, KubeconfigError, UnauthorizedError)
"""Errors that say nothing about the object, only that the cluster could not be asked."""
CLUSTER_ERRORS: Final = (ApiError, UnknownKindError, *UNAVAILABLE)


_FIXED_FIELD: Final = ("immutable", "may not change once set", "updates to")
"""What the API server says about a field that cannot change."""
_CHANGES: Final = ""
"""In an answer of `_ask`: something changes, in place."""


def manager_of(target: Target, inputs: Properties, olds: Properties) -> str:
    """Return a resource's field manager: given by annotation, else the one of its state, else made from its URN."""
    given = annotation(inputs, "patchFieldManager")
    digest = hashlib.sha256(target.urn.encode()).hexdigest()[:8]
    return str(given or olds.get(MANAGER_KEY) or f"pulumi-kubernetes-{digest}")


def apply(access: Access, target: Target, inputs: Properties, olds: Properties, *, dry_run: bool = False) -> Manifest:
    """Apply the inputs with the resource's field manager and return the live object.

    Raises:
        ProviderError: Somebody else owns one of the fields.
        ApiError: Any other refusal.
    """
    body = {key: value for key, value in inputs.items() if key != MANAGER_KEY}
    force = access.settings.patch_force or is_set(inputs, "patchForce")
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
    kind, metadata = kind_of(manifest), manifest["metadata"]
    return access.client.find(kind.api_version, kind.kind, metadata["name"], metadata.get("namespace"))


def refuse_foreign(access: Access, target: Target, inputs: Properties) -> None:
    """Refuse to create an object that exists already, unless an interrupted run of this very resource made it.

    Raises:
        ProviderError: It is somebody else's, and nothing allows taking it over.
    """
    if access.settings.upsert or is_set(inputs, "patchForce"):
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
            f"(`pulumi import {target.token} {target.name} {identifier(live)}`), delete it, or set "
            "upsertExistingObjects on the provider"
        )


def lacks_permission(error: ForbiddenError) -> bool:
    """Tell a missing permission from an admission plugin's refusal: only the first says who cannot do what."""
    return " cannot " in error.message


def called(manifest: Properties) -> str:
    """Return how messages name an object."""
    return f"{manifest.get('kind')} {identifier(manifest)}"


def words(error: Exception) -> str:
    """Return an error's own sentence, without method and path."""
    return error.message if isinstance(error, ApiError) else str(error)


def compare(access: Access, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Diff:
    """Compare the state of an object with its new inputs.

    Raises:
        ProviderError: The API server would refuse the update.
    """
    changes = differences.changed(old_inputs, news)
    if not changes:
        return Diff()
    kind = kind_of(news)
    replaces = replacing_paths(kind, changes, mutable=_mutable(access, kind))
    same_place = namespace_and_name(old_inputs) == namespace_and_name(news)
    if same_place and not has_unknown(news) and not access.problem():
        answer = _ask(access, target, olds, news)
        if answer == []:
            return Diff()
        if answer is not None:
            replaces = sorted({*replaces, *answer} - {_CHANGES})
    return Diff(changes=changes, replaces=replaces, delete_before_replace=bool(replaces) and same_place)


def _ask(access: Access, target: Target, olds: Properties, news: Properties) -> list[str] | None:
    """Return the fields that only a new object can have, `_CHANGES` where the update can be done in place.

    Nothing if nothing would change; None where the API server cannot be asked.
    """
    try:
        live = find(access, news)
        if live is None:
            return None
        would = apply(access, target, news, olds, dry_run=True)
    except InvalidError as error:
        fixed = [str(cause.get("field")) for cause in error.causes if _fixed(cause)]
        if fixed:
            return fixed
        raise ProviderError(f"{called(news)} would be refused: {error.message}") from error
    except ForbiddenError as error:
        if lacks_permission(error):
            return None
        raise ProviderError(f"{called(news)} would be refused: {error.message}") from error
    except (NotFoundError, UnknownKindError, *UNAVAILABLE):
        return None
    except ApiError as error:
        raise ProviderError(f"{called(news)} would be refused: {error.message}") from error
    return [_CHANGES] if differences.changed(differences.wanted(live), differences.wanted(would)) else []


def _fixed(cause: dict[str, Any]) -> bool:
    return any(words in str(cause.get("message")) for words in _FIXED_FIELD)


def _mutable(access: Access, kind: Kind) -> bool:
    return access.settings.secret_mutable if kind.kind == "Secret" else access.settings.config_map_mutable
