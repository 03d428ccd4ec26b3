"""A small client of the Kubernetes REST API.

Owns: objects as plain dictionaries, server-side apply, the URL path of each kind. Leaves out HTTP and watches
(`transport`), credentials (`kubeconfig`), typed models and caches.
Why not a library: docs/adr/0010-sandbox-kubernetes-client.md.
API: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runner_platform_sandbox.kubernetes.errors import ApiError, NotFoundError, UnknownKindError, UnreachableError
from runner_platform_sandbox.kubernetes.kubeconfig import Connection, read_kubeconfig
from runner_platform_sandbox.kubernetes.transport import Transport, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Objects = list[dict[str, Any]]

FIELD_MANAGER = "runner-platform-sandbox"

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class KubeClient:
    """A client of one API server; safe to share between threads.

    Args:
        server: Base URL, such as `https://127.0.0.1:6443`.
        ca_file: File with the authorities to trust, PEM.
        ca_data: The authorities as text; wins over `ca_file`.
        token: Returns the bearer token. After a 401 the client calls its method `invalidate`, if any, and asks again once.
        connection: Replaces the arguments above.
        field_manager: Owner of the fields that this client writes.
    """

    def __init__(
        self,
        server: str = "",
        *,
        ca_file: str | Path | None = None,
        ca_data: str | None = None,
        token: Callable[[], str] | None = None,
        connection: Connection | None = None,
        field_manager: str = FIELD_MANAGER,
    ) -> None:
        if connection is None:
            authority = ca_data or (Path(ca_file).read_text() if ca_file else None)
            connection = Connection(server=server.rstrip("/"), ca_pem=authority, token=token)
        self.connection = connection
        self.field_manager = field_manager
        self.transport = Transport(connection)
        self.discovery = Discovery(lambda path: self.request("GET", path))

    @classmethod
    def from_kubeconfig(
        cls, path: str | Path, *, context: str | None = None, field_manager: str = FIELD_MANAGER
    ) -> Self:
        """Open the current (or named) context of a kubeconfig file."""
        file = Path(path)
        connection = read_kubeconfig(file.read_text(), context=context, folder=file.parent)
        return cls(connection=connection, field_manager=field_manager)

    @classmethod
    def from_kubeconfig_text(cls, text: str, *, context: str | None = None, field_manager: str = FIELD_MANAGER) -> Self:
        """Open the current (or named) context of a kubeconfig in YAML or JSON text."""
        return cls(connection=read_kubeconfig(text, context=context), field_manager=field_manager)

    def close(self) -> None:
        """Close idle connections and end calls that wait before a retry."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the JSON answer; a text answer becomes `{"text": ...}`."""
        return self.transport.request(method, path, query=query, body=body, content_type=content_type)

    def resource(self, api_version: str, kind: str) -> Resource:
        """Look up how the server serves a kind.

        Raises:
            UnknownKindError: The server does not serve this kind.
        """
        return self.discovery.find(api_version, kind)

    def path(
        self, api_version: str, kind: str, name: str | None = None, namespace: str | None = None, subresource: str = ""
    ) -> str:
        """Compose the URL path of an object, or of the collection if `name` is None."""
        return self.resource(api_version, kind).path(name, namespace, subresource)

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, subresource: str = ""
    ) -> dict[str, Any]:
        """Read one object.

        Raises:
            NotFoundError: The object does not exist.
        """
        return self.request("GET", self.path(api_version, kind, name, namespace, subresource))

    def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """Read one object, or return None if it does not exist."""
        try:
            return self.get(api_version, kind, name, namespace)
        except NotFoundError:
            return None

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Objects:
        """Read all objects of a kind, in one namespace or in all, with apiVersion and kind filled in."""
        return self.list_with_version(
            api_version, kind, namespace, label_selector=label_selector, field_selector=field_selector
        )[0]

    def list_with_version(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> tuple[Objects, str]:
        """Read all objects and the resource version to start a watch from."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        answer = self.request("GET", self.path(api_version, kind, None, namespace), query=query)
        items = [{"apiVersion": api_version, "kind": kind, **item} for item in answer.get("items") or []]
        return items, str(answer["metadata"]["resourceVersion"])

    def create(self, body: Mapping[str, Any], *, subresource: str = "", name: str | None = None) -> dict[str, Any]:
        """Create an object, or a subresource such as `serviceaccounts/token` and `pods/eviction` of the object `name`."""
        metadata = body.get("metadata") or {}
        kind = ("v1", "ServiceAccount") if subresource == "token" else (body["apiVersion"], body["kind"])
        if subresource == "eviction":
            kind = ("v1", "Pod")
        path = self.path(kind[0], kind[1], name, metadata.get("namespace"), subresource)
        return self.request("POST", path, query={"fieldManager": self.field_manager}, body=body)

    def apply(
        self,
        body: Mapping[str, Any],
        *,
        force: bool = True,
        dry_run: bool = False,
        subresource: str = "",
        field_manager: str | None = None,
    ) -> dict[str, Any]:
        """Apply an object server-side: create it, or own exactly the fields in `body`.

        Raises:
            ConflictError: `force` is off and another manager owns one of the fields.
        """
        query = {
            "fieldManager": field_manager or self.field_manager,
            "force": force,
            "dryRun": "All" if dry_run else None,
        }
        path = self._path_of(body, subresource)
        return self.request("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None,
        body: Any,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> dict[str, Any]:
        """Patch an object; the content type selects the kind of patch."""
        path = self.path(api_version, kind, name, namespace, subresource)
        query = {"fieldManager": self.field_manager}
        return self.request("PATCH", path, query=query, body=body, content_type=content_type)

    def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str | None = None,
        grace_seconds: int | None = None,
        uid: str | None = None,
    ) -> bool:
        """Delete an object; return False if it did not exist.

        Args:
            api_version: Such as `apps/v1`.
            kind: Such as `Deployment`.
            name: Name of the object.
            namespace: None for cluster-scoped kinds.
            propagation: Foreground, Background or Orphan; None for the kind's default.
            grace_seconds: 0 removes a pod at once.
            uid: The server refuses (409) if another object has the name by now.
        """
        options = {
            "propagationPolicy": propagation,
            "gracePeriodSeconds": grace_seconds,
            "preconditions": {"uid": uid} if uid else None,
        }
        body = {key: value for key, value in options.items() if value is not None}
        try:
            self.request("DELETE", self.path(api_version, kind, name, namespace), body=body or None)
        except NotFoundError:
            return False
        return True

    def watch(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        resource_version: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        timeout_seconds: int = 300,
    ) -> Watch:
        """Open a watch: an iterator over `(type, object)` that any thread can close.

        Raises:
            ExpiredError: The resource version is too old; list again. Raised by the iteration too.
        """
        query = {
            "watch": True,
            "allowWatchBookmarks": True,
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "timeoutSeconds": timeout_seconds,
        }
        path = self.path(api_version, kind, None, namespace)
        return Watch(self.transport.send("GET", path, query=query, stream=True), api_version, kind)

    def version(self) -> str:
        """Read the server's version, such as `v1.35.4`."""
        return str(self.request("GET", "/version")["gitVersion"])

    def ready(self) -> bool:
        """Ask `/readyz` once."""
        try:
            return self.request("GET", "/readyz").get("text") == "ok"
        except (ApiError, UnreachableError):
            return False

    def _path_of(self, body: Mapping[str, Any], subresource: str) -> str:
        metadata = body["metadata"]
        return self.path(body["apiVersion"], body["kind"], metadata["name"], metadata.get("namespace"), subresource)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """How the server serves one kind."""

    api_version: str
    kind: str
    plural: str
    """Path segment, such as `deployments`."""
    namespaced: bool
    verbs: frozenset[str]

    def path(self, name: str | None = None, namespace: str | None = None, subresource: str = "") -> str:
        """Compose the path of an object, or of the collection if `name` is None.

        Raises:
            ValueError: The kind is namespaced and the object has no namespace.
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
    """The kinds that a server serves, read for each group version and cached.

    A kind that is missing in the cache is looked up again: custom resource definitions appear while a client lives.

    Args:
        fetch: Reads a path of the server.
    """

    def __init__(self, fetch: Callable[[str], dict[str, Any]]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Resource] = {}

    def find(self, api_version: str, kind: str) -> Resource:
        """Return how the server serves a kind.

        Raises:
            UnknownKindError: The server does not serve this kind.
        """
        cached = self._known.get((api_version, kind))
        if cached is not None:
            return cached
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
        """Read the kinds of one group version; empty if the server does not serve it."""
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
