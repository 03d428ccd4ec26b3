"""What the wrapper itself has to remember: the organisation, the keys of token issuers.

Kept beside MiniStack's own files, written by `persist` at the same moments. Everything else lives in MiniStack's records.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
