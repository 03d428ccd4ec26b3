"""Go: which one builds the tools, and the environment it builds in.

Everything that Go writes stays below `<cache>/go`. What the person configured about where modules come from (proxy,
private modules, checksum database, credentials) is honoured; what would change the result (GOFLAGS, GOOS, workspaces)
is not.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox.tools import versions
from runner_platform_sandbox.tools.cache import expected_files, is_complete, make, tool_folder
from runner_platform_sandbox.tools.catalogue import GO, go_minimum
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner_platform_sandbox.paths import Paths

_PERSONAL = ("GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOINSECURE", "GOVCS", "GOAUTH")
_LOCK = "go-files.lock"
_DROPPED = ("GOROOT", "GOOS", "GOARCH", "GOBIN", "GOEXPERIMENT")


def on_path(search: str) -> Path | None:
    """Return the Go on PATH when it is new enough for every module."""
    found = shutil.which("go", path=search)
    if found is None:
        return None
    version = versions.ask(Path(found), ["version"], {**os.environ, "GOTOOLCHAIN": "local"})
    return Path(found) if version is not None and version >= go_minimum() else None


def installed(paths: Paths) -> Path | None:
    """Return the Go that an earlier run installed from PyPI, if it is there."""
    folder = tool_folder(paths, GO)
    return expected_files(GO, folder)[0] if is_complete(GO, folder) else None


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A Go to build with."""

    go: Path
    """The program."""
    environment: Mapping[str, str]
    """Its whole environment."""


def toolchain(paths: Paths, go: Path) -> Toolchain:
    """Prepare the folders and the environment of a `go` program.

    Args:
        paths: Where the cache is.
        go: The program.

    Raises:
        ToolsError: The cache cannot be written, or this Go does not run.
    """
    folder = paths.cache / "go"
    variables = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    variables |= _personal(go)
    netrc = Path.home() / ".netrc"
    if "NETRC" not in variables and netrc.exists():
        variables["NETRC"] = str(netrc)
    variables |= {
        "HOME": str(make(folder / "home")),
        "GOPATH": str(folder / "path"),
        "GOMODCACHE": str(folder / "modules"),
        "GOCACHE": str(folder / "build"),
        # Not the system's folder for temporary files: that is often a small one in memory.
        "GOTMPDIR": str(make(folder / "temporary")),
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOENV": "off",
        "CGO_ENABLED": "0",
    }
    return Toolchain(go=go, environment=variables)


@contextmanager
def in_use(paths: Paths) -> Iterator[None]:
    """Hold `<cache>/go` against removal while something is built with it."""
    with (make(paths.tools / "locks") / _LOCK).open("a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def remove_build_files(paths: Paths) -> None:
    """Remove what only a build needs: downloaded modules and compiled packages, several GiB.

    Called when every tool is there. Keeping the modules would save a download only for the one source whose go.sum
    changes next, at the price of about half of that room. Nothing is removed while another clone builds.
    """
    folder = paths.cache / "go"
    if not folder.exists():
        return
    with (make(paths.tools / "locks") / _LOCK).open("a", encoding="utf-8") as handle, suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _personal(go: Path) -> dict[str, str]:
    """Read the person's settings with their HOME, where `go env -w` keeps them, before we change it."""
    answer = subprocess.run(
        [str(go), "env", "-json", *_PERSONAL],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    if answer.returncode != 0:
        raise ToolsError(
            f"{go} does not run: {answer.stderr.strip()}; repair it, or take it off PATH to have Go installed"
        )
    values: dict[str, str] = json.loads(answer.stdout)
    return {name: value for name, value in values.items() if value}
