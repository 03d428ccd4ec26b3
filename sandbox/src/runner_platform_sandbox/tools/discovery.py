"""Which tool is used: the one on PATH when it is good enough, else the one in the cache, else none.

The cache's own folders are not searched as PATH, although `sandbox env` puts them there: else a tool of an older lock
file would count as the person's own.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox.tools import versions
from runner_platform_sandbox.tools.cache import expected_files, is_complete, tool_folder
from runner_platform_sandbox.tools.catalogue import API_SERVER, CONTROLLER_MANAGER, EVERY_TOOL, SCHEDULER, TOOLS
from runner_platform_sandbox.tools.kinds import GoTool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.tools.kinds import Tool
    from runner_platform_sandbox.tools.versions import Version


class Origin(Enum):
    """Where a tool comes from."""

    PATH = "PATH"
    CACHE = "cache"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A tool that can be used."""

    name: str
    """Name in the catalogue."""
    program: Path
    """Its executable; for a tool of plain files, the folder that holds them."""
    version: Version | None
    """Its version; None for a Python environment, whose lock file says it."""
    origin: Origin
    """Where it comes from."""


def search_path(paths: Paths) -> str:
    """Return PATH without the cache's own folders."""
    own = str(paths.cache) + os.sep
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if entry and not (entry + os.sep).startswith(own))


def discover(paths: Paths, tools: Iterable[Tool] = TOOLS) -> dict[str, Found]:
    """Find the tools that are there, without building any.

    Args:
        paths: Where the cache is.
        tools: Which ones.

    Returns:
        What was found, by name; what is not there is left out.
    """
    tools = tuple(tools)
    found = _on_path(paths)
    result = {}
    for tool in tools:
        choice = found.get(tool.name) or _in_cache(paths, tool)
        if choice is not None:
            result[tool.name] = choice
    return result


def _on_path(paths: Paths) -> dict[str, Found]:
    """Choose among what PATH offers, tools that must fit each other together."""
    search = search_path(paths)
    candidates = [tool for tool in EVERY_TOOL if isinstance(tool, GoTool) and tool.on_path is not None]
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = pool.map(lambda tool: _probe(tool, search), candidates)
    found = {answer.name: answer for answer in answers if answer is not None}
    return _fitting_control_plane(found)


def _probe(tool: GoTool, search: str) -> Found | None:
    """Look one tool up; None when it is absent, silent, too old or lacks its companions."""
    rule = tool.on_path
    place = shutil.which(tool.name, path=search)
    if rule is None or place is None:
        return None
    program = _with_companions(Path(place), rule.beside)
    if program is None:
        return None
    version = versions.ask(program, rule.ask)
    if version is None or version < rule.minimum:
        return None
    return Found(name=tool.name, program=program, version=version, origin=Origin.PATH)


def _with_companions(program: Path, beside: tuple[str, ...]) -> Path | None:
    """Return the program where its companions are: beside the link on PATH, or beside the file that it points to."""
    for place in (program, program.resolve()):
        if all(os.access(place.with_name(name), os.X_OK) for name in beside):
            return place
    return None


def _fitting_control_plane(found: dict[str, Found]) -> dict[str, Found]:
    """Keep API server, controller manager and scheduler of one minor version, taking as much from PATH as fits."""
    partners = (CONTROLLER_MANAGER.name, SCHEDULER.name)
    built = API_SERVER.version.series

    def series(name: str) -> str | None:
        entry = found.get(name)
        return entry.version.series if entry and entry.version else None

    wanted = series(API_SERVER.name) or built
    if wanted != built and any(series(name) != wanted for name in partners):
        wanted = built
    misfits = {name for name in (API_SERVER.name, *partners) if series(name) != wanted}
    return {name: entry for name, entry in found.items() if name not in misfits}


def _in_cache(paths: Paths, tool: Tool) -> Found | None:
    folder = tool_folder(paths, tool)
    if not is_complete(tool, folder):
        return None
    if isinstance(tool, GoTool):
        program = folder / "bin" / tool.name if tool.package is not None else folder / "share"
        return Found(name=tool.name, program=program, version=tool.version, origin=Origin.CACHE)
    return Found(name=tool.name, program=expected_files(tool, folder)[0], version=None, origin=Origin.CACHE)
