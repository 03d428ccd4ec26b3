"""What the running sandbox writes down: `state.json`.

Owns the shape of that file and its atomic writing. Leaves out the stack states (the engine's) and the state of AWS and
of the clusters (their own folders). The supervisor is the only writer while it runs; everybody else reads.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner_platform_sandbox.disk import REMEDY
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths

KEPT_EVENTS = 50
SUPERVISOR = "supervisor"
"""Name of the supervisor's own process."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")  # a newer sandbox may have written it


class Process(_Model):
    """One process of the sandbox."""

    name: str
    """For people, unique: `aws`, `runner-platform etcd`."""
    pid: int
    started: float
    """Seconds since the epoch; with the pid it names one process for ever."""
    ports: dict[str, int] = Field(default_factory=dict)
    """Loopback ports it listens on, by use."""

    @property
    def identity(self) -> ProcessId:
        """The process, to be looked for or ended."""
        return ProcessId(pid=self.pid, started=self.started)


class Ports(_Model):
    """Loopback ports that stay the same for the sandbox's life."""

    aws: int
    """Deployer listener of the AWS server."""
    aws_jobs: int
    """Job listener of the AWS server."""
    gitlab: int


class ClusterState(_Model):
    """One EKS cluster as the supervisor sees it."""

    account: str
    region: str
    name: str
    issuer_id: str
    status: str
    """CREATING, ACTIVE or FAILED, as told to the AWS server."""
    pinned: str = ""
    """Minor version that EKS was asked for."""
    served: str = ""
    """Version of the API server that answers."""
    endpoint: str = ""
    certificate_authority: str = ""
    """Base64 of the PEM."""
    kubeconfig: str = ""
    """Path of the administrator's kubeconfig."""
    message: str = ""
    """Why it is not ACTIVE; empty otherwise."""


class Event(_Model):
    """Something that a person should know afterwards, a healing above all."""

    time: float
    """Seconds since the epoch."""
    text: str


class State(_Model):
    """The whole file."""

    run_id: str
    """Names this sandbox; new after `reset`."""
    ports: Ports
    supervisor: Process | None = None
    ready: bool = False
    """Whether AWS and GitLab answer."""
    failure: str = ""
    """Why the supervisor gave up; empty otherwise."""
    processes: list[Process] = Field(default_factory=list)
    clusters: list[ClusterState] = Field(default_factory=list)
    events: list[Event] = Field(default_factory=list)

    @property
    def running(self) -> bool:
        """Whether the supervisor that wrote this is alive."""
        return self.supervisor is not None and self.supervisor.identity.alive

    @property
    def given_up(self) -> bool:
        """Whether the supervisor has stopped trying to keep something alive; only a new start tries again."""
        return bool(self.failure) or any(cluster.status == "FAILED" for cluster in self.clusters)

    def note(self, time: float, text: str) -> None:
        """Add an event; old ones fall off."""
        self.events = [*self.events, Event(time=time, text=text)][-KEPT_EVENTS:]


def read(paths: Paths) -> State | None:
    """The state on disk, None when this sandbox never ran.

    Raises:
        SandboxError: The file is there and cannot be understood.
    """
    try:
        return State.model_validate_json(paths.state_file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise SandboxError(
            f"cannot read the sandbox's state {paths.state_file}: {type(error).__name__}",
            "`runner-platform sandbox reset` starts clean",
        ) from error


def write(paths: Paths, state: State) -> None:
    """Replace the state on disk; a reader sees the old file or the new one, never half of one."""
    replace(paths.state_file, state.model_dump_json(indent=1))


def replace(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file so that it is whole or absent, also after a crash or on a full disk.

    Raises:
        SandboxError: The disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.chmod(name, mode)  # noqa: PTH101 - the name comes from mkstemp as a string
            os.replace(name, path)  # noqa: PTH105 - same
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: PTH108 - same
            raise
    except OSError as error:
        raise SandboxError(f"cannot write {path}: {error.strerror}", REMEDY) from error
