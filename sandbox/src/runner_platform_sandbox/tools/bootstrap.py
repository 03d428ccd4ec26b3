"""The first step of every recipe of the Makefile: install the packages of uv.lock into `.venv`.

Runs with the machine's Python and its standard library only. Without a change it returns at once and starts no other
program, so that `make check` needs no network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.cache import digest, locked, require_space
from runner_platform_sandbox.tools.discovery import search_path
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.python import find_uv, install_uv, uv_environment

ROOT = Path(__file__).resolve().parents[4]
"""The project."""
_INPUTS = ("pyproject.toml", "sandbox/pyproject.toml", "uv.lock")
_STAMP = ".runner-platform"
_MEGABYTES = 1000


def main() -> int:
    """Prepare the environment of this clone and return the exit code."""
    try:
        prepare(ROOT, Paths.from_environment())
    except ToolsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 3
    return 0


def prepare(root: Path, paths: Paths) -> None:
    """Install the packages of `<root>/uv.lock` into `<root>/.venv`.

    Args:
        root: The project's folder.
        paths: Has the cache.

    Raises:
        ToolsError: uv cannot be installed, or it failed.
    """
    environment = root / ".venv"
    if _is_current(root, environment):
        return
    search = search_path(paths)
    require_space(paths, _MEGABYTES)
    name = f"environment-{digest([str(root).encode()])}"
    with locked(paths, name, lambda holder: _say(f"process {holder} is making {environment}; waiting")):
        if _is_current(root, environment):
            return
        uv = find_uv(paths, search) or install_uv(paths, say=_say)
        _say("installing the locked Python packages into .venv (usually 20 s, the first time)")
        _sync(root, environment, uv, paths)
        (environment / _STAMP).write_text(_fingerprint(root), encoding="utf-8")


def _is_current(root: Path, environment: Path) -> bool:
    stamp = environment / _STAMP
    return (
        (environment / "bin" / "python").exists()
        and stamp.exists()
        and stamp.read_text(encoding="utf-8") == _fingerprint(root)
    )


def _fingerprint(root: Path) -> str:
    """Hash the inputs of the environment, its path included: its scripts contain the path of their Python."""
    return digest([str(root).encode(), *((root / name).read_bytes() for name in _INPUTS)])


def _sync(root: Path, environment: Path, uv: Path, paths: Paths) -> None:
    """Let uv make the environment, from nothing if the present one was moved or copied."""
    command = [str(uv), "sync", "--quiet", "--frozen", "--project", str(root), "--python", sys.executable]
    if (environment / _STAMP).exists() and not _was_made_here(environment):
        shutil.rmtree(environment)
    done = subprocess.run(command, env=uv_environment(paths), stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise ToolsError(
            f"`uv sync` failed with exit code {done.returncode} (above); if the package registry was out of reach, "
            "run the same command again"
        )


def _was_made_here(environment: Path) -> bool:
    """Whether the environment's scripts point into it; false after the folder was moved or copied."""
    script = environment / "bin" / "runner-platform"
    return script.exists() and str(environment).encode() in script.read_bytes()[:4096]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
