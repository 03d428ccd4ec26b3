"""Builds one Go tool into a folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox.tools import processes
from runner_platform_sandbox.tools.cache import BUILD_ARGUMENTS, make
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.kinds import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.tools.go_toolchain import Toolchain
    from runner_platform_sandbox.tools.kinds import GoTool, ModuleFiles


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
        code = processes.run(
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
    lines = processes.tail(log)
    remedy = "run the same command again: what was compiled so far is kept"
    if "no space left on device" in lines:
        remedy = "free some space, or set RUNNER_PLATFORM_CACHE to a folder on another disk"
    elif "signal: killed" in lines:
        remedy = "the machine ran out of memory: close other programs and run the same command again"
    return ToolsError(f"building {name} failed with exit code {code}; {remedy}; whole log: {log}\n{lines}")
