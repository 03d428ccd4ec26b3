"""The session that an EC2 machine keeps for its jobs, in a file that `credential_process` hands to every SDK."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

RENEWED_SECONDS = 40 * 60
"""The machine renews a session of an hour after a quarter; with less time left, it has failed to renew."""


class SessionError(Exception):
    """There is no usable session; `cause` is a cause of `diagnosis`."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class HostSession:
    """The session in the file."""

    file: Path
    expires: float
    """Time of its end, in seconds since the epoch."""


def read(file: Path) -> HostSession:
    """Read the file of a session.

    Raises:
        SessionError: the file is missing, unreadable, or holds no session.
    """
    try:
        document: Any = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SessionError("no-session", f"there is no session of the machine at {file}") from None
    except OSError as error:
        raise SessionError("no-session", f"the session {file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SessionError("malformed-session", f"{file} holds no session: it is no JSON") from None
    try:
        ends = datetime.fromisoformat(str(document["Expiration"]))
        complete = document["Version"] == 1 and all(
            document[key] for key in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
    except (KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise SessionError(
            "malformed-session", f"{file} holds no session with keys and an end, as credential_process wants it"
        )
    return HostSession(file=file, expires=(ends if ends.tzinfo else ends.replace(tzinfo=UTC)).timestamp())
