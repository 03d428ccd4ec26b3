"""A local copy of all objects of one kind, kept in step by a watch.

Owns listing, watching, and doing both again when a connection breaks or the server forgets. Leaves out what the
copies are for: a listener is only told that something changed, and reads the copy. Loops built on it decide on the
whole state each time, so a lost or doubled event cannot hurt.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.errors import (
    ApiError,
    ExpiredError,
    NotFoundError,
    UnknownKindError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.watch import Watch

    Body = dict[str, Any]

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_WATCH_SECONDS = 300
_PAUSE_SECONDS = 0.05


class Reflector:
    """Copies of one kind in all namespaces.

    Args:
        client: Reaches the cluster.
        api_version: Such as `v1`.
        kind: Such as `Pod`.
        keep: Shrinks an object to what its readers need; None keeps all of it.
    """

    def __init__(
        self, client: KubeClient, api_version: str, kind: str, *, keep: Callable[[Body], Body] | None = None
    ) -> None:
        self.api_version, self.kind = api_version, kind
        self._client = client
        self._keep = keep or (lambda body: body)
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._store: dict[tuple[str, str], Body] = {}
        self._synced = threading.Event()
        self._stopping = threading.Event()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"reflector-{kind}", daemon=True)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this after each change; before `start`."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch and the thread."""
        self._stopping.set()
        with self._lock:
            watch = self._watch
        if watch is not None:
            watch.close()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wait(self, seconds: float) -> bool:
        """Wait for the first complete copy."""
        return self._synced.wait(seconds)

    @property
    def synced(self) -> bool:
        """Whether there is a complete copy."""
        return self._synced.is_set()

    def all(self) -> list[Body]:
        """Return the objects; not to be changed."""
        with self._lock:
            return list(self._store.values())

    def get(self, name: str, namespace: str = "") -> Body | None:
        """Return one object; not to be changed."""
        with self._lock:
            return self._store.get((namespace, name))

    def put(self, body: Body) -> None:
        """Take in an object that was just written, so that the next decision sees it before the watch does."""
        body = {"apiVersion": self.api_version, "kind": self.kind, **body}
        with self._lock:
            self._take(body)

    def _take(self, body: Body) -> None:
        key = _key(body)
        known = self._store.get(key)
        if known is None or _version(body) >= _version(known):
            self._store[key] = self._keep(body)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow(self._list())
            except (ExpiredError, UnreachableError):
                _LOG.debug("listing %s again", self.kind)
            except (ApiError, UnknownKindError, NotFoundError) as error:
                _LOG.warning("cannot watch %s: %s", self.kind, error)
            self._stopping.wait(_RETRY_SECONDS)

    def _list(self) -> str:
        items, version = self._client.list_with_version(self.api_version, self.kind)
        with self._lock:
            self._store = {_key(item): self._keep(item) for item in items}
        self._synced.set()
        self._tell()
        return version

    def _follow(self, version: str) -> None:
        while not self._stopping.is_set():
            watch = self._client.watch(
                self.api_version, self.kind, resource_version=version, timeout_seconds=_WATCH_SECONDS
            )
            with self._lock:
                self._watch = watch
            with watch:
                if self._stopping.is_set():
                    return
                for event, body in watch:
                    version = str(body["metadata"]["resourceVersion"])
                    if event != "BOOKMARK":
                        self._change(event, body)
            self._stopping.wait(_PAUSE_SECONDS)

    def _change(self, event: str, body: Body) -> None:
        with self._lock:
            if event == "DELETED":
                self._store.pop(_key(body), None)
            else:
                self._take(body)
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _key(body: Body) -> tuple[str, str]:
    metadata = body["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _version(body: Body) -> int:
    # Comparable as integers by the API's own contract since Kubernetes 1.35 (and in fact ever since).
    return int(body["metadata"].get("resourceVersion") or 0)
