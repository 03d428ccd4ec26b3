"""The node's own namespaces of processes, mounts and network, and its control groups.

The node's first process is process 1 of a namespace: when it ends, for whatever reason, the kernel ends every process of the
node. Their mounts, interfaces and firewall rules were in the node's namespaces, so these are gone, too. Only control groups
outlive their processes; `remove_cgroups` removes them. The host's network, firewall and mounts are never changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_NEW_MOUNTS: Final = 0x00020000
_NEW_PROCESSES: Final = 0x20000000
_NEW_NETWORK: Final = 0x40000000
_SET_PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
_CGROUPS: Final = Path("/sys/fs/cgroup")
_COPIED: Final = ("cpuset.cpus", "cpuset.mems")
"""Files that are empty in a new group of cgroup v1, and without which no process can join it."""
_REMOVE_SECONDS: Final = 10.0

SHORT_FOLDER: Final = Path("/run/node")
"""The node's folder inside of its namespaces: paths of sockets below it stay under the kernel's limit of 107 bytes."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def start_isolated(run: Callable[[], int]) -> int:
    """Run a function as process 1 of new namespaces, and return its process id on the host.

    Args:
        run: Runs in the new process, which ends with its result. It must not return to the caller's code.
    """
    parent = os.getpid()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    _call("unshare", _NEW_PROCESSES)  # for children; this process stays in the host's namespaces
    child = os.fork()
    if child:
        _call("setns", own, _NEW_PROCESSES)  # without this the kernel refuses to start threads
        os.close(own)
        return child
    status = 1
    try:
        _call("prctl", _SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != 0 or not Path(f"/proc/{parent}").exists():
            os._exit(1)
        _call("unshare", _NEW_MOUNTS | _NEW_NETWORK)
        status = run()
    finally:
        os._exit(status)


def prepare_mounts(folder: Path, copied: Iterable[str] = ("var",)) -> None:
    """Give the node its own /proc and /run, and its own changes below some folders, so that nothing of it appears in the host's.

    Args:
        folder: The node's folder; it stays the host's, wherever it is.
        copied: Folders of the root that the node may change for itself.
    """
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    mount("--make-rprivate", "/")
    mount("--make-rshared", "/")  # among the node's own namespaces only: the kubelet asks for it
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    SHORT_FOLDER.mkdir()
    mount("--bind", f"/proc/self/fd/{handle}", str(SHORT_FOLDER), handles=(handle,))
    for name in copied:
        upper, work = Path("/run", name), Path("/run", f"{name}-work")
        upper.mkdir()
        work.mkdir()
        mount("-t", "overlay", "-o", f"lowerdir=/{name},upperdir={upper},workdir={work}", "overlay", f"/{name}")
    if folder.is_relative_to("/var") or folder.is_relative_to("/run"):
        folder.mkdir(parents=True, exist_ok=True)
        mount("--bind", f"/proc/self/fd/{handle}", str(folder), handles=(handle,))
    os.close(handle)


def mount(*arguments: str, handles: tuple[int, ...] = ()) -> None:
    """Run the program `mount`; `handles` are open files that it needs."""
    subprocess.run(["mount", *arguments], check=True, pass_fds=handles)


def network_of(process: int) -> contextlib.AbstractContextManager[None]:
    """Be in the network of a process for a while; see `network_at`."""
    return network_at(Path(f"/proc/{process}/ns/net"))


@contextlib.contextmanager
def network_at(handle: Path) -> Iterator[None]:
    """Be in the network of a namespace's file for a while; sockets that are made there stay there. For the main thread only."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    target = os.open(handle, os.O_RDONLY)
    try:
        _call("setns", target, _NEW_NETWORK)
        try:
            yield
        finally:
            _call("setns", own, _NEW_NETWORK)
    finally:
        os.close(own)
        os.close(target)


def make_cgroups(name: str) -> None:
    """Create a control group below the root of every hierarchy."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for file in _COPIED:
            if (group / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((hierarchy / file).read_text())


def remove_cgroups(name: str) -> list[Path]:
    """Remove a control group and those below it from every hierarchy, and return the groups that are still in use."""
    groups = [group for hierarchy in _hierarchies() if (group := hierarchy / name).is_dir()]
    end = time.monotonic() + _REMOVE_SECONDS
    while groups and time.monotonic() < end:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # a process of it is still ending
                    Path(folder).rmdir()
        groups = [group for group in groups if group.is_dir()]
        if groups:
            time.sleep(0.05)
    return groups


def _hierarchies() -> list[Path]:
    """Return the roots of cgroup v1's hierarchies, or the only root of cgroup v2."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return sorted(path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink())
