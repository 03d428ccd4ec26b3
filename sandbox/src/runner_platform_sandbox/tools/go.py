"""Go tools: the Go to build with, its environment, and the build of one tool into a folder.

Go writes below `<cache>/go` only. The person's settings about the source of modules (proxy, private modules, checksum
database, credentials) are honoured; settings that would change the result (GOFLAGS, GOOS, workspaces) are not.
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


_PERSONAL = ("GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOINSECURE", "GOVCS", "GOAUTH")
_LOCK = "go-files.lock"
_DROPPED = ("GOROOT", "GOOS", "GOARCH", "GOBIN", "GOEXPERIMENT")


def on_path(search: str) -> Path | None:
    """Return the Go on PATH if it is new enough for every module."""
    program = shutil.which("go", path=search)
    if program is None:
        return None
    version = versions.ask(Path(program), ["version"], {**os.environ, "GOTOOLCHAIN": "local"})
    return Path(program) if version is not None and version >= go_minimum() else None


def installed(paths: Paths) -> Path | None:
    """Return the Go that an earlier run installed from PyPI, or None."""
    folder = tool_folder(paths, GO)
    return expected_files(GO, folder)[0] if is_complete(GO, folder) else None


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A Go to build with."""

    go: Path
    """The program."""
    environment: Mapping[str, str]
    """Complete environment."""


def toolchain(paths: Paths, go: Path) -> Toolchain:
    """Prepare the folders and the environment of a `go` program.

    Args:
        paths: Has the cache.
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
    """Protect `<cache>/go` from removal during a build."""
    with (make(paths.tools / "locks") / _LOCK).open("a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def remove_build_files(paths: Paths) -> None:
    """Remove downloaded modules and compiled packages, several GiB that only a build needs.

    Called when every tool is present. Keeping the modules would save one download at the next change of a go.sum, at
    the price of about half of that room. While another clone builds, its files stay.
    """
    folder = paths.cache / "go"
    if not folder.exists():
        return
    with (make(paths.tools / "locks") / _LOCK).open("a", encoding="utf-8") as handle, suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _personal(go: Path) -> dict[str, str]:
    """Read the person's settings with the person's HOME, where `go env -w` keeps them."""
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
            f"{go} does not run: {answer.stderr.strip()}; repair it, or take it off PATH: then Go is installed"
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
        paths: Has the cache; the log goes there.
        tool: The tool.
        folder: Empty folder for `bin/` and `share/`.
        toolchain: The Go to build with.
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
    """Copy plain files out of a module. Go checks the download against go.sum."""
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
    remedy = "run the same command again: compiled packages are kept"
    if "no space left on device" in lines:
        remedy = "free some space, or set RUNNER_PLATFORM_CACHE to a folder on another disk"
    elif "signal: killed" in lines:
        remedy = "the machine ran out of memory: close other programs and run the same command again"
    return ToolsError(f"building {name} failed with exit code {code}; {remedy}; whole log: {log}\n{lines}")
