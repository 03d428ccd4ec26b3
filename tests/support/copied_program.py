"""A copy of the platform's program with its own stack file, so that tests change no committed file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import yaml

from runner_platform_sandbox.organization import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTS = ("__main__.py", "Pulumi.yaml", "Pulumi.dev.yaml", "config", "components", "runner_platform")


def copied(folder: Path) -> Path:
    """Copy the program; it runs in the project's own environment."""
    for name in PARTS:
        source = PROJECT / name
        copy: Callable[[Path, Path], object] = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    return folder


def change(program: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit the copy's stack file."""
    file = program / "Pulumi.dev.yaml"
    document = yaml.safe_load(file.read_text())
    edit(document["config"])
    file.write_text(yaml.safe_dump(document))
