"""The programs of a node: the machine's own where it has all of them, else Debian's packages unpacked into the tools' cache.

Nothing is installed. The kubelet and kube-router are built like the other tools.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.real_node import debian
from runner_platform_sandbox.tools import catalogue
from runner_platform_sandbox.tools.cache import digest, locked, staged
from runner_platform_sandbox.tools.discovery import discover

if TYPE_CHECKING:
    from runner_platform_sandbox.paths import Paths

PACKAGES: Final = catalogue.SOURCES / "containers" / "packages.txt"
"""Debian's packages, one `name=version` a line."""
RUNTIME: Final = ("containerd", "containerd-shim-runc-v2", "runc")
FIREWALL: Final = ("iptables", "ipset")
SYSTEM: Final = ("ip", "mount")
"""Programs that every Linux with root has; they are never unpacked."""
CNI: Final = ("bridge", "host-local", "loopback")
_CNI_FOLDERS: Final = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Paths of a node's programs."""

    containerd: Path
    cni: Path
    """Folder of the CNI plugins."""
    kubelet: Path
    kube_router: Path | None
    """Enforces network policies; None: they are stored only."""
    environment: dict[str, str]
    """Variables for all of them: PATH, and the folder of unpacked libraries."""

    @classmethod
    def find(cls, paths: Paths) -> Programs:
        """Find the programs, unpacking Debian's packages if the machine lacks one.

        Raises:
            SandboxError: This machine cannot run a node; the message says why and what would help.
        """
        obstacle = machine_obstacle()
        if obstacle:
            raise SandboxError(obstacle, "leave `--real-pods` out: jobs then run as processes")
        present = discover(paths, (catalogue.KUBELET, catalogue.KUBE_ROUTER))
        if catalogue.KUBELET.name not in present:
            raise SandboxError(
                "the kubelet has not been built", "build it: `python -m runner_platform_sandbox.tools ensure kubelet`"
            )
        router = present.get(catalogue.KUBE_ROUTER.name)
        search, libraries, cni = _installed() or _unpacked(paths)
        variables = {"PATH": search, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
        if libraries:
            variables["XTABLES_LIBDIR"] = f"{libraries}/xtables"
        return cls(
            containerd=Path(shutil.which("containerd", path=search) or "containerd"),
            cni=cni,
            kubelet=present[catalogue.KUBELET.name].program,
            kube_router=router.program if router else None,
            environment=variables,
        )


def machine_obstacle() -> str:
    """Return why this machine cannot run a node, or an empty string."""
    if sys.platform != "linux":
        return "real pods need Linux"
    if os.geteuid() != 0:
        return "real pods need root: only root can make control groups, mounts and networks for containers"
    missing = [name for name in SYSTEM if not shutil.which(name)]
    if missing:
        return f"real pods need {' and '.join(missing)} on PATH"
    if not os.access("/sys/fs/cgroup", os.W_OK):
        return "real pods need to make control groups, and /sys/fs/cgroup cannot be written"
    return ""


def _installed() -> tuple[str, str, Path] | None:
    """Return PATH, no library folder and the CNI folder of the machine, or None if it lacks a program."""
    search = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
    cni = next((Path(name) for name in _CNI_FOLDERS if all((Path(name) / plugin).exists() for plugin in CNI)), None)
    if cni is None or not all(shutil.which(name, path=search) for name in (*RUNTIME, *FIREWALL)):
        return None
    return search, "", cni


def _unpacked(paths: Paths) -> tuple[str, str, Path]:
    """Return PATH, library folder and CNI folder of the unpacked packages."""
    folder = unpacked(paths, PACKAGES)
    return search_path(folder), str(libraries_of(folder)[0]), folder / "usr" / "lib" / "cni"


def unpacked(paths: Paths, packages: Path) -> Path:
    """Return the folder with the files of packages in the tools' cache; unpack them if it is absent.

    Args:
        paths: Has the cache.
        packages: File with one `name=version` a line.
    """
    names = packages.read_text(encoding="utf-8").split()
    name = packages.parent.name
    folder = paths.tools / f"{name}-{digest(package.encode() for package in names)}"
    if not folder.exists():
        with locked(paths, name, lambda _: None):
            if not folder.exists():
                with staged(paths, name, folder) as staging:
                    unpack(names, staging)
    return folder


def search_path(*folders: Path) -> str:
    """Return PATH with the programs of unpacked packages, then the machine's."""
    own = [f"{folder}/{name}" for folder in folders for name in ("bin", "usr/bin", "usr/sbin")]
    return ":".join([*own, _SYSTEM_PATH])


def libraries_of(folder: Path) -> list[Path]:
    """Return the library folders of unpacked packages, the one below /usr first."""
    return [libraries for name in ("usr/lib", "lib") for libraries in (folder / name).glob("*-linux-gnu*")]


def unpack(packages: list[str], folder: Path) -> None:
    """Download and unpack packages; nothing of the machine changes but apt's own cache."""
    try:
        files = debian.download(packages, folder)
    except SandboxError as error:
        names = " and ".join(name for name in (*RUNTIME, *FIREWALL) if not shutil.which(name)) or "CNI plugins"
        raise SandboxError(
            f"this machine lacks {names}, and {error}", "install them and the CNI plugins, or use Debian 12"
        ) from error
    for package in files:
        subprocess.run(["dpkg-deb", "--extract", str(package), str(folder)], check=True)
        package.unlink()
    # Debian makes these names when it installs the package; the kernel's older interface, which needs no translation.
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    if not (folder / "usr/sbin/xtables-legacy-multi").exists():
        return
    for program in (
        "iptables",
        "iptables-save",
        "iptables-restore",
        "ip6tables",
        "ip6tables-save",
        "ip6tables-restore",
    ):
        (binaries / program).symlink_to("../usr/sbin/xtables-legacy-multi")


def obstacle(paths: Paths) -> str:
    """Return why no node can run here, or an empty string."""
    try:
        Programs.find(paths)
    except SandboxError as error:
        return str(error)
    return ""
