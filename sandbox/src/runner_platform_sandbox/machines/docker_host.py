"""A machine with a Docker daemon, as an EC2 instance of a runner class is one: own processes, mounts, network and control groups.

Owns the machine's process. Programs of the instance, such as the runner, are started inside of it with `command`. Everything lies in one
folder; `end_node` of the real nodes ends a machine whose owner was killed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import psutil

from runner_platform_sandbox.disk import replace
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.processes import ServerProcess
from runner_platform_sandbox.real_node import programs as container_programs
from runner_platform_sandbox.real_node.isolation import SHORT_FOLDER
from runner_platform_sandbox.real_node.node import end_node
from runner_platform_sandbox.real_node.plan import PLAN
from runner_platform_sandbox.tools import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from runner_platform_sandbox.paths import Paths

PACKAGES: Final = catalogue.SOURCES / "docker" / "packages.txt"
"""Debian's packages beside those of a real node, one `name=version` a line."""
SOCKET: Final = "/run/docker.sock"
"""In the machine's own /run."""
_DAEMON: Final = "daemon.json"
_STOP_SECONDS: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Docker's programs: Debian's packages unpacked into the tools' cache, and nothing installed."""

    dockerd: Path
    environment: dict[str, str]
    """Variables for the programs of the machine: PATH, and the folder of unpacked libraries."""

    @classmethod
    def find(cls, paths: Paths) -> Programs:
        """Find the programs; unpack Debian's packages if they are not in the cache.

        Raises:
            SandboxError: This machine cannot run containers; the message says why.
        """
        obstacle = container_programs.machine_obstacle()
        if obstacle:
            raise SandboxError(obstacle.replace("real pods", "Docker containers"), "run the test as root on Linux")
        docker = container_programs.unpacked(paths, PACKAGES)
        tools = container_programs.unpacked(paths, container_programs.PACKAGES)
        libraries = [str(path) for folder in (tools, docker) for path in container_programs.libraries_of(folder)]
        return cls(
            dockerd=docker / "usr" / "sbin" / "dockerd",
            environment={
                "PATH": container_programs.search_path(docker, tools),
                "LD_LIBRARY_PATH": ":".join(libraries),
                "XTABLES_LIBDIR": f"{libraries[0]}/xtables",
            },
        )


class DockerHost(ServerProcess):
    """A machine with a Docker daemon.

    Args:
        paths: The sandbox; the machine's folder and log are there.
        programs: From `Programs.find`.
        name: Name of the machine's folder.
        daemon: Settings of the Docker daemon; the sandbox adds folders, registries and the control group.
        registries: Host names of image registries, in whose place the machine's own one answers.
        loopback: Ports of the host's loopback that containers reach at `networks.OUTSIDE`: AWS, GitLab.
        metadata: Port of the host's loopback with the instance metadata service.
        hop_limit: How many networks its answers cross: with 1 they end before containers, as in EC2.
    """

    name: ClassVar[str] = "the machine with Docker"
    log_name: ClassVar[str] = "machine.log"
    ready_seconds: ClassVar[float] = 60.0
    stop_seconds: ClassVar[float] = _STOP_SECONDS

    def __init__(
        self,
        paths: Paths,
        programs: Programs,
        *,
        name: str,
        daemon: Mapping[str, Any],
        registries: Iterable[str],
        loopback: Iterable[int],
        metadata: int,
        hop_limit: int = 1,
    ) -> None:
        super().__init__()
        self._paths = paths
        self._programs = programs
        self._daemon = dict(daemon)
        self._registries = list(registries)
        self._loopback = list(loopback)
        self._metadata, self._hop_limit = metadata, hop_limit
        self.folder = paths.root / "machines" / name
        self.cgroup = f"runner-platform-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"

    @property
    def images(self) -> Path:
        """Folder whose image layouts the machine's registry serves, one folder each."""
        return self.folder / "images"

    @property
    def first_process(self) -> int:
        """Process 1 of the machine's namespaces, by its id on the host.

        Raises:
            RuntimeError: The machine does not run.
        """
        if self.pid is None:
            raise RuntimeError("the machine does not run")
        return psutil.Process(self.pid).children()[0].pid

    @property
    def root(self) -> Path:
        """The machine's root folder, as the host sees it."""
        return Path(f"/proc/{self.first_process}/root")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the machine and wait until its Docker daemon answers.

        Raises:
            SandboxError: It does not; the message ends with the log.
        """
        end_node(self.folder)
        self._prepare_folder()
        command = [sys.executable, "-m", "runner_platform_sandbox.machines", str(self.folder)]
        try:
            self._launch(self._paths, command, self.folder, {}, self._is_ready)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the machine with its containers."""
        super().stop()
        end_node(self.folder)

    def write(self, path: str, text: str, mode: int) -> None:
        """Write a file of the machine; its /etc, /run, /usr and /var are its own."""
        file = self.root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def command(self, *arguments: str, variables: Mapping[str, str] | None = None) -> list[str]:
        """Compose the command line that runs a program inside of the machine, with the given variables and no others of the caller."""
        values = {**self._programs.environment, "HOME": "/root", **(variables or {})}
        settings = [f"{name}={value}" for name, value in values.items()]
        inside = ["nsenter", f"--target={self.first_process}", "--mount", "--net", "--pid"]
        return [*inside, "--", "/usr/bin/env", "--ignore-environment", *settings, *arguments]

    def run(self, *arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program inside of the machine and return its end."""
        return subprocess.run(
            self.command(*arguments, variables=variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def docker(self, *arguments: str) -> str:
        """Run the Docker client inside of the machine and return its output.

        Raises:
            SandboxError: It failed.
        """
        done = self.run("docker", *arguments, variables={"DOCKER_HOST": f"unix://{SOCKET}"})
        if done.returncode != 0:
            raise SandboxError(f"docker {' '.join(arguments)} failed on the machine: {done.stderr.strip()}")
        return done.stdout.strip()

    def _is_ready(self) -> bool:
        return bool(psutil.Process(self.pid).children()) and self.run("docker", "version").returncode == 0

    def _prepare_folder(self) -> None:
        """Remove what a former machine left, except its images."""
        for entry in self.folder.iterdir() if self.folder.exists() else []:
            if entry != self.images:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        for folder in (self.images, self.folder / "logs", self.folder / "docker"):
            folder.mkdir(parents=True, exist_ok=True)
        settings = {
            **self._daemon,
            "data-root": str(SHORT_FOLDER / "docker"),
            "hosts": [f"unix://{SOCKET}"],
            "cgroup-parent": f"/{self.cgroup}",
            "insecure-registries": self._registries,
            # Where the machine's root may not lower the score of its own processes (no CAP_SYS_RESOURCE), the daemon fails otherwise.
            "oom-score-adjust": 0,
        }
        replace(self.folder / _DAEMON, json.dumps(settings, indent=1))
        plan = {
            "cgroup": self.cgroup,
            "command": [str(self._programs.dockerd), f"--config-file={self.folder / _DAEMON}"],
            "environment": {**self._programs.environment, "HOME": "/root"},
            "socket": SOCKET,
            "registries": self._registries,
            "ports": self._loopback,
            "metadata": self._metadata,
            "hop_limit": self._hop_limit,
        }
        replace(self.folder / PLAN, json.dumps(plan, indent=1))
