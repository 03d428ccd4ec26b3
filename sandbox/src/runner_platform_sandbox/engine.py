"""The engine's home in the sandbox: the plugin folder with the stand-in providers, and the file backend.

The real engine looks for a provider as the executable `plugins/resource-<name>-v<version>/pulumi-resource-<name>`, with
the version of the program's own SDK. The sandbox puts a launcher of three lines there.
"""

from __future__ import annotations

import shlex
import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox import disk, official
from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.tools.discovery import Tools

STAND_INS: Final = ("aws", "gitlab", "kubernetes")
"""Stand-in providers: each has a package `runner_platform_sandbox.providers.<name>` and an SDK `pulumi-<name>`."""
_MARK: Final = "# Stand-in for the"


def prepare(paths: Paths, tools: Tools, venv: Path) -> list[Path]:
    """Install the plugins and make the backend's folder; a plugin that is right already is left alone.

    Args:
        paths: The sandbox.
        tools: The engine and its companions.
        venv: The project's environment: the launchers run its Python.

    Returns:
        The folders to put before the person's PATH: engine, language host and the other tools.

    Raises:
        SandboxError: A Python SDK is missing, an official plugin cannot be had, or the home cannot be written.
    """
    plugins = paths.pulumi_home / "plugins"
    try:
        paths.backend.mkdir(parents=True, exist_ok=True)
        plugins.mkdir(parents=True, exist_ok=True)
        if official.requested():
            released = [official.Plugin(name=name, version=_sdk_version(name)) for name in STAND_INS]
            pins = official.read_pins(released)
            _remove_launchers(plugins)
            official.install(released, pins, tools.pulumi, paths.pulumi_home)
        else:
            for name in STAND_INS:
                _install(plugins, name, venv)
    except OSError as error:
        raise SandboxError(
            f"the engine's home {paths.pulumi_home} cannot be written: {error.strerror or error}",
            "free some space there, or set RUNNER_PLATFORM_SANDBOX to another folder",
        ) from error
    return tools.path_folders()


def launcher(name: str, venv: Path) -> str:
    """Return the script that the engine starts as the provider's plugin.

    Python is isolated (`-I`): the engine starts plugins in the program's folder. Neither the program's modules nor
    PYTHON variables may reach the provider.
    """
    python = shlex.quote(str(venv / "bin" / "python"))
    return f'#!/bin/sh\n{_MARK} {name} provider.\nexec {python} -I -m runner_platform_sandbox.providers.{name} "$@"\n'


def _install(plugins: Path, name: str, venv: Path) -> None:
    folder = plugins / f"resource-{name}-v{_sdk_version(name)}"
    # Remove the launchers of a replaced SDK: the engine would take the newest when a program names no version.
    for installed in plugins.glob(f"resource-{name}-v*"):
        if installed != folder and installed.is_dir():  # the engine puts lock files beside them
            shutil.rmtree(installed)
    folder.mkdir(exist_ok=True)
    file = folder / f"pulumi-resource-{name}"
    text = launcher(name, venv)
    if not file.is_file() or file.read_bytes() != text.encode():
        disk.replace(file, text, mode=0o755)


def _remove_launchers(plugins: Path) -> None:
    """Make room for the official plugins: the engine takes a launcher in their place for an installed one."""
    for file in plugins.glob("resource-*/pulumi-resource-*"):
        with file.open("rb") as stream:
            is_launcher = _MARK.encode() in stream.read(100)
        if is_launcher:
            shutil.rmtree(file.parent)


def _sdk_version(name: str) -> str:
    try:
        return metadata.version(f"pulumi-{name}")
    except metadata.PackageNotFoundError as error:
        raise SandboxError(f"the Python package pulumi-{name} is not installed", "run `make setup`") from error
