"""Imports point one way, read from the sources: programs and runner_platform, components, documents, configuration."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING

import pytest

from config import load

if TYPE_CHECKING:
    from pathlib import Path

SANDBOX = "sandbox/src/runner_platform_sandbox"
PACKAGES = ("config", "components", "access", "policies", "runner_platform", SANDBOX, "foundation")
ALLOWED = {
    "config": {"config"},
    "components/documents": {"config", "components.documents"},
    "components": {"config", "components"},
    "access": {"config", "components.documents", "access"},
    "policies": {"config", "components.documents", "access", "policies"},
    "runner_platform": {"config", "components", "access", "policies", "runner_platform"},
    "foundation": {"config", "components"},
    SANDBOX: {"config", "components.documents", "runner_platform_sandbox"},
}
"""Packages of the project that each part may import; the longest matching part counts."""
NO_PULUMI = ("components/documents", "access")


@cache
def sources() -> dict[str, set[str]]:
    """Return the modules that each source file imports, at any place in the file, also for type checking."""
    modules = {}
    for package in (*PACKAGES, "__main__.py"):
        start = load.ROOT / package
        for file in [start] if start.is_file() else sorted(start.rglob("*.py")):
            modules[str(file.relative_to(load.ROOT))] = imported(file)
    return modules


def imported(file: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide their direction"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def part_of(path: str) -> str:
    return max((part for part in ALLOWED if path.startswith(f"{part}/")), key=len)


def own(modules: set[str]) -> set[str]:
    packages = {PurePath(package).name for package in PACKAGES}
    return {module for module in modules if module.partition(".")[0] in packages}


def wrong_imports(path: str) -> set[str]:
    allowed = ALLOWED[part_of(path)]
    modules = own(sources()[path])
    return {module for module in modules if not any(f"{module}.".startswith(f"{package}.") for package in allowed)}


def test_a_file_imports_only_packages_that_are_allowed_for_its_part() -> None:
    # One test for all files: parsing them when tests are collected would cost every run a second.
    checked = {path: wrong_imports(path) for path in sources() if path != "__main__.py"}
    wrong = {path: modules for path, modules in checked.items() if modules}
    assert len(checked) > len(PACKAGES), "the source files are read"
    assert not wrong, f"{wrong}: imports point main -> components -> documents -> config"


def test_the_programs_import_components_and_settings_only() -> None:
    assert own(sources()["__main__.py"]), "the program composes components"
    for module in own(sources()["__main__.py"]):
        assert module.startswith(("components.", "config.")), f"__main__.py imports {module}"


def test_nothing_outside_the_sandbox_imports_it() -> None:
    importers = {
        path
        for path, modules in sources().items()
        if not path.startswith(SANDBOX) and any(module.startswith("runner_platform_sandbox") for module in modules)
    }
    assert not importers, "the platform has no branch for the sandbox; an entry point adds its commands"


@pytest.mark.parametrize("part", NO_PULUMI)
def test_documents_do_not_import_pulumi(part: str) -> None:
    for path, modules in sources().items():
        if path.startswith(f"{part}/"):
            assert not [module for module in modules if module.startswith("pulumi")], f"{path}: pure functions only"


def test_configuration_is_read_in_one_place() -> None:
    readers = {"config/load.py", "config/secrets.py"}
    for path in sources():
        if path.startswith(("components/", "config/")) or path.endswith("__main__.py"):
            uses = "pulumi.Config(" in (load.ROOT / path).read_text()
            assert not uses or path in readers, (
                f"{path} reads configuration outside of config/load.py and config/secrets.py"
            )


@pytest.mark.parametrize("arguments", [["kube-token", "--help"], ["--help"], ["--version"]])
def test_the_command_line_starts_without_the_sdks(arguments: list[str]) -> None:
    script = (
        "import sys, atexit; from runner_platform import __main__ as script; sys.argv = ['runner-platform', *sys.argv[1:]];"
        "atexit.register(lambda: print({'pulumi', 'boto3', 'gitlab'} & set(sys.modules))); script.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, cwd=load.ROOT
    )
    assert done.stdout.splitlines()[-1] == "set()", "kubectl starts the exec plugin for every object of the cluster"


PLATFORM_LAYERS = (
    "errors",
    "terminal",
    "urns",
    "stacks",
    "class_files",
    "image_context",
    "import_config",
    "live_runners",
    "kube",
    "reports",
    "check",
    "review",
    "prove",
    "driver",
    "bootstrap",
    "cli",
    "__main__",
)
"""Modules and packages of runner_platform, the lowest first: each imports only itself and those before it."""


def platform_imports() -> set[tuple[str, str]]:
    """Return pairs of importing and imported top-level module of runner_platform."""
    return {
        (PurePath(path).parts[1].removesuffix(".py"), module.split(".")[1])
        for path, modules in sources().items()
        if path.startswith("runner_platform/")
        for module in modules
        if module.startswith("runner_platform.")
    }


def test_the_platforms_modules_import_only_lower_layers() -> None:
    names = {path.name.removesuffix(".py") for path in (load.ROOT / "runner_platform").iterdir()}
    assert names - {"__init__", "__pycache__", "py.typed"} == set(PLATFORM_LAYERS), "every module has a layer"
    rank = {name: index for index, name in enumerate(PLATFORM_LAYERS)}
    upward = {(importer, name) for importer, name in platform_imports() if rank[name] > rank[importer]}
    assert not upward, "imports of runner_platform point down"
