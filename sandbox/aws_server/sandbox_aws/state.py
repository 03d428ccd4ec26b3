"""The state on disk: MiniStack's services, and the wrapper's own records (organisation, issuers' keys).

MiniStack writes its state on a clean stop only. Here the services that a request may have changed are written before the
answer is sent, so that the answer still holds after SIGKILL: an engine's state would otherwise name resources that are
gone. Files are replaced atomically; MiniStack writes S3 objects itself. Not covered: a crash of the machine (no fsync).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ministack import app
from ministack.core import persistence
from ministack.services import sts

from sandbox_aws.patching import replace

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Organization:
    """An AWS organisation with fixed accounts."""

    id: str
    region: str
    management: str
    accounts: dict[str, str]
    """Account name to 12-digit id, the management account not included."""

    def has(self, account: str) -> bool:
        """Whether the account is a member; the management account is one."""
        return account == self.management or account in self.accounts.values()


@dataclass
class Records:
    """The wrapper's own state, one per process."""

    organization: Organization | None = None
    issuers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Issuer URL to its JSON Web Key Set."""

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "organization": None if self.organization is None else asdict(self.organization),
            "issuers": self.issuers,
        }

    def load(self, path: Path) -> None:
        """Read the state of an earlier process; without a file the sandbox is new."""
        if not path.exists():
            return
        data = json.loads(path.read_text(encoding="utf-8"))
        self.organization = Organization(**data["organization"]) if data["organization"] else None
        self.issuers = data["issuers"]


RECORDS = Records()


RECORDS_FILE = "sandbox.json"
_IDLE = 1.0
_ATTEMPTS = 10
_log = logging.getLogger("sandbox")


def install() -> None:
    """Make sessions a part of the state; MiniStack leaves them out."""

    def get_state() -> dict[str, Any]:
        now = time.time()
        return {
            "sessions": {
                key: session for key, session in sts._sessions.items() if session.get("Expiration", now) >= now
            }
        }

    def load(data: dict[str, Any]) -> None:
        sts._sessions.update(data.get("sessions", {}))

    replace("services.sts", "get_state", lambda _original: get_state)
    replace("services.sts", "load_persisted_state", lambda _original: load)


class Saver:
    """Writes the state of services into one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, bytes] = {}
        self._unsettled = False

    def save(self, service: str | None) -> None:
        """Write the state of a service, or of all services for None."""
        states = app._build_persistence_save_dict()
        self._unsettled = True
        for key in [service] if service is not None and service in states else list(states):
            self._write_service(key, states[key])

    def save_all(self) -> None:
        """Write all services and the wrapper's own records."""
        self._write(RECORDS_FILE, json.dumps(RECORDS.dump()))
        self.save(None)
        self._unsettled = False

    async def settle(self) -> None:
        """Write changes of background work a second after the last request; runs until cancelled."""
        while True:
            await asyncio.sleep(_IDLE)
            if self._unsettled:
                try:
                    self.save(None)
                    self._unsettled = False
                except (OSError, RuntimeError):
                    _log.exception("the state could not be written; trying again")

    def _write_service(self, key: str, get_state: Any) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                state = get_state()
                break
            except RuntimeError:  # a handler in a thread added an entry while the store was copied
                if attempt == _ATTEMPTS - 1:
                    raise
        if state is not None:
            wrapped = {"__ministack_format__": persistence._state_format_version(key), "payload": state}
            self._write(f"{key}.json", json.dumps(wrapped, default=persistence._json_default))

    def _write(self, name: str, text: str) -> None:
        """Replace a file unless it has this text already."""
        content = text.encode()
        digest = hashlib.blake2b(content).digest()
        if self._written.get(name) == digest:
            return
        temporary = self._folder / f"{name}.tmp"
        temporary.write_bytes(content)
        temporary.replace(self._folder / name)
        self._written[name] = digest
