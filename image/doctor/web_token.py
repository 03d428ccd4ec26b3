"""Claims of the job's token. The signature is not checked; STS does that."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_PARTS = 3
_SUBJECT = re.compile(r"system:serviceaccount:(?P<namespace>[^:]+):(?P<name>[^:]+)$")
_NAMESPACE_OF_JOBS = "jobs-"


class TokenError(Exception):
    """There is no usable token; `cause` is a cause of `diagnosis`."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class Token:
    """Claims of a service account's token."""

    subject: str
    """`system:serviceaccount:<namespace>:<name>`."""
    audiences: tuple[str, ...]
    issued: float
    """Time from which it is valid, in seconds since the epoch; 0 without this claim."""
    expires: float
    """Time of its expiry, in seconds since the epoch; 0 without this claim."""
    pod: str
    """Name of the pod that it is bound to; empty if it is not bound."""
    pod_uid: str

    @property
    def runner_class(self) -> str:
        """Class of the service account, read from its namespace; empty outside of jobs' namespaces."""
        subject = _SUBJECT.match(self.subject)
        namespace = subject["namespace"] if subject else ""
        return namespace.removeprefix(_NAMESPACE_OF_JOBS) if namespace.startswith(_NAMESPACE_OF_JOBS) else ""


def read(file: Path) -> Token:
    """Read a token file.

    Raises:
        TokenError: the file is missing, unreadable, or holds no token.
    """
    try:
        text = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise TokenError("no-token", f"there is no token at {file}") from None
    except OSError as error:
        raise TokenError("no-token", f"the token {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TokenError("malformed-token", f"{file} holds no token: it is not text") from None
    except ValueError as error:
        raise TokenError("no-token", f"the token {str(file)!r} cannot be read: {error}") from None
    if not text:
        raise TokenError("malformed-token", f"the token file {file} is empty")
    return _token(_claims(text, file))


def _claims(text: str, file: Path) -> dict[str, Any]:
    parts = text.split(".")
    try:
        if len(parts) != _PARTS:
            raise ValueError  # noqa: TRY301  # one exit for everything that is not a token
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        claims = None
    if not isinstance(claims, dict):
        raise TokenError(
            "malformed-token", f"{file} holds no token: a token has three parts in base64, with dots between them"
        )
    return claims


def _token(claims: dict[str, Any]) -> Token:
    audience = claims.get("aud", [])
    kubernetes = claims.get("kubernetes.io")
    pod = kubernetes.get("pod") if isinstance(kubernetes, dict) else None
    pod = pod if isinstance(pod, dict) else {}
    return Token(
        subject=str(claims.get("sub", "")),
        audiences=tuple(str(name) for name in (audience if isinstance(audience, list) else [audience])),
        issued=max(_seconds(claims.get("nbf")), _seconds(claims.get("iat"))),
        expires=_seconds(claims.get("exp")),
        pod=str(pod.get("name", "")),
        pod_uid=str(pod.get("uid", "")),
    )


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
