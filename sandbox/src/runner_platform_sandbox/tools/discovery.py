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

from runner_platform_sandbox.tools import catalogue, versions
from runner_platform_sandbox.tools.cache import expected_files, is_complete, tool_folder
from runner_platform_sandbox.tools.catalogue import API_SERVER, CONTROLLER_MANAGER, EVERY_TOOL, SCHEDULER, TOOLS, GoTool
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.python import find_uv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.tools.catalogue import Tool
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


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What was found; each property raises ToolsError when its tool is not there."""

    paths: Paths
    """The cache that was searched."""
    found: Mapping[str, Found]
    """By name in the catalogue."""

    @classmethod
    def find(cls, paths: Paths) -> Tools:
        """Find every tool, building none.

        Raises:
            ToolsError: Some that a sandbox runs are missing; the message names them.
        """
        found = discover(paths, catalogue.EVERY_TOOL)
        missing = [tool.name for tool in catalogue.TOOLS if tool.name not in found]
        if missing:
            raise ToolsError(f"missing tools: {', '.join(missing)}; run `make up`, or `make tools` to build them only")
        return cls(paths=paths, found=found)

    @property
    def pulumi(self) -> Path:
        """The engine's command line."""
        return self._program(catalogue.PULUMI)

    @property
    def pulumi_language_python(self) -> Path:
        """Folder of the Python language host and of what it and the engine start: exec, analyzer, dynamic provider."""
        return self._program(catalogue.PULUMI).parent

    @property
    def helm(self) -> Path:
        """Helm 3 or 4."""
        return self._program(catalogue.HELM)

    @property
    def kubectl(self) -> Path:
        """The Kubernetes client."""
        return self._program(catalogue.KUBECTL)

    @property
    def etcd(self) -> Path:
        """The store of a control plane."""
        return self._program(catalogue.ETCD)

    @property
    def kube_apiserver(self) -> Path:
        """The API server."""
        return self._program(catalogue.API_SERVER)

    @property
    def kube_controller_manager(self) -> Path:
        """The controller manager, of the API server's minor version."""
        return self._program(catalogue.CONTROLLER_MANAGER)

    @property
    def kube_scheduler(self) -> Path:
        """The scheduler, of the API server's minor version."""
        return self._program(catalogue.SCHEDULER)

    @property
    def kwok(self) -> Path:
        """What plays the kubelets."""
        return self._program(catalogue.KWOK)

    @property
    def kwok_stages(self) -> tuple[Path, ...]:
        """The files for kwok's `--config`: nodes become ready and stay so, pods run, complete and go."""
        return tuple(sorted(self._program(catalogue.KWOK_STAGES).glob("*.yaml")))

    @property
    def ministack_python(self) -> Path:
        """Python of the AWS server's environment."""
        return self._program(catalogue.MINISTACK)

    @property
    def tofu(self) -> Path:
        """OpenTofu; only tests need it."""
        return self._program(catalogue.TOFU)

    @property
    def terraform_provider(self) -> Path:
        """The stand-in for OpenTofu's AWS provider; only tests need it."""
        return self._program(catalogue.TERRAFORM_PROVIDER)

    @property
    def uv(self) -> Path:
        """The uv that made the project's environment."""
        program = find_uv(self.paths, search_path(self.paths))
        if program is None:
            raise ToolsError("missing tool: uv; run `make setup`")
        return program

    def kubernetes_versions(self) -> tuple[str, ...]:
        """Return the minor versions of Kubernetes that can be served, oldest first, for example `("1.35",)`."""
        entry = self.found.get(catalogue.API_SERVER.name)
        return (entry.version.series,) if entry is not None and entry.version is not None else ()

    def path_folders(self) -> list[Path]:
        """List the folders to put before the person's PATH.

        Folders that are on PATH already are left out: moved to the front, such a folder would also change which other
        programs are found.
        """
        known = search_path(self.paths).split(os.pathsep)
        hidden = {catalogue.MINISTACK.name, catalogue.KWOK_STAGES.name}
        folders = (entry.program.parent for entry in self.found.values() if entry.name not in hidden)
        return [folder for folder in dict.fromkeys(folders) if str(folder) not in known]

    def _program(self, tool: Tool) -> Path:
        entry = self.found.get(tool.name)
        if entry is None:
            raise ToolsError(f"missing tool: {tool.name}; run `make tools`")
        return entry.program


def nearest_version(pinned: str, served: tuple[str, ...]) -> str:
    """Choose the served minor version nearest to a pinned one; of two equally near ones, the newer.

    Args:
        pinned: What the stack asks for, for example `1.34`.
        served: From `Tools.kubernetes_versions`; not empty.

    Returns:
        One of `served`. The caller says so when it is another than `pinned`.
    """

    def distance(candidate: str) -> tuple[int, int]:
        wanted, offered = (int(text.split(".")[1]) for text in (pinned, candidate))
        return abs(wanted - offered), -offered

    return min(served, key=distance)
