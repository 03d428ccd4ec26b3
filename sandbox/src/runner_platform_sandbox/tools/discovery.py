"""Which tool is used: the program on PATH if it is good enough, else the one in the cache.

PATH is searched without the cache's own folders, although `sandbox env` puts them there: a tool of an older lock file
would otherwise count as the person's own.
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
    """The origin of a tool."""

    PATH = "PATH"
    CACHE = "cache"


@dataclass(frozen=True, kw_only=True)
class PresentTool:
    """A tool that can be used."""

    name: str
    """Name in the catalogue."""
    program: Path
    """The executable, or the folder of a tool of plain files."""
    version: Version | None
    """The version; None for a Python environment, which has a lock file instead."""
    origin: Origin
    """The origin."""


def search_path(paths: Paths) -> str:
    """Return PATH without the cache's own folders."""
    own = str(paths.cache) + os.sep
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if entry and not (entry + os.sep).startswith(own))


def discover(paths: Paths, tools: Iterable[Tool] = TOOLS) -> dict[str, PresentTool]:
    """Find the present tools, without building any.

    Args:
        paths: Has the cache.
        tools: The tools to look for.

    Returns:
        The present tools, by name.
    """
    tools = tuple(tools)
    usable = _on_path(paths)
    choices = {tool.name: usable.get(tool.name) or _in_cache(paths, tool) for tool in tools}
    return {name: choice for name, choice in choices.items() if choice is not None}


def _on_path(paths: Paths) -> dict[str, PresentTool]:
    """Choose tools from PATH; the control plane's parts must fit each other."""
    search = search_path(paths)
    candidates = [tool for tool in EVERY_TOOL if isinstance(tool, GoTool) and tool.on_path is not None]
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = pool.map(lambda tool: _probe(tool, search), candidates)
    usable = {answer.name: answer for answer in answers if answer is not None}
    return _fitting_control_plane(usable)


def _probe(tool: GoTool, search: str) -> PresentTool | None:
    """Look one tool up; None if it is absent, silent, too old or without its companions."""
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
    return PresentTool(name=tool.name, program=program, version=version, origin=Origin.PATH)


def _with_companions(program: Path, beside: tuple[str, ...]) -> Path | None:
    """Return the program's path in the folder of its companions, with or without following its link."""
    for place in (program, program.resolve()):
        if all(os.access(place.with_name(name), os.X_OK) for name in beside):
            return place
    return None


def _fitting_control_plane(usable: dict[str, PresentTool]) -> dict[str, PresentTool]:
    """Keep API server, controller manager and scheduler of one minor version; the others come from the cache."""
    partners = (CONTROLLER_MANAGER.name, SCHEDULER.name)
    built = API_SERVER.version.series

    def series(name: str) -> str | None:
        entry = usable.get(name)
        return entry.version.series if entry and entry.version else None

    target = series(API_SERVER.name) or built
    if target != built and any(series(name) != target for name in partners):
        target = built
    misfits = {name for name in (API_SERVER.name, *partners) if series(name) != target}
    return {name: entry for name, entry in usable.items() if name not in misfits}


