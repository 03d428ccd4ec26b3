"""Builds or installs the missing tools, one after the other.

One at a time on purpose: the Go compiler fills all cores with one tool, and two at once compete for memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from runner_platform_sandbox.tools import go, node, python
from runner_platform_sandbox.tools.cache import is_complete, locked, require_space, staged, tool_folder
from runner_platform_sandbox.tools.catalogue import BY_NAME, GO, NODE, TOOLS, GoTool, NodeTool, PythonTool
from runner_platform_sandbox.tools.discovery import Tools, discover, search_path
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.progress import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.tools.catalogue import Tool


def ensure(paths: Paths, names: Iterable[str] | None = None, console: Console | None = None) -> Tools:
    """Make tools available.

    Args:
        paths: Has the cache.
        names: Names in the catalogue; None for all tools of a sandbox.
        console: Where progress is shown; standard error by default.

    Returns:
        The tools.

    Raises:
        ToolsError: A tool cannot be built. Complete tools stay; the same call goes on from there.
    """
    chosen = TOOLS if names is None else tuple(_by_name(name) for name in names)
    present = discover(paths, chosen)
    missing = [tool for tool in chosen if tool.name not in present]
    if missing:
        _make_all(paths, missing, console or Console(stderr=True))
        present = discover(paths, chosen)
        if len(present) < len(chosen):
            broken = ", ".join(tool.name for tool in chosen if tool.name not in present)
            raise ToolsError(f"{broken} was built but cannot be used; run `make distclean` and try again")
    if set(TOOLS) <= set(chosen):
        go.remove_build_files(paths)
    return Tools(paths=paths, present=present)


def _by_name(name: str) -> Tool:
    if name not in BY_NAME:
        raise ToolsError(f"unknown tool {name!r}; choose from {', '.join(BY_NAME)}")
    return BY_NAME[name]


def _make_all(paths: Paths, missing: list[Tool], console: Console) -> None:
    maker = _Maker(paths=paths, search=search_path(paths))
    order: list[Tool] = list(missing)
    if any(isinstance(tool, GoTool) for tool in missing) and maker.go() is None:
        order.insert(0, GO)
    if any(isinstance(tool, NodeTool) for tool in missing) and maker.node() is None:
        order.insert(0, NODE)
    require_space(paths, sum(tool.megabytes for tool in order))
    steps = Steps(console, len(order))
    seconds = sum(tool.seconds for tool in order)
    if seconds >= 60:  # noqa: PLR2004  # a minute: shorter steps need no announcement
        steps.say(
            f"{len(order)} tools are missing; building them takes about {round(seconds / 60)} min on two cores, once: "
            f"they stay in {paths.tools}"
        )
    for tool in order:
        maker.make(tool, steps)


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """Makes one tool at a time."""

    paths: Paths
    search: str

    def go(self) -> Path | None:
        """Return the Go to build with; None if Go must be installed first."""
        return go.on_path(self.search) or go.installed(self.paths)

    def node(self) -> node.Node | None:
        """Return the Node.js to install with; None if Node.js must be installed first."""
        return node.on_path(self.search) or node.installed(self.paths)

    def make(self, tool: Tool, steps: Steps) -> None:
        """Make one tool, unless another process did so while we waited for its lock."""
        folder = tool_folder(self.paths, tool)
        verb = "building" if isinstance(tool, GoTool) and tool.package else "installing"

        def waiting(holder: str) -> None:
            steps.say(f"process {holder} is making {tool.name}; waiting")

        with steps.step(verb, tool.name, tool.seconds) as tick, locked(self.paths, tool.name, waiting):
            if is_complete(tool, folder):
                return
            with staged(self.paths, tool.name, folder) as staging:
                if isinstance(tool, PythonTool):
                    self._install(tool, staging, steps, tick)
                elif isinstance(tool, NodeTool):
                    self._install_packages(tool, staging, folder, tick)
                else:
                    self._build(tool, staging, tick)

    def _install(self, tool: PythonTool, staging: Path, steps: Steps, tick: Callable[[float], None]) -> None:
        uv = python.find_uv(self.paths, self.search) or python.install_uv(self.paths, say=steps.say)
        python.install(self.paths, tool, staging, uv=uv, tick=tick)

    def _install_packages(self, tool: NodeTool, staging: Path, folder: Path, tick: Callable[[float], None]) -> None:
        program = self.node()
        if program is None:
            raise ToolsError("Node.js was installed but is not found; run `make distclean`")
        node.install(self.paths, tool, staging, final=folder, node=program, tick=tick)

    def _build(self, tool: GoTool, staging: Path, tick: Callable[[float], None]) -> None:
        program = self.go()
        if program is None:
            raise ToolsError("Go was installed but is not found; run `make distclean`")
        with go.in_use(self.paths):
            # Prepared for each tool: between two builds another clone may remove the compiler's files.
            toolchain = go.toolchain(self.paths, program)
            go.build(self.paths, tool, staging, toolchain=toolchain, tick=tick)
