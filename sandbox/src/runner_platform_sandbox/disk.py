"""Room on the disk of the sandbox's root, and files that are written whole.

The cache of tools may be on another disk; `runner_platform_sandbox.tools.cache` checks that one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths

NEW: Final = 400
"""MiB of a new sandbox with all three stacks, with some room."""
KEPT: Final = 64
"""MiB that a sandbox with deployed stacks needs to go on."""
REMEDY: Final = "free some space, or set RUNNER_PLATFORM_SANDBOX to a folder on another disk"
_MEGABYTE: Final = 1024 * 1024


def require_space(paths: Paths, megabytes: int) -> None:
    """Refuse to start a sandbox if its disk is too full to keep the state.

    Args:
        paths: The sandbox; its root exists.
        megabytes: `NEW` or `KEPT`.

    Raises:
        SandboxError: The disk has less room.
    """
    free = shutil.disk_usage(paths.root).free // _MEGABYTE
    if free < megabytes:
        raise SandboxError(f"the disk of {paths.root} has {free} MiB free, and the sandbox needs {megabytes}", REMEDY)


@contextlib.contextmanager
def explained(paths: Paths) -> Iterator[None]:
    """Turn a full disk inside the block into an error for a person.

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


def replace(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file so that readers see the old text or the new one, also after a crash or on a full disk.

    Raises:
        SandboxError: The disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.chmod(name, mode)  # noqa: PTH101 - the name comes from mkstemp as a string
            os.replace(name, path)  # noqa: PTH105 - same
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: PTH108 - same
            raise
    except OSError as error:
        raise SandboxError(f"cannot write {path}: {error.strerror}", REMEDY) from error