def _in_cache(paths: Paths, tool: Tool) -> PresentTool | None:
    folder = tool_folder(paths, tool)
    if not is_complete(tool, folder):
        return None
    if isinstance(tool, GoTool):
        program = folder / "bin" / tool.name if tool.package is not None else folder / "share"
        return PresentTool(name=tool.name, program=program, version=tool.version, origin=Origin.CACHE)
    return PresentTool(name=tool.name, program=expected_files(tool, folder)[0], version=None, origin=Origin.CACHE)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The present tools, by name, as absolute paths; a property raises ToolsError if its tool is missing."""

    paths: Paths
    """The searched cache."""
    present: Mapping[str, PresentTool]
    """By name in the catalogue."""

    @classmethod
    def find(cls, paths: Paths) -> Tools:
        """Find every tool, building none.

        Raises:
            ToolsError: A tool of every sandbox is missing; the message names it.
        """
        present = discover(paths, catalogue.EVERY_TOOL)
        missing = [tool.name for tool in catalogue.TOOLS if tool.name not in present]
        if missing:
            raise ToolsError(
                f"missing tools: {', '.join(missing)}; run `make up`, or build the tools only: `make tools`"
            )
        return cls(paths=paths, present=present)

    @property
    def pulumi(self) -> Path:
        """The engine's command line."""
        return self._program(catalogue.PULUMI)

    @property
    def pulumi_language_python(self) -> Path:
        """Folder of the Python language host and its companions: exec, analyzer, dynamic provider."""
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
        """The program that plays the kubelets."""
        return self._program(catalogue.KWOK)

    @property
    def kwok_stages(self) -> tuple[Path, ...]:
        """Files for kwok's `--config`: nodes become ready and stay so, pods run, complete and go."""
        return tuple(sorted(self._program(catalogue.KWOK_STAGES).glob("*.yaml")))

    @property
    def karpenter_crds(self) -> tuple[Path, ...]:
        """Karpenter's own definitions of NodePool and NodeClaim."""
        return tuple(sorted(self._program(catalogue.KARPENTER_CRDS).glob("*.yaml")))

    @property
    def ministack_python(self) -> Path:
        """Python of the AWS server's environment."""
        return self._program(catalogue.MINISTACK)

    @property
    def tofu(self) -> Path:
        """OpenTofu, for tests."""
        return self._program(catalogue.TOFU)

    @property
    def terraform_provider(self) -> Path:
        """The stand-in for OpenTofu's AWS provider, for tests."""
        return self._program(catalogue.TERRAFORM_PROVIDER)

    @property
    def gitlab_runner(self) -> Path:
        """GitLab Runner with the Kubernetes executor; `gitlab-runner-helper` is in the same folder."""
        return self._program(catalogue.GITLAB_RUNNER)

    @property
    def process_node(self) -> Path:
        """The kubelet for job pods that run as processes."""
        return self._program(catalogue.PROCESS_NODE)

    @property
    def kubernetes_plugin(self) -> Path:
        """Pulumi's own Kubernetes provider, for tests."""
        return self._program(catalogue.KUBERNETES_PLUGIN)

    @property
    def uv(self) -> Path:
        """The uv of the project's environment."""
        program = find_uv(self.paths, search_path(self.paths))
        if program is None:
            raise ToolsError("missing tool: uv; run `make setup`")
        return program

    def kubernetes_versions(self) -> tuple[str, ...]:
        """Return the minor versions of Kubernetes that the sandbox can serve, oldest first, for example `("1.35",)`."""
        entry = self.present.get(catalogue.API_SERVER.name)
        return (entry.version.series,) if entry is not None and entry.version is not None else ()

    def path_folders(self) -> list[Path]:
        """List the folders to put before the person's PATH.

        A folder that is on PATH already is left out: at the front it would hide programs of other folders. The
        Kubernetes plugin is left out, too: the engine prefers a plugin on PATH to those of its home.
        """
        on_path = search_path(self.paths).split(os.pathsep)
        # The runner lacks executors and commands of GitLab's release: it must not hide the person's own.
        hidden = {
            catalogue.MINISTACK.name,
            catalogue.KWOK_STAGES.name,
            catalogue.KARPENTER_CRDS.name,
            catalogue.GITLAB_RUNNER.name,
            catalogue.KUBERNETES_PLUGIN.name,
            catalogue.KUBELET.name,
            catalogue.KUBE_ROUTER.name,
        }
        folders = (entry.program.parent for entry in self.present.values() if entry.name not in hidden)
        return [folder for folder in dict.fromkeys(folders) if str(folder) not in on_path]

    def _program(self, tool: Tool) -> Path:
        entry = self.present.get(tool.name)
        if entry is None:
            raise ToolsError(f"missing tool: {tool.name}; run `make tools`")
        return entry.program


def nearest_version(pinned: str, served: tuple[str, ...]) -> str:
    """Choose the served minor version nearest to a pinned one; of two equally near ones, the newer.

    Args:
        pinned: The stack's version, for example `1.34`.
        served: From `Tools.kubernetes_versions`; not empty.

    Returns:
        One of `served`. If it differs from `pinned`, the caller tells the person.
    """

    def distance(candidate: str) -> tuple[int, int]:
        asked, offered = (int(text.split(".")[1]) for text in (pinned, candidate))
        return abs(asked - offered), -offered

    return min(served, key=distance)
