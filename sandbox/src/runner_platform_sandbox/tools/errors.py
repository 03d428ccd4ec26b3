"""The error of this package, and the explanation of a cache folder that cannot be written."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path


class ToolsError(SandboxError):
    """A tool is missing or cannot be built; the message names it, the reason and the remedy."""


def cache_error(folder: Path, error: OSError) -> ToolsError:
    """Explain a failed write below the cache folder.

    Args:
        folder: The folder that could not be made or written.
        error: The error of the operating system.
    """
    remedy = "set RUNNER_PLATFORM_CACHE to a folder that you may write to"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        remedy = "free some space there, or set RUNNER_PLATFORM_CACHE to a folder on another disk"
    place = f" ({error.filename})" if error.filename and str(error.filename) != str(folder) else ""
    return ToolsError(f"the cache folder {folder} cannot be written: {error.strerror or error}{place}; {remedy}")
