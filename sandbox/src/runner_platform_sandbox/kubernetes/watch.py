"""One open watch: an iterator over changes that another thread can close.

Leaves out re-listing and reconnecting (`reflector.py`).
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

import requests
import urllib3

from runner_platform_sandbox.kubernetes.errors import UnreachableError, error_for

if TYPE_CHECKING:
    from collections.abc import Iterator


class Watch:
    """Yields `(type, object)` where type is ADDED, MODIFIED, DELETED or BOOKMARK; ends when the server's time is over.

    Args:
        response: The streaming answer.
        api_version: Of the watched kind; put into each object, as the client does for lists.
        kind: The watched kind.
    """

    def __init__(self, response: requests.Response, api_version: str, kind: str) -> None:
        self._response = response
        self._type = {"apiVersion": api_version, "kind": kind}
        self._closed = False

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Iterate.

        Raises:
            ExpiredError: The server forgot the resource version that the watch was at.
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
        """End the iteration, from any thread, also while it waits for data."""
        self._closed = True
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._response.raw.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._response.close()
