"""Removes what was built: tools, compiler files, package caches. The state of a sandbox is not touched."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox.tools.cache import locked
from runner_platform_sandbox.tools.errors import ToolsError, cache_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.paths import Paths


def clean(paths: Paths, say: Callable[[str], None]) -> None:
    """Remove everything in the cache that can be built or downloaded again.

    Args:
        paths: Where the cache is.
        say: Gets one line a folder.

    Raises:
        ToolsError: A sandbox runs from these tools, somebody builds one right now, or a file cannot be removed.
    """
    running = _supervisor(paths.state_file)
    if running is not None:
        raise ToolsError(f"a sandbox is running (supervisor: process {running}); end it first: make down")
    with ExitStack() as held:
        # The compiler's own lock last: it names nobody, its holder's other lock does.
        for file in sorted(
            (paths.tools / "locks").glob("*.lock"), key=lambda file: (file.stem == "go-files", file.stem)
        ):
            held.enter_context(locked(paths, file.stem, _refuse(file.stem)))
        for folder in (paths.tools, paths.cache / "go", paths.cache / "uv"):
            if folder.exists():
                say(f"removing {folder}")
                _remove(folder)
    if paths.root.exists():
        say(f"kept: the sandbox in {paths.root}; `runner-platform sandbox reset` empties it")


def _refuse(name: str) -> Callable[[str], None]:
    def refuse(holder: str) -> None:
        raise ToolsError(f"{name} is being built by process {holder}; wait for it or end it first")

    return refuse


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise cache_error(folder, error) from error


def _supervisor(state_file: Path) -> int | None:
    """Return the process id of a supervisor that lives; the number alone could belong to anybody by now."""
    try:
        number = int(json.loads(state_file.read_text(encoding="utf-8"))["supervisor"]["pid"])
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if b"runner_platform_sandbox.supervisor" in command else None
