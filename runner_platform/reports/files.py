"""Writes reports to `<folder>/<stack>/<file>`, whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from config import load
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT = load.ROOT / "reports"


def write(folder: Path | None, stack: str, files: Mapping[str, str | None]) -> Path:
    """Write a stack's reports; return their folder.

    Args:
        folder: None for the project's `reports/`.
        stack: the stack's name.
        files: contents by file name; None removes a file of an earlier run.

    Raises:
        FailedError: the folder cannot be written.
    """
    place = (folder or DEFAULT) / stack
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            if text is None:
                (place / name).unlink(missing_ok=True)
                continue
            draft = place / f".{name}.{os.getpid()}"
            draft.write_text(text)
            draft.replace(place / name)
    except OSError as error:
        raise FailedError(f"reports cannot be written to {place}: {error.strerror}") from None
    return place
