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
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox.tools import versions
from runner_platform_sandbox.tools.cache import BUILD_ARGUMENTS, expected_files, is_complete, make, tool_folder
from runner_platform_sandbox.tools.catalogue import GO, SOURCES, go_minimum
from runner_platform_sandbox.tools.command import run, tail
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.tools.catalogue import GoTool, ModuleFiles
    from runner_platform_sandbox.tools.go import Toolchain


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


def build(
    paths: Paths,
    tool: GoTool,
    folder: Path,
    *,
    toolchain: Toolchain,
    tick: Callable[[float], None],
) -> None:
    """Build a tool.

    Args:
        paths: Where the cache is; the log goes there.
        tool: What to build.
        folder: Empty folder that gets `bin/` and `share/`.
        toolchain: What builds it.
        tick: Called while the build runs, with the seconds since its start.

    Raises:
        ToolsError: The build failed; the message ends with its last lines.
    """
    log = make(paths.tools / "logs") / f"{tool.name}.log"
    log.write_bytes(b"")
    started = time.monotonic()
    for program in tool.programs:
        target = make(folder / "bin") / program.name
        arguments = ["build", *BUILD_ARGUMENTS, "-ldflags", program.linker_flags, "-o", str(target), program.package]
        code = run(
            [str(toolchain.go), *arguments],
            log=log,
            cwd=SOURCES / program.source,
            environment=toolchain.environment,
            tick=lambda _seconds: tick(time.monotonic() - started),
        )
        if code != 0:
            raise _failure(program.name, log, code)
    for entry in tool.files:
        _copy(entry, folder, toolchain)


def _copy(entry: ModuleFiles, folder: Path, toolchain: Toolchain) -> None:
    """Copy plain files out of a module; Go checks the module against go.sum as it downloads it."""
    answer = subprocess.run(
        [str(toolchain.go), "mod", "download", "-json", entry.module],
        cwd=SOURCES / entry.source,
        env=dict(toolchain.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise ToolsError(f"module {entry.module} cannot be downloaded: {(answer.stderr or answer.stdout).strip()}")
    source = Path(json.loads(answer.stdout)["Dir"])
    target = make(folder / entry.destination)
    for file in entry.files:
        copied = target / Path(file).name
        shutil.copyfile(source / file, copied)
        copied.chmod(0o755 if entry.destination == "bin" else 0o644)


def _failure(name: str, log: Path, code: int) -> ToolsError:
    lines = tail(log)
    remedy = "run the same command again: what was compiled so far is kept"
    if "no space left on device" in lines:
        remedy = "free some space, or set RUNNER_PLATFORM_CACHE to a folder on another disk"
    elif "signal: killed" in lines:
        remedy = "the machine ran out of memory: close other programs and run the same command again"
    return ToolsError(f"building {name} failed with exit code {code}; {remedy}; whole log: {log}\n{lines}")
