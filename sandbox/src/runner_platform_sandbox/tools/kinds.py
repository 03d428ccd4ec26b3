"""The kinds of tools that the sandbox can be given, and where their pins are.

Which tools there are stands in `catalogue`. Versions are read from each source folder's `go.mod`, `uv.lock` or `package-lock.json`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.versions import Version, parse

SOURCES = Path(__file__).resolve().parents[3] / "tools"
"""The folder with one Go module or Python project per source."""


@dataclass(frozen=True, kw_only=True)
class PathRule:
    """When a program on PATH is used."""

    ask: tuple[str, ...]
    """Arguments that make it print its version."""
    minimum: Version
    """Older ones are ignored."""
    beside: tuple[str, ...] = ()
    """Other programs that must lie in the same folder, else it is ignored."""


@dataclass(frozen=True, kw_only=True)
class ModuleFiles:
    """Plain files that a Go module carries and a tool needs."""

    source: str
    """Folder below SOURCES whose go.mod selects the module's version."""
    module: str
    """Module path."""
    files: tuple[str, ...]
    """Paths inside the module."""
    destination: str
    """`bin` (made executable) or `share`."""


@dataclass(frozen=True, kw_only=True)
class GoProgram:
    """A program that belongs into the folder of another, from a module of its own."""

    name: str
    """Name of the executable."""
    source: str
    """Folder below SOURCES with go.mod and go.sum."""
    package: str
    """The main package."""
    linker_flags: str = "-s -w"
    """Symbols are stripped: half the size."""


@dataclass(frozen=True, kw_only=True)
class GoTool:
    """A tool made from a Go module."""

    name: str
    """Also the name of its executable, where it has one."""
    source: str
    """Folder below SOURCES with go.mod and go.sum."""
    module: str
    """The module whose version is the tool's version."""
    package: str | None
    """The main package; None for a tool that is files only."""
    variables: tuple[str, ...] = ()
    """`-X` assignments of the linker; `{version}`, `{major}` and `{minor}` are filled in."""
    companions: tuple[GoProgram, ...] = ()
    """Programs that it looks for in its own folder."""
    files: tuple[ModuleFiles, ...] = ()
    """Plain files that belong beside it."""
    own: tuple[str, ...] = ()
    """Source files of the project itself, in the source folder; none where all of it is other people's."""
    on_path: PathRule | None = None
    """When the one on PATH is used; None: never by itself."""
    seconds: int
    """Usual time to build on two cores."""
    megabytes: int
    """Disk that its build takes at most, caches included."""

    @property
    def version(self) -> Version:
        """The version that go.mod selects."""
        return module_version(self.source, self.module)

    @property
    def linker_flags(self) -> str:
        """Strip symbols, and set the version that a release build would carry."""
        version = self.version
        fill = {"version": version, "major": version.major, "minor": version.minor}
        return " ".join([GoProgram.linker_flags, *(f"-X {variable.format(**fill)}" for variable in self.variables)])

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source folder that decides what this tool is."""
        others = [program.source for program in self.companions] + [entry.source for entry in self.files]
        return tuple(dict.fromkeys([self.source, *others]))

    @property
    def programs(self) -> tuple[GoProgram, ...]:
        """Everything that is compiled for it."""
        if self.package is None:
            return self.companions
        own = GoProgram(name=self.name, source=self.source, package=self.package, linker_flags=self.linker_flags)
        return (own, *self.companions)


@dataclass(frozen=True, kw_only=True)
class PythonTool:
    """A tool in a Python environment of its own, because its pins do not fit the project's."""

    name: str
    """Name of the environment."""
    source: str
    """Folder below SOURCES with pyproject.toml and uv.lock."""
    executable: str
    """What must be there afterwards, relative to the environment; `*` as in a shell."""
    seconds: int
    """Usual time to install."""
    megabytes: int
    """Disk that it takes."""


@dataclass(frozen=True, kw_only=True)
class NodeTool:
    """A program of the project that runs on Node.js, with its locked packages."""

    name: str
    """Also the name of its executable."""
    source: str
    """Folder below SOURCES with package.json and package-lock.json."""
    script: str
    """What runs, in the source folder."""
    seconds: int
    """Usual time to install."""
    megabytes: int
    """Disk that it takes."""

    @property
    def files(self) -> tuple[str, ...]:
        """Files of the source folder that make it."""
        return ("package.json", "package-lock.json", self.script)


Tool = GoTool | PythonTool | NodeTool


@cache
def module_version(source: str, module: str) -> Version:
    """Read the version of a module from a source folder's go.mod.

    Raises:
        ToolsError: The file does not select that module.
    """
    text = (SOURCES / source / "go.mod").read_text(encoding="utf-8")
    match = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+v(\S+)", text, re.MULTILINE)
    version = parse(match[1]) if match else None
    if version is None:
        raise ToolsError(f"sandbox/tools/{source}/go.mod does not require {module}; restore the file from git")
    return version
