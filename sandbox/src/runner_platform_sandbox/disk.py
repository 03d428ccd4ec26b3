"""Room on the disk of the sandbox's root.

Owns the check before a start, and the words for a disk that fills up later. Leaves out the cache of tools, whose checks
are in `runner_platform_sandbox.tools.cache`: it may be on another disk.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.paths import Paths

NEW: Final = 400
"""MiB that a new sandbox takes with all three stacks, and some room."""
KEPT: Final = 64
"""MiB that one whose stacks are deployed needs to go on."""
REMEDY: Final = "free some space, or set RUNNER_PLATFORM_SANDBOX to a folder on another disk"
_MEGABYTE: Final = 1024 * 1024


def require_space(paths: Paths, megabytes: int) -> None:
    """Refuse to start what could not keep its state.

    Args:
        paths: Whose root; it exists.
        megabytes: `NEW` or `KEPT`.

    Raises:
        SandboxError: The disk has less room than a sandbox takes.
    """
    free = shutil.disk_usage(paths.root).free // _MEGABYTE
    if free < megabytes:
        raise SandboxError(f"the disk of {paths.root} has {free} MiB free, and the sandbox needs {megabytes}", REMEDY)


@contextlib.contextmanager
def explained(paths: Paths) -> Iterator[None]:
    """Turn a full disk, wherever it is met inside the block, into an error for a person.

    Raises:
        SandboxError: No space, or no quota, is left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise SandboxError(
            f"cannot write {error.filename or f'below {paths.root}'}: {error.strerror}", REMEDY
        ) from error
