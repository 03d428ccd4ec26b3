"""The tools of a sandbox, by name, as absolute paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner_platform_sandbox.tools import catalogue
from runner_platform_sandbox.tools.discovery import Found, discover, search_path
from runner_platform_sandbox.tools.environments import find_uv
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.tools.kinds import Tool


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
    def karpenter_crds(self) -> tuple[Path, ...]:
        """Karpenter's own definitions of NodePool and NodeClaim."""
        return tuple(sorted(self._program(catalogue.KARPENTER_CRDS).glob("*.yaml")))

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
        hidden = {catalogue.MINISTACK.name, catalogue.KWOK_STAGES.name, catalogue.KARPENTER_CRDS.name}
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
