"""Stack states as the engine's file backend keeps them, for reading only.

Owns the place and the shape of a checkpoint (`apitype.VersionedCheckpoint`, `CheckpointV3` of the engine). Asking the
command line for the same costs a third of a second each time; whatever is changed goes through it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The last state of a stack."""

    resources: list[dict[str, Any]]
    pending: list[dict[str, Any]]
    """Operations that were begun and not ended: `{"type": ..., "resource": ...}`."""

    def accounts(self) -> list[str]:
        """Ids of the AWS accounts that the stack's providers are bound to."""
        found: set[str] = set()
        for resource in self.resources:
            if resource["type"] == "pulumi:providers:aws":
                allowed = resource["inputs"].get("allowedAccountIds", [])
                found.update(json.loads(allowed) if isinstance(allowed, str) else allowed)
        return sorted(found)


def project_name(folder: Path) -> str:
    """Name of the project in a folder.

    Raises:
        SandboxError: There is no readable Pulumi.yaml.
    """
    try:
        return str(yaml.safe_load((folder / "Pulumi.yaml").read_text())["name"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise SandboxError(
            f"cannot read the project's name from {folder / 'Pulumi.yaml'}", "restore the file"
        ) from error


def read(backend: Path, project: str, stack: str) -> Checkpoint | None:
    """The state of a stack, None when there is no such stack.

    Raises:
        SandboxError: The file is there and cannot be understood.
    """
    file = backend / ".pulumi" / "stacks" / project / f"{stack}.json"
    try:
        latest = json.loads(file.read_text())["checkpoint"].get("latest") or {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SandboxError(
            f"cannot read the state of stack {stack} in {file}", f"the engine's last copy is {file}.bak"
        ) from error
    return Checkpoint(resources=latest.get("resources") or [], pending=latest.get("pending_operations") or [])
