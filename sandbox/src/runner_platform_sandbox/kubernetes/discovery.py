"""Which URL path serves an apiVersion and kind.

Asks the server per group version and keeps the answer; asks again when a kind is missing, since custom resource
definitions appear while a client lives. API: https://kubernetes.io/docs/reference/using-api/#api-groups
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.errors import NotFoundError, UnknownKindError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Resource:
    """How one kind is served."""

    api_version: str
    kind: str
    plural: str
    """Path segment, such as `deployments`."""
    namespaced: bool
    verbs: frozenset[str]

    def path(self, name: str | None = None, namespace: str | None = None, subresource: str = "") -> str:
        """Compose the path of an object, or of the collection when there is no name.

        Raises:
            ValueError: An object of a namespaced kind without a namespace.
        """
        if self.namespaced and name is not None and not namespace:
            raise ValueError(f"{self.kind} {name!r} needs a namespace: set metadata.namespace")
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [root + self.api_version]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts.extend(part for part in (name, subresource) if part)
        return "/".join(parts)


class Discovery:
    """Remembers what the server serves.

    Args:
        fetch: Reads one path of the server.
    """

    def __init__(self, fetch: Callable[[str], dict[str, Any]]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Resource] = {}

    def find(self, api_version: str, kind: str) -> Resource:
        """Return how a kind is served, asking the server if it is not known yet.

        Raises:
            UnknownKindError: The server does not serve it.
        """
        known = self._known.get((api_version, kind))
        if known is not None:
            return known
        with self._lock:
            for resource in self.group_version(api_version):
                self._known[api_version, resource.kind] = resource
        try:
            return self._known[api_version, kind]
        except KeyError:
            raise UnknownKindError(
                f"the API server serves no {kind} in {api_version}: is its custom resource definition installed?"
            ) from None

    def group_version(self, api_version: str) -> list[Resource]:
        """Read the kinds of one group version; empty if the server does not know it."""
        root = "/api/" if "/" not in api_version else "/apis/"
        try:
            answer = self._fetch(root + api_version)
        except NotFoundError:
            return []
        return [
            Resource(
                api_version=api_version,
                kind=item["kind"],
                plural=item["name"],
                namespaced=bool(item["namespaced"]),
                verbs=frozenset(item["verbs"]),
            )
            for item in answer["resources"]
            if "/" not in item["name"]
        ]
