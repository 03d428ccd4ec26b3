"""Pulumi's own provider plugins in place of the stand-ins, for machines that reach Pulumi's download server.

`RUNNER_PLATFORM_PLUGINS=official` asks for them (`make up PLUGINS=official`). An archive that has
not the checksum in `sandbox/official-plugins.json` is refused. The versions are those of the SDKs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import requests

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

PINS: Final = Path(__file__).parents[2] / "official-plugins.json"
"""The download server, and the checksum of each archive by its file name."""
VARIABLE: Final = "RUNNER_PLATFORM_PLUGINS"
_OFFICIAL, _STAND_INS = "official", "stand-ins"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_PATIENCE_SECONDS: Final = 30
"""For each answer of the server, not for the whole download."""
_UNPACK_SECONDS: Final = 300


def requested() -> bool:
    """Whether the person asks for the official plugins.

    Raises:
        SandboxError: The variable has another value than the two.
    """
    value = os.environ.get(VARIABLE) or _STAND_INS
    if value not in {_OFFICIAL, _STAND_INS}:
        raise SandboxError(f"PLUGINS is {value!r}", f"use PLUGINS={_OFFICIAL}, or leave it out for the stand-ins")
    return value == _OFFICIAL


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A released plugin."""

    name: str
    """Such as `kubernetes`."""
    version: str

    @property
    def archive(self) -> str:
        """Name of the archive for this machine."""
        machine = _MACHINES.get(platform.machine(), platform.machine())
        return f"pulumi-resource-{self.name}-v{self.version}-linux-{machine}.tar.gz"


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Where the archives are, and what they are."""

    server: str
    sha256: Mapping[str, str]
    """By the archive's name."""


def read_pins(plugins: list[Plugin], file: Path = PINS) -> Pins:
    """Read the pins of some plugins.

    Raises:
        SandboxError: A checksum is missing.
    """
    pins = Pins(**json.loads(file.read_text(encoding="utf-8")))
    unpinned = [plugin.archive for plugin in plugins if plugin.archive not in pins.sha256]
    if unpinned:
        raise SandboxError(
            f"no checksum is pinned for {', '.join(unpinned)}",
            f"take it from the checksum file of the plugin's release, enter it under `sha256` in {file}, and run the "
            "same command again; or leave PLUGINS=official out",
        )
    return pins


def install(plugins: list[Plugin], pins: Pins, pulumi: Path, home: Path) -> None:
    """Download plugins and let the engine unpack them into its home; one that is installed stays.

    Args:
        plugins: The plugins.
        pins: Their pins.
        pulumi: The engine's command line.
        home: PULUMI_HOME.

    Raises:
        SandboxError: The server cannot be reached, a checksum is wrong, or an archive is none.
    """
    for plugin in plugins:
        if (home / "plugins" / f"resource-{plugin.name}-v{plugin.version}").exists():
            continue
        with tempfile.TemporaryDirectory(dir=home) as folder:
            archive = Path(folder) / plugin.archive
            _download(f"{pins.server}/{plugin.archive}", archive, pins.sha256[plugin.archive])
            _unpack(plugin, archive, pulumi, home)


def _download(url: str, archive: Path, expected: str) -> None:
    """Write an archive with the expected checksum. The engine's own check misses the last bytes of a response."""
    actual = hashlib.sha256()
    try:
        with requests.get(url, stream=True, timeout=_PATIENCE_SECONDS) as response, archive.open("wb") as file:
            response.raise_for_status()
            for part in response.iter_content(1024 * 1024):
                actual.update(part)
                file.write(part)
    except requests.exceptions.RequestException as error:
        raise SandboxError(
            f"{url} cannot be downloaded: {error}", "check that this machine reaches it; or leave PLUGINS=official out"
        ) from error
    if actual.hexdigest() != expected:
        raise SandboxError(
            f"{url} is refused: its SHA-256 is {actual.hexdigest()}, pinned is {expected}",
            f"compare both with the release's checksum file, and the pin in {PINS} if it is wrong",
        )


def _unpack(plugin: Plugin, archive: Path, pulumi: Path, home: Path) -> None:
    command = [str(pulumi), "plugin", "install", "resource", plugin.name, plugin.version, "--file", str(archive)]
    done = subprocess.run(
        [*command, "--non-interactive", "--color", "never"],
        env={**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_UNPACK_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise SandboxError(
            f"{plugin.archive} cannot be unpacked: {done.stderr.strip()}", "leave PLUGINS=official out, and report this"
        )
