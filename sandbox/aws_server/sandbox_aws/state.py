"""What the wrapper itself has to remember: the organisation, the keys of token issuers.

Kept beside MiniStack's own files, written by `persist` at the same moments. Everything else lives in MiniStack's records.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from dataclasses import dataclass, field
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
        found = self.organization
        return {
            "organization": None
            if found is None
            else {"id": found.id, "region": found.region, "management": found.management, "accounts": found.accounts},
            "issuers": self.issuers,
        }

    def load(self, path: Path) -> None:
        """Read the state that an earlier process wrote; a missing file is a new sandbox."""
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
    """Let sessions be part of the state, which MiniStack leaves out."""

    def get_state() -> dict[str, Any]:
        now = time.time()
        return {"sessions": {key: one for key, one in sts._sessions.items() if one.get("Expiration", now) >= now}}

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
        """Write what a request to `service` may have changed; None means everything."""
        states = app._build_persistence_save_dict()
        self._unsettled = True
        for key in [service] if service is not None and service in states else list(states):
            self._write_service(key, states[key])

    def save_all(self) -> None:
        """Write everything, the wrapper's own records included."""
        self._write(RECORDS_FILE, json.dumps(RECORDS.dump()))
        self.save(None)
        self._unsettled = False

    async def settle(self) -> None:
        """Write, a second after the last change, what changed behind a request's back; runs until cancelled."""
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
        """Replace a file, unless it already says so."""
        content = text.encode()
        digest = hashlib.blake2b(content).digest()
        if self._written.get(name) == digest:
            return
        temporary = self._folder / f"{name}.tmp"
        temporary.write_bytes(content)
        temporary.replace(self._folder / name)
        self._written[name] = digest
