"""The build context of the runner image: every file that `image/Containerfile` copies, from files and settings alone.

Needs no cloud, no engine and no credentials, and writes the same bytes in every run. Lock files are those of this program (`uv.lock`) and
of the sandbox's tools. The build itself is left to a builder of your choice.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from components.documents.config_toml import JOB_USER
from components.documents.profiles import aws_config_text, class_profiles
from config.load import ROOT
from config.versions import FLEETING_PLUGIN, RUNNER_IMAGE_TAG
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.settings import Settings

CONTAINERFILES = (
    *("Containerfile", "builder.Containerfile", "helper.Containerfile"),
    *("fargate.Containerfile", "manager.Containerfile"),
)
PROGRAM = 0o755
FILE = 0o644
NO_IDENTITY = "/usr/local/bin/no-identity"
"""Program in the image that explains why a container has no AWS identity."""
GO_SOURCES = ("go", "helm", "kubernetes", "opentofu", "pulumi", "pulumi-python")
"""Folders of `sandbox/tools` with the lock files of Go and of the image's Go programs."""
_LOCK_FILES = {"go.mod", "go.sum", "pyproject.toml", "uv.lock"}

Files = dict[str, tuple[bytes, int]]
"""Content and mode by path below the context."""


def write(settings: Settings, folder: Path) -> list[str]:
    """Write a stack's build context.

    Args:
        settings: settings of the stack.
        folder: an empty folder, or a new one.

    Returns:
        Paths of the files below the folder, sorted.

    Raises:
        FailedError: the folder is not empty, or cannot be written.
    """
    files = context(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FailedError(f"{folder} is not empty; name a new folder, so that nothing stale gets into the image")
        for path, (content, mode) in files.items():
            _write(folder / path, content, mode)
    except OSError as error:
        raise FailedError(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    return list(files)


def context(settings: Settings) -> Files:
    """Every file of a stack's build context, sorted by path."""
    texts = {f"etc/classes/{name}/config": class_profiles(settings.runner_class(name)) for name in settings.runners} | {
        "etc/aws/config": without_identity(settings)
    }
    files: Files = {path: (text.encode(), FILE) for path, text in texts.items()}
    arguments = {
        "STACK": settings.stack,
        "VERSION": RUNNER_IMAGE_TAG,
        "USER_ID": str(JOB_USER),
        "FLEETING_PLUGIN": FLEETING_PLUGIN,
    }
    for name in CONTAINERFILES:
        files[name] = (filled((ROOT / "image" / name).read_text(encoding="utf-8"), arguments).encode(), FILE)
    for path, source in _sources():
        files[path] = (source.read_bytes(), PROGRAM if os.access(source, os.X_OK) else FILE)
    return dict(sorted(files.items()))


def without_identity(settings: Settings) -> str:
    """The AWS config of a container without an identity: every profile of every class refuses with a reason.

    Without the file, SDKs would ask the metadata service for the node's role.
    """
    accounts = {account for name in settings.runners for account in settings.accounts_of(name)}
    keys = {"credential_process": NO_IDENTITY, "region": settings.organization.region}
    return aws_config_text(
        {"default": keys, "profile base": keys} | {f"profile {account}": keys for account in sorted(accounts)}
    )


def filled(text: str, arguments: dict[str, str]) -> str:
    """A Containerfile with these build arguments filled in; other arguments, such as the base image, stay open."""
    lines = []
    for line in text.splitlines():
        word, _, name = line.partition(" ")
        lines.append(f"ARG {name}={arguments[name]}" if word == "ARG" and name in arguments else line)
    return "\n".join(lines) + "\n"


def _sources() -> Iterator[tuple[str, Path]]:
    """Files that are copied unchanged: path below the context, and file in the project."""
    image = ROOT / "image"
    for part in ("bin", "build", "debian", "doctor"):
        for file in sorted((image / part).iterdir()):
            if file.is_file():
                yield f"{part}/{file.name}", file
    yield from ((f"probes/{family}/probe.py", image / "probes" / family / "probe.py") for family in ("python", "cli"))
    yield from ((f"go-probe/{name}", image / "probes" / "go" / name) for name in ("go.mod", "go.sum", "main.go"))
    for source in GO_SOURCES:
        for file in sorted((ROOT / "sandbox" / "tools" / source).iterdir()):
            if file.name in _LOCK_FILES:
                yield f"tools/{source}/{file.name}", file
    yield from ((f"machine/{name}", ROOT / "machine" / name) for name in ("fargate.py", "task.py"))
    yield "python/uv.txt", ROOT / "sandbox" / "tools" / "uv.txt"
    yield from ((f"python/{name}", ROOT / name) for name in ("pyproject.toml", "uv.lock"))


def _write(file: Path, content: bytes, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)
    # Builders put the time of a file into its layer, and layers must not differ between runs.
    os.utime(file, (0, 0))
