"""Names of objects: made where the program gives none, and as ids in the state.

An id is `namespace/name`, or the name alone for what lives in no namespace.
https://www.pulumi.com/docs/iac/concepts/resources/names/#autonaming
"""

import hashlib
from typing import Any, Final

from runner_platform_sandbox.providers.base import InvalidInputsError, Naming
from runner_platform_sandbox.providers.kubernetes.annotations import AUTONAMED
from runner_platform_sandbox.providers.validation import Failure

_HEX: Final = 8


def automatic(logical: str, wish: Naming) -> str:
    """Return a name for a resource that the program did not name: `<logical>-<8 hex>`.

    Raises:
        InvalidInputsError: The stack's configuration forbids made-up names.
    """
    if wish.disabled:
        raise InvalidInputsError([Failure("metadata.name", "is required: autonaming is disabled for this stack")])
    if wish.proposed:
        return wish.proposed
    return f"{logical}-{hashlib.sha256(wish.seed + logical.encode()).hexdigest()[:_HEX]}"


def named(metadata: dict[str, Any], old_metadata: dict[str, Any], logical: str, wish: Naming) -> dict[str, Any]:
    """Return metadata with a name: the given one, else the one made before, else a new one, marked as made up."""
    if metadata.get("name") or metadata.get("generateName"):
        return metadata
    notes = old_metadata.get("annotations") or {}
    made_before = notes.get(AUTONAMED) == "true" and old_metadata.get("name")
    name = made_before or automatic(logical, wish)
    return {**metadata, "name": name, "annotations": {**(metadata.get("annotations") or {}), AUTONAMED: "true"}}


def identifier(manifest: dict[str, Any]) -> str:
    """Return the id of an object."""
    metadata = manifest.get("metadata") or {}
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata.get('name')}" if namespace else str(metadata.get("name"))


def parse(identifier_: str) -> tuple[str, str]:
    """Return namespace (may be empty) and name of an id."""
    namespace, _, name = identifier_.rpartition("/")
    return namespace, name


def place(manifest: dict[str, Any]) -> list[Any]:
    """Return what makes two objects collide: namespace and name."""
    metadata = manifest.get("metadata") or {}
    return [metadata.get("namespace"), metadata.get("name")]


def digest(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a text, fit for a label."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
