"""Python environments of the tools: uv itself, and each tool whose pins do not fit the project's environment."""

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
"""The first that reads a relative `exclude-newer`, as pyproject.toml has it."""
_UV_PINS = SOURCES / "uv.txt"
UV_TOOL = PythonTool(name="uv", source=".", executable="bin/uv", seconds=10, megabytes=150)


def uv_folder(paths: Paths) -> Path:
    """Return where our own uv lives in the cache."""
    return paths.tools / f"uv-{digest([_UV_PINS.read_bytes(), repr(sys.version_info[:2]).encode()])}"


def find_uv(paths: Paths, search: str) -> Path | None:
    """Return the uv on PATH when it is new enough, else the one that an earlier run installed, else None."""
    found = shutil.which("uv", path=search)
    if found is not None:
        version = versions.ask(Path(found), ["--version"])
        if version is not None and version >= UV_MINIMUM:
            return Path(found)
    own = uv_folder(paths) / "bin" / "uv"
    return own if own.exists() else None


def install_uv(paths: Paths, *, say: Callable[[str], None]) -> Path:
    """Install the pinned uv from PyPI into an environment of its own.

    Raises:
        ToolsError: This Python cannot make environments, or the installation failed.
    """
    _require_venv()
    folder = uv_folder(paths)
    with locked(paths, "uv", lambda holder: say(f"uv is being installed by process {holder}; waiting")):
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
    """Return the environment that uv runs in: its cache lies in ours, and it never fetches another Python."""
    variables = {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    }
    variables.setdefault("UV_CACHE_DIR", str(paths.cache / "uv"))
    if machine_authorities() is not None:
        # Go and pip trust what the machine trusts, a company's own authority included; uv only does when told (the
        # second name is that of releases before 0.11).
        variables.setdefault("UV_SYSTEM_CERTS", "1")
        variables.setdefault("UV_NATIVE_TLS", "1")
    return variables | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def machine_authorities() -> str | None:
    """Return the file of certificate authorities that this machine trusts; None on a machine without one."""
    return ssl.get_default_verify_paths().cafile


def install(paths: Paths, tool: PythonTool, folder: Path, *, uv: Path, tick: Callable[[float], None]) -> None:
    """Install a tool's locked environment into a folder that will be renamed afterwards.

    Args:
        paths: Where the cache is; the log goes there.
        tool: What to install.
        folder: An empty folder.
        uv: The uv program.
        tick: Called while it runs, with the seconds since the start of the step.

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
    """Debian splits `venv` off its Python; say which package brings it instead of showing its traceback.

    Raises:
        ToolsError: The module is missing.
    """
    try:
        import ensurepip  # noqa: F401, PLC0415  # its absence is the question
        import venv  # noqa: F401, PLC0415  # its absence is the question
    except ImportError as error:
        series = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise ToolsError(
            f"{sys.executable} has no module {error.name}; install it (Debian and Ubuntu: apt-get install "
            f"python{series}-venv), or put uv {UV_MINIMUM} or newer on PATH"
        ) from error
