"""Installs a program of the project that runs on Node.js, with its locked packages.

Scripts of packages do not run, and the person's registry settings are honoured. A small shell script starts the program
with the path of the Node.js that installed it, so that it also runs in an empty environment.
"""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox.tools import versions
from runner_platform_sandbox.tools.cache import expected_files, is_complete, make, tool_folder
from runner_platform_sandbox.tools.catalogue import NODE, SOURCES
from runner_platform_sandbox.tools.command import run, tail
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.versions import Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.tools.catalogue import NodeTool

MINIMUM = Version(20, 0)
"""The oldest version that the AWS SDK for JavaScript supports."""
_NPM = Path("lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A Node.js with its npm."""

    program: Path
    npm: Path
    """npm's script; `program` runs it."""


def on_path(search: str) -> Node | None:
    """Return the Node.js on PATH if it is new enough and has an npm."""
    program, npm = (shutil.which(name, path=search) for name in ("node", "npm"))
    if program is None or npm is None:
        return None
    version = versions.ask(Path(program), ["--version"])
    if version is None or version < MINIMUM:
        return None
    return Node(program=Path(program), npm=Path(npm).resolve())


def installed(paths: Paths) -> Node | None:
    """Return the Node.js that an earlier run installed from PyPI, or None."""
    folder = tool_folder(paths, NODE)
    if not is_complete(NODE, folder):
        return None
    program = expected_files(NODE, folder)[0]
    return Node(program=program, npm=program.parent.parent / _NPM)


def install(
    paths: Paths, tool: NodeTool, folder: Path, *, final: Path, node: Node, tick: Callable[[float], None]
) -> None:
    """Install a program into a folder that will be renamed afterwards.

    Args:
        paths: Has the cache; the log goes there.
        tool: The tool.
        folder: An empty folder.
        final: Path of the folder after the rename.
        node: The Node.js to install and run with.
        tick: Called during the installation, with the seconds since the start of the step.

    Raises:
        ToolsError: npm failed; the message ends with its last lines.
    """
    for name in tool.files:
        shutil.copyfile(SOURCES / tool.source / name, folder / name)
    log = make(paths.tools / "logs") / f"{tool.name}.log"
    log.write_bytes(b"")
    cache = folder / ".npm"
    command = [
        str(node.program),
        str(node.npm),
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--cache",
        str(cache),
    ]
    code = run(command, log=log, cwd=folder, environment=os.environ, tick=tick)
    shutil.rmtree(cache, ignore_errors=True)
    if code != 0:
        raise ToolsError(
            f"installing {tool.name} failed with exit code {code}; if the package registry was out of reach, run the same "
            f"command again; whole log: {log}\n{tail(log)}"
        )
    launcher = make(folder / "bin") / tool.name
    words = shlex.join([str(node.program), str(final / tool.script)])
    launcher.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
