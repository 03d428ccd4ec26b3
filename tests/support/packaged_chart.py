"""A packaged chart as far as its description goes: enough for whoever reads no more."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def packaged(file: Path, *, name: str = "gitlab-runner", version: str = "0.93.0") -> Path:
    """Write a `.tgz` with a `Chart.yaml` of this name and version."""
    text = f"apiVersion: v1\nname: {name}\nversion: {version}\n".encode()
    with tarfile.open(file, "w:gz") as archive:
        member = tarfile.TarInfo(f"{name}/Chart.yaml")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return file
