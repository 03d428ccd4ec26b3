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
"""What each part may import of the project's own; the longest matching part counts."""
NO_PULUMI = ("components/documents", "access")


@cache
def sources() -> dict[str, set[str]]:
    """Modules that each source file imports, wherever in the file, type checking included."""
    found = {}
    for package in (*PACKAGES, "__main__.py"):
        start = load.ROOT / package
        for file in [start] if start.is_file() else sorted(start.rglob("*.py")):
            found[str(file.relative_to(load.ROOT))] = imported(file)
    return found


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide their direction"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(path: str) -> str:
    return max((part for part in ALLOWED if path.startswith(f"{part}/")), key=len)


def own(modules: set[str]) -> set[str]:
    packages = {PurePath(package).name for package in PACKAGES}
    return {module for module in modules if module.partition(".")[0] in packages}


def wrong_imports(path: str) -> set[str]:
    allowed = ALLOWED[part_of(path)]
    modules = own(sources()[path])
    return {module for module in modules if not any(f"{module}.".startswith(f"{each}.") for each in allowed)}


def test_a_file_imports_only_what_its_part_may() -> None:
    # One test for all files: parsing them when tests are collected would cost every run a second.
    found = {path: wrong_imports(path) for path in sources() if path != "__main__.py"}
    wrong = {path: modules for path, modules in found.items() if modules}
    assert len(found) > len(PACKAGES), "no file was looked at"
    assert not wrong, f"{wrong}: imports point main -> components -> documents -> config"


def test_the_programs_import_components_and_settings_only() -> None:
    assert own(sources()["__main__.py"]), "the program composes components"
    for module in own(sources()["__main__.py"]):
        assert module.startswith(("components.", "config.")), f"__main__.py imports {module}"


def test_nothing_outside_the_sandbox_imports_it() -> None:
    found = {
        path
        for path, modules in sources().items()
        if not path.startswith(SANDBOX) and any(module.startswith("runner_platform_sandbox") for module in modules)
    }
    assert not found, "the platform has no branch for the sandbox; its commands come by an entry point"


@pytest.mark.parametrize("part", NO_PULUMI)
def test_documents_know_nothing_of_pulumi(part: str) -> None:
    for path, modules in sources().items():
        if path.startswith(f"{part}/"):
            assert not [module for module in modules if module.startswith("pulumi")], f"{path}: pure functions only"


def test_configuration_is_read_in_one_place() -> None:
    readers = {"config/load.py", "config/secrets.py"}
    for path in sources():
        if path.startswith(("components/", "config/")) or path.endswith("__main__.py"):
            uses = "pulumi.Config(" in (load.ROOT / path).read_text()
            assert not uses or path in readers, f"{path} reads configuration behind the settings' back"


def test_the_exec_plugin_starts_without_the_sdks() -> None:
    script = (
        "import sys, atexit; from runner_platform.cli import main; from runner_platform.kube import token; sys.argv = ['runner-platform', 'kube-token', '--help'];"
        "atexit.register(lambda: print({'pulumi', 'boto3', 'yaml'} & set(sys.modules))); main.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=load.ROOT)
    assert done.stdout.splitlines()[-1] == "set()", "every object of the cluster starts it; it must start fast"
