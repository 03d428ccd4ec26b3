"""HTTP to one API server: sessions, credentials, retries, open watches.

Knows nothing about kinds (`client`). Leaves out listing and connecting again after a watch ended (`copies`).
"""

from __future__ import annotations

import contextlib
import json
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import requests
import urllib3

from runner_platform_sandbox.kubernetes.errors import ApiError, UnauthorizedError, UnreachableError, error_for
from runner_platform_sandbox.kubernetes.kubeconfig import Connection, TlsAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_MAX_WAITS = 30
_PATIENT = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""A custom resource's storage answers 429 for a moment after its definition is established."""


class Transport:
    """A session with one API server; safe to share between threads.

    Args:
        connection: Address and credentials. After a 401 the transport calls `invalidate` of the token source, if it has
            this method, and asks for a token again once.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy or netrc of the user must not get cluster credentials
        self._session.mount("https://", TlsAdapter(connection.ssl_context()))
        self._closing = threading.Event()

    def close(self) -> None:
        """Close idle connections and end calls that wait before a retry."""
        self._closing.set()
        self._session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        patient: bool = True,
    ) -> dict[str, Any]:
        """Send one request and return the JSON answer; a text answer becomes `{"text": ...}`.

        With `patient`, retry up to 30 times after a 429 or 503 that names a time to wait.

        Raises:
            ApiError: The server refused; the subclass tells the status.
            UnreachableError: There is no connection.
        """
        response = self.send(method, path, query=query, body=body, content_type=content_type, patient=patient)
        try:
            if response.headers.get("Content-Type", "").split(";")[0].endswith("json"):
                return dict(response.json())
            return {"text": response.text}
        finally:
            response.close()

    def send(self, method: str, path: str, *, patient: bool = True, **arguments: Any) -> requests.Response:
        """Send one request like `request` and return the open response; `stream=True` leaves the body unread."""
        renewed = False
        for attempt in range(_MAX_WAITS):
            try:
                return self._send_once(method, path, **arguments)
            except UnauthorizedError:
                invalidate = getattr(self.connection.token, "invalidate", None)
                if invalidate is None or renewed:
                    raise
                invalidate()
                renewed = True
            except UnreachableError as error:
                # On a busy machine a handshake breaks now and then; a read has no effect, so it may be asked twice.
                broken = isinstance(error.__cause__, requests.exceptions.SSLError)
                if method != "GET" or attempt or not broken:
                    raise
            except ApiError as error:
                named = error.status in _PATIENT and error.retry_after is not None
                if not patient or not named or attempt == _MAX_WAITS - 1:
                    raise
                if self._closing.wait(float(error.retry_after or 0)):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _send_once(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        stream: bool = False,
    ) -> requests.Response:
        headers = {"Accept": "application/json, */*;q=0.5"}  # the key document has a media type of its own
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body).encode()
        if self.connection.token is not None:
            headers["Authorization"] = f"Bearer {self.connection.token()}"
        parameters = {key: _query_text(value) for key, value in (query or {}).items() if value is not None}
        try:
            response = self._session.request(
                method,
                self.connection.server + path,
                params=parameters,
                data=data,
                headers=headers,
                stream=stream,
                timeout=(_CONNECT_SECONDS, None if stream else _READ_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise UnreachableError(f"{method} {self.connection.server}{path}: {error}") from error
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise _refusal(response, f"{method} {path}")
        return response


def _query_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusal(response: requests.Response, action: str) -> ApiError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict) or "message" not in body:
        body = {"message": response.text.strip() or response.reason}
    error = error_for(response.status_code, body, action)
    if error.retry_after is None and response.headers.get("Retry-After", "").isdigit():
        error.retry_after = int(response.headers["Retry-After"])
    response.close()
    return error


class Watch:
    """Yields `(type, object)` until the server's time is over; types are ADDED, MODIFIED, DELETED and BOOKMARK.

    Args:
        response: The open response.
        api_version: Of the watched kind; filled into each object, as the client does for lists.
        kind: The watched kind.
    """

    def __init__(self, response: requests.Response, api_version: str, kind: str) -> None:
        self._response = response
        self._type = {"apiVersion": api_version, "kind": kind}
        self._closed = False

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Iterate.

        Raises:
            ExpiredError: The server no longer has the resource version of the watch.
            UnreachableError: The connection broke.
        """
        try:
            for line in self._response.iter_lines(chunk_size=None):
                if not line:
                    continue
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise error_for(int(status.get("code") or 500), status, "watch")
                yield event["type"], {**self._type, **event["object"]}
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # AttributeError: urllib3 trips over its own buffers when another thread shuts the socket down.
            if not self._closed:
                raise UnreachableError(f"the watch on {self._type['kind']} broke: {error}") from error
        finally:
            self._response.close()

    def close(self) -> None:
        """End the iteration, also from another thread while it waits for data."""
        self._closed = True
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._response.raw.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._response.close()
