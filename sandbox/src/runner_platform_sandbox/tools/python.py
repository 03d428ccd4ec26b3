"""Python environments of tools: uv itself, and the tools with pins that do not fit the project's environment."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox.tools import versions
from runner_platform_sandbox.tools.cache import digest, locked, make, staged
from runner_platform_sandbox.tools.catalogue import SOURCES, PythonTool
from runner_platform_sandbox.tools.command import run, tail
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.versions import Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.paths import Paths

UV_MINIMUM = Version(0, 9, 17)
"""The first version that reads a relative `exclude-newer`, as in pyproject.toml."""
_UV_PINS = SOURCES / "uv.txt"
UV_TOOL = PythonTool(name="uv", source=".", executable="bin/uv", seconds=10, megabytes=150)


def uv_folder(paths: Paths) -> Path:
    """Return the folder of our own uv in the cache."""
    return paths.tools / f"uv-{digest([_UV_PINS.read_bytes(), repr(sys.version_info[:2]).encode()])}"


def find_uv(paths: Paths, search: str) -> Path | None:
    """Return the uv on PATH if it is new enough, else the uv in the cache, else None."""
    program = shutil.which("uv", path=search)
    if program is not None:
        version = versions.ask(Path(program), ["--version"])
        if version is not None and version >= UV_MINIMUM:
            return Path(program)
    own = uv_folder(paths) / "bin" / "uv"
    return own if own.exists() else None


def install_uv(paths: Paths, *, say: Callable[[str], None]) -> Path:
    """Install the pinned uv from PyPI into an environment of its own.

    Raises:
        ToolsError: This Python cannot make environments, or the installation failed.
    """
    _require_venv()
    folder = uv_folder(paths)
    with locked(paths, "uv", lambda holder: say(f"process {holder} is installing uv; waiting")):
        if (folder / "bin" / "uv").exists():
            return folder / "bin" / "uv"
        say("installing uv (usually 10 s)")
        with staged(paths, "uv", folder) as staging:
            python = staging / "bin" / "python"
            # Only the binary is used after the rename; scripts with a path inside are never run.
            _run(paths, "uv", [sys.executable, "-m", "venv", str(staging)])
            _run(
                paths,
                "uv",
                [
                    str(python),
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--require-hashes",
                    "--only-binary",
                    ":all:",
                    "--requirement",
                    str(_UV_PINS),
                ],
            )
    return folder / "bin" / "uv"


def uv_environment(paths: Paths) -> dict[str, str]:
    """Return the environment for uv: its cache is below ours, and it never downloads a Python."""
    variables = {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    }
    variables.setdefault("UV_CACHE_DIR", str(paths.cache / "uv"))
    if machine_authorities() is not None:
        # Go and pip trust the machine's certificate authorities, a company's own included; uv needs to be asked (the
        # second name is for releases before 0.11).
        variables.setdefault("UV_SYSTEM_CERTS", "1")
        variables.setdefault("UV_NATIVE_TLS", "1")
    return variables | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def machine_authorities() -> str | None:
    """Return the machine's file of certificate authorities, or None."""
    return ssl.get_default_verify_paths().cafile


def install(paths: Paths, tool: PythonTool, folder: Path, *, uv: Path, tick: Callable[[float], None]) -> None:
    """Install a tool's locked environment into a folder that will be renamed afterwards.

    Args:
        paths: Has the cache; the log goes there.
        tool: The tool.
        folder: An empty folder.
        uv: The uv program.
        tick: Called during the installation, with the seconds since the start of the step.

    Raises:
        ToolsError: uv failed; the message ends with its last lines.
    """
    environment = uv_environment(paths) | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    # Relocatable, so that scripts find their Python after the rename.
    _run(
        paths,
        tool.name,
        [str(uv), "venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(folder)],
        environment=environment,
        tick=tick,
    )
    _run(
        paths,
        tool.name,
        [str(uv), "sync", "--quiet", "--frozen", "--project", str(SOURCES / tool.source)],
        environment=environment,
        tick=tick,
    )


def _run(
    paths: Paths,
    name: str,
    command: list[str],
    *,
    environment: dict[str, str] | None = None,
    tick: Callable[[float], None] = lambda _seconds: None,
) -> None:
    log = make(paths.tools / "logs") / f"{name}.log"
    log.write_bytes(b"")
    code = run(
        command, log=log, cwd=Path.cwd(), environment=os.environ if environment is None else environment, tick=tick
    )
    if code != 0:
        raise ToolsError(
            f"installing {name} failed with exit code {code}; if the package registry was out of reach, run the same "
            f"command again; whole log: {log}\n{tail(log)}"
        )


def _require_venv() -> None:
    """Name the missing Debian package where `venv` is not part of Python.

    Raises:
        ToolsError: The module is missing.
    """
    try:
        import ensurepip  # noqa: F401, PLC0415  # only its absence matters
        import venv  # noqa: F401, PLC0415  # only its absence matters
    except ImportError as error:
        series = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise ToolsError(
            f"{sys.executable} has no module {error.name}; install it (Debian and Ubuntu: apt-get install "
            f"python{series}-venv), or put uv {UV_MINIMUM} or newer on PATH"
        ) from error
