"""State on disk before the answer leaves.

MiniStack writes its state on a clean stop only. Here the services that a request may have changed are written before its
answer is sent, so that what a caller was told still holds after SIGKILL: an engine's own state would otherwise name
resources that are gone. Files are replaced atomically; S3 objects are written by MiniStack itself. Not covered: a crash
of the machine (no fsync).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from ministack import app
from ministack.core import persistence
from ministack.services import sts

from sandbox_aws.patching import replace
from sandbox_aws.records import RECORDS

if TYPE_CHECKING:
    from pathlib import Path

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
