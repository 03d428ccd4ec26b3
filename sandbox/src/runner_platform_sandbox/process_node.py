"""Job pods as processes: the real pod in the real API server, and its containers as processes with its files and variables.

A process node (`sandbox/tools/process-node`) plays the kubelet for the pods that GitLab Runner makes. It needs no root, no
container tools and no network of its own, and leaves nothing behind. Images do not exist for it: a container that names the
platform's runner image sees this machine's programs, and the sandbox's tools where the image has them.

Owns the node's configuration, its start and its end. `process_images` says what containers see; `job_mode` decides whether
jobs run like this.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox import disk, processes
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ApiError, UnreachableError
from runner_platform_sandbox.kubernetes.keys import KUBELET_CLIENT
from runner_platform_sandbox.kubernetes.kubelet import LEASE, LEASE_NAMESPACE
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_SECONDS: Final = 60.0
"""Longest wait until a node takes pods."""
STOP_SECONDS: Final = 20.0
"""How long a node may remove its pods before it is killed."""
_RECORD: Final = "process.json"
_LOG_LINES: Final = 8


class ProcessNodeError(SandboxError):
    """The process node cannot be started."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a container sees of an image."""

    pattern: str
    """Regular expression for the whole reference."""
    environment: dict[str, str] = field(default_factory=dict)
    user: int = 0
    working_dir: str = "/"
    files: dict[str, str] = field(default_factory=dict)
    """Text by path."""
    folders: dict[str, str] = field(default_factory=dict)
    """This machine's file or folder by path; read-only."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What one process node works with."""

    program: Path
    folder: Path
    """Of the node alone: configuration, record, log, and the pods' files while they run."""
    kubeconfig: Path
    """The administrator's, of the cluster."""
    authority: Path
    """Certificate of the cluster's authority."""
    images: tuple[Image, ...]
    registries: tuple[str, ...]
    """Hosts of registries whose images are known: what `images` lacks does not exist there."""
    programs: tuple[Path, ...] = ()
    """Folders of this machine, beside the system's, that every container may read."""

    def document(self) -> dict[str, object]:
        """Return the node's configuration file."""
        return {
            "Kubeconfig": str(self.kubeconfig),
            "Folder": str(self.folder / "pods"),
            "Authority": str(self.authority),
            "Client": KUBELET_CLIENT,
            "Programs": [str(folder) for folder in self.programs],
            "Registries": list(self.registries),
            "Images": [asdict(image) for image in self.images],
        }


@contextlib.contextmanager
def running(surroundings: Surroundings) -> Iterator[ProcessNode]:
    """Run the job pods of a cluster as processes until the block ends.

    Raises:
        ProcessNodeError: This machine refuses namespaces, or the node does not start.
    """
    node = ProcessNode(surroundings)
    try:
        node.start()
        yield node
    finally:
        node.stop()


def folder_of_nodes(root: Path) -> Path:
    """Return the folder with the files and records of all process nodes of a sandbox."""
    return root / "process-nodes"


def end_leftovers(root: Path) -> int:
    """End the process nodes of killed callers, remove their files, and return their number."""
    ended = 0
    for record in folder_of_nodes(root).glob(f"*/{_RECORD}"):
        process = processes.read_record(record)
        if process is not None:
            ended += processes.end(process, patience=STOP_SECONDS)
        shutil.rmtree(record.parent / "pods", ignore_errors=True)
        record.unlink(missing_ok=True)
    return ended


class ProcessNode:
    """A process node of one cluster.

    Args:
        surroundings: What it works with.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = surroundings.folder

    @property
    def log(self) -> Path:
        """The node's standard error."""
        return self.folder / "node.log"

    @property
    def pid(self) -> int | None:
        """Process id, or None while the node does not run."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the node and wait until it takes pods.

        Raises:
            ProcessNodeError: It does not start; the message has its reason.
        """
        configuration = self.folder / "node.json"
        disk.replace(configuration, json.dumps(self._surroundings.document(), indent=1))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._surroundings.program), str(configuration)],
                # The node ends when this pipe closes, also if this process is killed.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C in the terminal is for the caller
            )
        identity = ProcessId.of(self._process.pid)
        if identity is not None:
            processes.write_record(self.folder / _RECORD, identity)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the node: it ends its pods' processes, removes their objects, and gives the nodes back to kwok."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.returncode < 0:
            self._clean_up()
        (self.folder / _RECORD).unlink(missing_ok=True)

    def _clean_up(self) -> None:
        """Do the rest for a node that was killed: the kernel ended its processes, the stand-in kubelet gets its pods."""
        shutil.rmtree(self.folder / "pods", ignore_errors=True)
        with (
            contextlib.suppress(ApiError, UnreachableError, OSError),
            KubeClient.from_kubeconfig(self._surroundings.kubeconfig) as client,
        ):
            client.delete("coordination.k8s.io/v1", "Lease", LEASE, LEASE_NAMESPACE)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        output = process.stdout
        if output is None:
            raise TypeError("the node is started with a pipe as its standard output")
        readable, _, _ = select.select([output], [], [], READY_SECONDS)
        if readable:
            if output.readline() == b"ready\n":
                return
            process.wait()
            raise ProcessNodeError(self._last_words(), _remedy(self._last_words()))
        raise ProcessNodeError(
            f"the process node was not ready after {READY_SECONDS:.0f} s: {self._last_words()}", f"see {self.log}"
        )

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(lines) or "the process node ended at once and said nothing"


def _remedy(words: str) -> str:
    # The kernel says "no space left on device", too, where a setting allows no further user namespaces.
    if "no space left on device" in words and "user namespaces" not in words:
        return disk.REMEDY
    return namespace_remedy() if words.startswith("cannot run a job as a process") else ""


# Whether this machine can do it

_TRIAL: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
new_user, new_mounts, recursive, private = 0x10000000, 0x20000, 0x4000, 1 << 18
if libc.unshare(new_user | new_mounts) or libc.mount(None, b"/", None, recursive | private, None):
    sys.exit(os.strerror(ctypes.get_errno()))
"""
_SETTINGS: Final = {
    "user/max_user_namespaces": ("0", "user.max_user_namespaces=10000"),
    "kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone=1"),
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "kernel.apparmor_restrict_unprivileged_userns=0"),
}
"""Kernel settings that forbid user namespaces: the value that does, and the argument of `sysctl -w` that allows them."""


def obstacle() -> str:
    """Return why this machine cannot run jobs as processes, with the remedy, or an empty text."""
    if not sys.platform.startswith("linux"):
        return f"jobs need Linux, and this is {sys.platform}"
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _TRIAL],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode == 0:
        return ""
    return f"this machine does not let you make user namespaces ({answer.stderr.strip()}): {namespace_remedy()}"


def namespace_remedy(settings: Path = Path("/proc/sys")) -> str:
    """Return what to do about forbidden user namespaces.

    Args:
        settings: Folder of the kernel's settings.
    """
    for name, (forbidding, argument) in _SETTINGS.items():
        with contextlib.suppress(OSError):
            if (settings / name).read_text().strip() == forbidding:
                return f"run `sudo sysctl -w {argument}`"
    return "inside a container, start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
