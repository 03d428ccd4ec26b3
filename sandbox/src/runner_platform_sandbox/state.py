"""The state file of a sandbox, `state.json`: ports, processes, clusters, events.

While the supervisor runs it is the only writer; commands read. Stack states belong to the engine, and AWS and the
clusters keep their states in folders of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner_platform_sandbox import disk
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from runner_platform_sandbox.paths import Paths

KEPT_EVENTS = 50
SUPERVISOR = "supervisor"
"""Name of the supervisor's own process."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")  # a newer sandbox may have written the file


class Process(_Model):
    """One process of the sandbox."""

    name: str
    """Unique and readable: `aws`, `runner-platform etcd`."""
    pid: int
    started: float
    """Seconds since the epoch; see `ProcessId`."""
    ports: dict[str, int] = Field(default_factory=dict)
    """Loopback ports, by use."""

    @property
    def identity(self) -> ProcessId:
        """The process, to find it or end it."""
        return ProcessId(pid=self.pid, started=self.started)


class Ports(_Model):
    """Loopback ports that stay the same for the sandbox's life."""

    aws: int
    """Deployer's listener of the AWS server."""
    aws_jobs: int
    """Jobs' listener of the AWS server."""
    gitlab: int


class ClusterState(_Model):
    """One EKS cluster as the supervisor sees it."""

    account: str
    region: str
    name: str
    issuer_id: str
    status: str
    """CREATING, ACTIVE or FAILED, as the AWS server was told."""
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
    """Why the cluster is not ACTIVE; empty otherwise."""


class Event(_Model):
    """Something a person should read afterwards, such as a restart."""

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
        """Whether the supervisor that wrote the file is alive."""
        return self.supervisor is not None and self.supervisor.identity.alive

    @property
    def given_up(self) -> bool:
        """Whether the supervisor stopped restarting a part; only a new start tries again."""
        return bool(self.failure) or any(cluster.status == "FAILED" for cluster in self.clusters)

    def note(self, time: float, text: str) -> None:
        """Add an event; the oldest events fall off."""
        self.events = [*self.events, Event(time=time, text=text)][-KEPT_EVENTS:]


def read(paths: Paths) -> State | None:
    """Read the state; None if this sandbox never ran.

    Raises:
        SandboxError: The file cannot be understood.
    """
    try:
        return State.model_validate_json(paths.state_file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise SandboxError(
            f"cannot read the sandbox's state {paths.state_file}: {type(error).__name__}",
            "start clean: `runner-platform sandbox reset`",
        ) from error


def write(paths: Paths, state: State) -> None:
    """Replace the state on disk."""
    disk.replace(paths.state_file, state.model_dump_json(indent=1))
