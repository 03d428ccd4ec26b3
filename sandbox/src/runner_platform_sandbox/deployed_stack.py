"""A stack that is deployed in the running sandbox: what the programs that run its jobs have to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from config import load
from config.errors import SettingsError
from runner_platform_sandbox import state
from runner_platform_sandbox.errors import WRONG_USE, SandboxError

if TYPE_CHECKING:
    from config.settings import Settings
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.state import ClusterState, Ports, State


@dataclass(frozen=True, kw_only=True)
class DeployedStack:
    """A stack, its cluster, and the sandbox's ports."""

    settings: Settings
    cluster: ClusterState
    ports: Ports

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it lies in the cluster's folder."""
        return Path(self.cluster.kubeconfig)

    @property
    def gitlab(self) -> str:
        """Base URL of GitLab."""
        return f"http://127.0.0.1:{self.ports.gitlab}"

    @property
    def aws(self) -> str:
        """URL of AWS for jobs: a listener without root keys."""
        return f"http://127.0.0.1:{self.ports.aws_jobs}"


def deployed_stack(paths: Paths, stack: str) -> DeployedStack:
    """Find a deployed stack.

    Args:
        paths: The sandbox.
        stack: Name of the stack, such as `dev`.

    Raises:
        SandboxError: The sandbox does not run, or the stack does not exist or is not deployed.
    """
    current, settings = running_state(paths), settings_of(stack)
    name = settings.names.cluster
    cluster = next((cluster for cluster in current.clusters if cluster.name == name), None)
    if cluster is None or cluster.status != "ACTIVE":
        raise SandboxError(f"stack {stack} has no cluster {name} in the sandbox", "deploy it: `make up`")
    return DeployedStack(settings=settings, cluster=cluster, ports=current.ports)


def running_state(paths: Paths) -> State:
    """Return the state of the sandbox, which runs.

    Raises:
        SandboxError: It does not.
    """
    current = state.read(paths)
    if current is None or not current.running:
        raise SandboxError("the sandbox is not running", "start it: `make up`")
    return current


def settings_of(stack: str) -> Settings:
    """Return the settings of a stack.

    Raises:
        SandboxError: There is no such stack, or its file is wrong (exit code 2).
    """
    try:
        return load.of_stack(stack)
    except SettingsError as error:
        raise SandboxError(str(error), exit_code=WRONG_USE) from error


def job_addresses(aws: str) -> dict[str, str]:
    """Return the variables by which the SDKs of a job find AWS; Go's STS client reads the second one alone."""
    return {"AWS_ENDPOINT_URL": aws, "AWS_ENDPOINT_URL_STS": aws}
