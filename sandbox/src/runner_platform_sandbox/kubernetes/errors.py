"""What an API server's refusals become.

One class per answer that a caller handles differently; everything else is a plain `ApiError`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(Exception):
    """The API server refused, in its own words.

    Args:
        status: HTTP status code.
        body: The `Status` object, or whatever else was in the body.
        action: Method and path, for the message.
    """

    def __init__(self, status: int, body: Mapping[str, Any], action: str) -> None:
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.message = str(body.get("message") or body)
        self.causes: list[dict[str, Any]] = list((body.get("details") or {}).get("causes") or [])
        self.retry_after = (body.get("details") or {}).get("retryAfterSeconds")
        """Seconds that the server asks to wait before the next try, if it says so."""
        super().__init__(f"{action}: {status} {self.reason}: {self.message}")


class NotFoundError(ApiError):
    """404: the object, its namespace or its kind is not there."""


class ConflictError(ApiError):
    """409: it exists already, another field manager owns a field, or it changed meanwhile."""


class UnauthorizedError(ApiError):
    """401: the credentials are not accepted."""


class ForbiddenError(ApiError):
    """403: no permission, or an admission plugin (pod security, quota) said no."""


class InvalidError(ApiError):
    """422: the object breaks its schema."""


class ExpiredError(ApiError):
    """410: the resource version of a watch or a list page is too old; list again."""


class UnknownKindError(LookupError):
    """The API server does not serve this apiVersion and kind."""


class UnreachableError(ConnectionError):
    """Nothing answers at the server's address, or not as a TLS server that is trusted."""


_BY_STATUS: dict[int, type[ApiError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthorizedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: ExpiredError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
}


def error_for(status: int, body: Mapping[str, Any], action: str) -> ApiError:
    """Make the exception for an answer of 400 or above."""
    return _BY_STATUS.get(status, ApiError)(status, body, action)
