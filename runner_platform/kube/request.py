"""One HTTPS request to an API server, with the standard library alone: the exec plugin has to start fast."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


class UnreachableError(Exception):
    """The server did not answer; the message is the system's reason."""


def send(
    method: str,
    url: str,
    token: str,
    *,
    context: ssl.SSLContext,
    seconds: float,
    body: Mapping[str, Any] | None = None,
) -> tuple[int, str]:
    """Send a request and return `(status, text)`, also when the server refuses.

    Args:
        method: HTTP method.
        url: whole URL, from EKS or from a kubeconfig.
        token: bearer token.
        context: certificate authorities that the client trusts.
        seconds: time limit for connecting, and for every read.
        body: JSON body, if any.

    Raises:
        UnreachableError: the server does not answer.
    """
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310  # see `url`
    try:
        with urllib.request.urlopen(request, timeout=seconds, context=context) as response:  # noqa: S310  # same
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        raise UnreachableError(str(getattr(error, "reason", error))) from None
