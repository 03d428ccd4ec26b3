"""Errors of an API server.

A class for each answer that callers handle differently; every other refusal is a plain `ApiError`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(Exception):
    """The API server refused; the message is its own.

    Args:
        status: HTTP status code.
        body: The `Status` object, or the body as it came.
        action: Method and path, for the message.
    """

    def __init__(self, status: int, body: Mapping[str, Any], action: str) -> None:
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.message = str(body.get("message") or body)
        self.causes: list[dict[str, Any]] = list((body.get("details") or {}).get("causes") or [])
        self.retry_after = (body.get("details") or {}).get("retryAfterSeconds")
        """Seconds to wait before a retry, or None if the server names no time."""
        super().__init__(f"{action}: {status} {self.reason}: {self.message}")


class NotFoundError(ApiError):
    """404: the object, its namespace or its kind does not exist."""


class ConflictError(ApiError):
    """409: the object exists already, another field manager owns a field, or the object changed meanwhile."""


class UnauthorizedError(ApiError):
    """401: the credentials are not accepted."""


class ForbiddenError(ApiError):
    """403: no permission, or an admission plugin (pod security, quota) refused."""


class InvalidError(ApiError):
    """422: the object violates its schema."""


class ExpiredError(ApiError):
    """410: the resource version of a watch or a list page is too old; list again."""


class UnknownKindError(LookupError):
    """The API server does not serve this apiVersion and kind."""


class UnreachableError(ConnectionError):
    """No trusted TLS server answers at the address."""


_BY_STATUS: dict[int, type[ApiError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthorizedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: ExpiredError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
}


def error_for(status: int, body: Mapping[str, Any], action: str) -> ApiError:
    """Return the exception for a status of 400 or above."""
    return _BY_STATUS.get(status, ApiError)(status, body, action)
