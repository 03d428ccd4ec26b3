"""The cache folder: names of tool folders, locks, staging, free space, and the removal of all of it.

A tool folder appears whole or not at all: it is made under another name and renamed. One lock per tool keeps two
builders apart. The holder of a lock may remove staging folders of the tool: their builder is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from runner_platform_sandbox.tools.catalogue import SOURCES, GoTool, NodeTool, PythonTool, Tool
from runner_platform_sandbox.tools.errors import ToolsError, cache_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runner_platform_sandbox.paths import Paths


BUILD_ARGUMENTS = ("-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false")
"""Arguments of every `go build`; part of the key. The binaries are stripped: debug information would only cost an
eighth of the time and a fifth of the compiler's cache.
"""
_KEY_LENGTH = 12
_WAIT_SECONDS = 0.2
_SPARE_MEGABYTES = 300
_MEGABYTE = 1024 * 1024


def digest(parts: Iterable[bytes]) -> str:
    """Hash parts in order. Each part is preceded by its length, so different lists never hash the same bytes."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()[:_KEY_LENGTH]


def tool_folder(paths: Paths, tool: Tool) -> Path:
    """Return a tool's folder in the cache: its name and a hash of its sources and pins.

    The Go version is not part of the hash: a newer patch release would throw away minutes of building for no difference
    in behaviour.
    """
    parts = [platform.machine().encode()]
    if isinstance(tool, PythonTool):
        parts += [(SOURCES / tool.source / "uv.lock").read_bytes(), repr(sys.version_info[:2]).encode()]
    elif isinstance(tool, NodeTool):
        parts += [(SOURCES / tool.source / name).read_bytes() for name in tool.files]
    else:
        parts += [file.read_bytes() for file in _own_files(tool)]
        parts += [(SOURCES / source / name).read_bytes() for source in tool.sources for name in ("go.mod", "go.sum")]
        parts += [repr((BUILD_ARGUMENTS, tool.programs, tool.files)).encode()]
    return paths.tools / f"{tool.name}-{digest(parts)}"


def _own_files(tool: GoTool) -> list[Path]:
    """List the tool's source files of this project, folders unfolded, in an order that does not depend on the disk."""
    entries = [SOURCES / tool.source / name for name in tool.own]
    return [
        file
        for entry in entries
        for file in (sorted(entry.rglob("*")) if entry.is_dir() else [entry])
        if file.is_file()
    ]


def expected_files(tool: Tool, folder: Path) -> list[Path]:
    """List the files of a complete tool folder."""
    if isinstance(tool, PythonTool):
        return [next(iter(folder.glob(tool.executable)), folder / tool.executable)]
    if isinstance(tool, NodeTool):
        return [folder / "bin" / tool.name, folder / tool.script]
    files = [folder / entry.destination / Path(file).name for entry in tool.files for file in entry.files]
    return files + [folder / "bin" / program.name for program in tool.programs]


def is_complete(tool: Tool, folder: Path) -> bool:
    """Whether a tool folder can be used; false for an environment with a removed Python, too."""
    return all(file.exists() for file in expected_files(tool, folder))


def make(folder: Path) -> Path:
    """Create a folder of the cache.

    Raises:
        ToolsError: The folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cache_error(folder, error) from error
    return folder


@contextmanager
def locked(paths: Paths, name: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of one tool.

    Args:
        paths: Has the cache.
        name: Name of the tool.
        on_wait: Called once, with the holder's process id as text, if another process holds the lock.

    Raises:
        ToolsError: The lock file cannot be written.
    """
    file = make(paths.tools / "locks") / f"{name}.lock"
    handle = _acquire(file, on_wait)
    try:
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield
    finally:
        handle.close()


def _acquire(file: Path, on_wait: Callable[[str], None]) -> IO[str]:
    announced = waited = False
    while True:
        try:
            handle = file.open("a+", encoding="utf-8")
        except OSError as error:
            raise cache_error(file.parent, error) from error
        if _takes(handle, file):
            return handle
        with handle:
            handle.seek(0)
            holder = handle.read().strip()
        # A holder writes its number just after it got the lock: an empty file is normal the first time.
        if not announced and (holder or waited):
            on_wait(holder or "unknown")
            announced = True
        waited = True
        time.sleep(_WAIT_SECONDS)


def _takes(handle: IO[str], file: Path) -> bool:
    """Try to lock an open file. Refuse a file that `make distclean` removed meanwhile: its lock protects nothing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(handle.fileno()).st_ino == file.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


@contextmanager
def staged(paths: Paths, name: str, target: Path) -> Iterator[Path]:
    """Make a tool folder whole or not at all. The caller holds the tool's lock.

    Args:
        paths: Has the cache.
        name: Name of the tool.
        target: The final folder.

    Yields:
        An empty folder on the same disk. It becomes the final folder if the block ends well and is removed otherwise.

    Raises:
        ToolsError: The cache cannot be written.
    """
    prefix = f".building-{name}-"
    for stale in make(paths.tools).glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=paths.tools))
        try:
            folder.chmod(0o755)
            yield folder
            _flush(folder)
            if target.exists():
                target.rename(Path(tempfile.mkdtemp(prefix=prefix, dir=paths.tools)) / "broken")
            folder.rename(target)
        finally:
            for leftover in paths.tools.glob(f"{prefix}*"):
                shutil.rmtree(leftover, ignore_errors=True)
    except OSError as error:
        raise cache_error(paths.tools, error) from error


def _flush(folder: Path) -> None:
    """Bring executables to disk before the rename: a power cut must not leave an empty file under the final name."""
    for file in (folder / "bin").glob("*"):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def require_space(paths: Paths, megabytes: int) -> None:
    """Check the cache's disk before anything is downloaded.

    Args:
        paths: Has the cache.
        megabytes: Size of the downloads and builds.

    Raises:
        ToolsError: The cache cannot be written, or its disk has less room.
    """
    make(paths.cache)
    try:
        with tempfile.TemporaryFile(dir=paths.cache) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
        free = shutil.disk_usage(paths.cache).free // _MEGABYTE
    except OSError as error:
        raise cache_error(paths.cache, error) from error
    if free < megabytes + _SPARE_MEGABYTES:
        raise ToolsError(
            f"the disk of the cache folder {paths.cache} has {free / 1024:.1f} GiB free, and building the missing tools "
            f"takes up to {(megabytes + _SPARE_MEGABYTES) / 1024:.1f} GiB; free some space, or set "
            "RUNNER_PLATFORM_CACHE to a folder on another disk"
        )


def clean(paths: Paths, say: Callable[[str], None]) -> None:
    """Remove everything in the cache that can be built or downloaded again.

    Args:
        paths: Has the cache.
        say: Takes one line a folder.

    Raises:
        ToolsError: A sandbox uses the tools, a build runs right now, or a file cannot be removed.
    """
    running = _supervisor(paths.state_file)
    if running is not None:
        raise ToolsError(f"a sandbox is running (supervisor: process {running}); end it first: `make down`")
    with ExitStack() as held:
        # The compiler's own lock last: it has no name in it, and its holder also holds a tool's lock.
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
        raise ToolsError(f"process {holder} is building {name}; wait for it or end it first")

    return refuse


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise cache_error(folder, error) from error


def _supervisor(state_file: Path) -> int | None:
    """Return the process id of a live supervisor. The command line is compared: another process may have the id by now."""
    try:
        number = int(json.loads(state_file.read_text(encoding="utf-8"))["supervisor"]["pid"])
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if b"runner_platform_sandbox.supervisor" in command else None
