"""GitLab's refusals, in GitLab's words.

The API answers `{"message": ...}` to refused requests and `{"error": ...}` to malformed ones.
https://docs.gitlab.com/api/rest/troubleshooting/
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


class RefusedError(Exception):
    """A request that GitLab refuses."""

    def __init__(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        self.status = status
        self.body = body
        self.headers: dict[str, str] = {}
        super().__init__(str(body))


def unauthorized() -> RefusedError:
    """401: the token is missing or unknown."""
    return RefusedError(HTTPStatus.UNAUTHORIZED, {"message": "401 Unauthorized"})


def forbidden(reason: str = "") -> RefusedError:
    """403: the caller's role is too small, or the runner refuses."""
    return RefusedError(HTTPStatus.FORBIDDEN, {"message": f"403 Forbidden{f' - {reason}' if reason else ''}"})


def not_found(kind: str = "") -> RefusedError:
    """404: the object does not exist, or the caller may not see it."""
    return RefusedError(HTTPStatus.NOT_FOUND, {"message": f"404 {kind} Not Found" if kind else "404 Not found"})


def bad_request(reason: str) -> RefusedError:
    """400: a rule of the model is broken."""
    return RefusedError(HTTPStatus.BAD_REQUEST, {"message": f"400 Bad request - {reason}"})


def conflict(reason: str) -> RefusedError:
    """409: the object exists."""
    return RefusedError(HTTPStatus.CONFLICT, {"message": reason})


def malformed(reason: str) -> RefusedError:
    """400: a parameter is missing or has a wrong type or value."""
    return RefusedError(HTTPStatus.BAD_REQUEST, {"error": reason})


def invalid(fields: dict[str, list[str]]) -> RefusedError:
    """400: broken rules of an update, by field, as GitLab reports them."""
    return RefusedError(HTTPStatus.BAD_REQUEST, {"message": fields})
