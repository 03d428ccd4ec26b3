"""The engine's event log, read while it is written.

Owns what a person needs of it: what is being made now, how many resources, what went wrong. Leaves out running the
engine (`sandbox.engine_run`). The format is the engine's `apitype.EngineEvent`, one JSON object a line
(https://pkg.go.dev/github.com/pulumi/pulumi/sdk/v3/go/common/apitype#EngineEvent).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

UNCHANGED = "same"


def label(urn: str) -> str:
    """Short name of a resource: the last part of its type, and its name."""
    parts = urn.split("::")
    kind = parts[2].split("$")[-1].split(":")[-1] if len(parts) > 3 else ""  # noqa: PLR2004 - a URN has four parts
    return f"{kind} {parts[-1]}".strip()


@dataclass
class Progress:
    """What the events so far say."""

    running: dict[str, str] = field(default_factory=dict)
    """Operation (`create`, `update`, ...) by URN, of what is in progress."""
    done: dict[str, int] = field(default_factory=dict)
    """Number of finished operations by kind; `same` counts what stayed as it is."""
    failed: list[str] = field(default_factory=list)
    """URNs whose operation failed."""
    errors: list[str] = field(default_factory=list)
    """The engine's diagnostics of severity error, each with the resource they belong to."""
    warnings: list[str] = field(default_factory=list)
    summary: dict[str, int] | None = None
    """Resources by operation, once the engine has finished."""

    def add(self, event: dict[str, Any]) -> None:
        """Take one event into account; unknown ones are nothing."""
        if "resourcePreEvent" in event:
            metadata = event["resourcePreEvent"]["metadata"]
            own = (metadata.get("new") or metadata.get("old") or {}).get("custom")
            if metadata["op"] != UNCHANGED and own:  # a component is in progress as long as its children are
                self.running[metadata["urn"]] = metadata["op"]
        elif "resOutputsEvent" in event:
            metadata = event["resOutputsEvent"]["metadata"]
            self.running.pop(metadata["urn"], None)
            self.done[metadata["op"]] = self.done.get(metadata["op"], 0) + 1
        elif "resOpFailedEvent" in event:
            urn = event["resOpFailedEvent"]["metadata"]["urn"]
            self.running.pop(urn, None)
            self.failed.append(urn)
        elif "diagnosticEvent" in event:
            self._diagnostic(event["diagnosticEvent"])
        elif "summaryEvent" in event:
            self.summary = dict(event["summaryEvent"].get("resourceChanges") or {})

    @property
    def changed(self) -> int:
        """Finished operations that changed something."""
        return sum(count for operation, count in self.done.items() if operation != UNCHANGED)

    def _diagnostic(self, event: dict[str, Any]) -> None:
        wanted = {"error": self.errors, "warning": self.warnings}.get(event.get("severity", ""))
        text = str(event.get("message", "")).strip()
        if wanted is not None and text and not event.get("ephemeral"):
            urn = event.get("urn")
            wanted.append(f"{label(urn)}: {text}" if urn else text)


class Follower:
    """Reads an event log as it grows.

    Args:
        file: The log; it may not exist yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._rest = b""

    def read(self, progress: Progress) -> None:
        """Take in what was written since the last call; a line that is not whole yet waits for the next."""
        try:
            with self._file.open("rb") as log:
                log.seek(self._offset)
                new = log.read()
        except FileNotFoundError:
            return
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            if line.strip():
                progress.add(json.loads(line))
