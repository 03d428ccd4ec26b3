"""GitLab's refusals, in its words.

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
        super().__init__(str(body))


def unauthorized() -> RefusedError:
    """401: no token, or one that nobody has."""
    return RefusedError(HTTPStatus.UNAUTHORIZED, {"message": "401 Unauthorized"})


def forbidden(why: str = "") -> RefusedError:
    """403: the role is too small, or the runner does not allow it."""
    return RefusedError(HTTPStatus.FORBIDDEN, {"message": f"403 Forbidden{f' - {why}' if why else ''}"})


def not_found(what: str = "") -> RefusedError:
    """404: there is no such thing, or the caller may not know."""
    return RefusedError(HTTPStatus.NOT_FOUND, {"message": f"404 {what} Not Found" if what else "404 Not found"})


def bad_request(why: str) -> RefusedError:
    """400: a rule of the model is broken."""
    return RefusedError(HTTPStatus.BAD_REQUEST, {"message": f"400 Bad request - {why}"})


def malformed(why: str) -> RefusedError:
    """400: a parameter is missing or has a wrong type or value."""
    return RefusedError(HTTPStatus.BAD_REQUEST, {"error": why})


def invalid(fields: dict[str, list[str]]) -> RefusedError:
    """400: as GitLab reports broken rules of an update, by field."""
    return RefusedError(HTTPStatus.BAD_REQUEST, {"message": fields})
