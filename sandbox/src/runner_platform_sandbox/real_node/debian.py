"""Debian's packages as files: downloaded by the machine's apt and unpacked into a folder, never installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MERGED: Final = ("bin", "sbin", "lib", "lib64")
"""Folders that are links into /usr; packages still name both."""
_LEFT_OUT: Final = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info")
_USERS: Final = """\
root:x:0:0:root:/root:/bin/bash
runner:x:1000:1000::/home/runner:/bin/bash
"""


def download(packages: Iterable[str], folder: Path) -> list[Path]:
    """Download packages, such as `git` or `git=1:2.39.5-0`, and return the files.

    Raises:
        SandboxError: The machine has no apt, or apt cannot fetch a package.
    """
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise SandboxError(
            "this machine has no apt-get and dpkg-deb to fetch container tools and images with",
            "use Debian or Ubuntu for real pods",
        )
    answer = subprocess.run(
        ["apt-get", "-q", "download", *packages], cwd=folder, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        errors = [line for line in answer.stderr.splitlines() if line.startswith("E:")] or [answer.stderr.strip()]
        raise SandboxError(f"apt-get cannot fetch packages: {errors[0]}", "run `apt-get update` and try again")
    return sorted(folder.glob("*.deb"))


def with_dependencies(packages: Iterable[str], folder: Path) -> list[str]:
    """Return packages and everything that they need on an empty system.

    Args:
        packages: Names.
        folder: For an empty list of installed packages.
    """
    status = folder / "status"
    status.touch()
    options = ["-o", f"Dir::State::status={status}", "-o", "APT::Get::AllowUnauthenticated=false"]
    command = ["apt-get", *options, "install", "--print-uris", "--yes", "--no-install-recommends", *packages]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    files = [line.split()[1] for line in answer.stdout.splitlines() if line.startswith("'")]
    if answer.returncode != 0 or not files:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        raise SandboxError(f"apt-get does not know the images' packages: {lines[-1]}", "run `apt-get update`")
    return [name.partition("_")[0] for name in files]


def make_root(packages: Iterable[str], root: Path) -> None:
    """Fill a folder with the files of packages and of their dependencies, as the root of an image.

    Their installation scripts do not run.
    """
    root.mkdir(parents=True)
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    downloads = root / "downloads"
    downloads.mkdir()
    for file in download(with_dependencies(packages, downloads), downloads):
        _extract(file, root)
    shutil.rmtree(downloads)
    (root / "etc" / "passwd").write_text(_USERS)
    (root / "etc" / "group").write_text("root:x:0:\nrunner:x:1000:\n")
    for name, mode in {"tmp": 0o1777, "root": 0o700, "home/runner": 0o777}.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)


def _extract(file: Path, root: Path) -> None:
    options = ["--keep-directory-symlink", *(f"--exclude={path}" for path in _LEFT_OUT)]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE) as reader:
        subprocess.run(["tar", "-x", *options, "-C", str(root)], stdin=reader.stdout, check=True)
    if reader.returncode != 0:
        raise SandboxError(f"{Path(file).name} cannot be unpacked", "delete it and try again")
