"""What the supervisor needs of the parts that it runs.

Owns the contracts between the supervisor and the AWS server, the GitLab fake and the Kubernetes control planes, so that
each can be replaced in a test. Leaves out what the parts do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from runner_platform_sandbox import organization as organizations
from runner_platform_sandbox.aws.client import AwsAdmin
from runner_platform_sandbox.aws.process import AwsServer
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.gitlab.process import GitlabServer
from runner_platform_sandbox.kubernetes.cluster import Cluster
from runner_platform_sandbox.kubernetes.command_lines import Binaries, ClusterSpec
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.state import Process
from runner_platform_sandbox.tools.discovery import Tools
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runner_platform_sandbox.aws.client import EksCluster
    from runner_platform_sandbox.organization import Organization
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.processes import ServerProcess
    from runner_platform_sandbox.state import State


class Part(Protocol):
    """Something with processes that can be started, watched and stopped."""

    def start(self) -> None:
        """Start what does not run, and return when it answers; kept state is used."""

    def stop(self) -> None:
        """Stop everything in order; nothing happens when nothing runs."""

    def processes(self) -> Sequence[Process]:
        """Live processes, in the order in which they were started."""

    def dead(self) -> Sequence[str]:
        """What should run and does not: a phrase for each, such as `kube-apiserver (killed by signal 9)`."""


class ControlPlane(Part, Protocol):
    """A Kubernetes control plane of one EKS cluster."""

    @property
    def endpoint(self) -> str:
        """URL of the API server."""

    @property
    def certificate_authority(self) -> str:
        """PEM of what signs the API server's certificate, in base64."""

    def jwks(self) -> dict[str, Any]:
        """Public keys of the cluster's service-account tokens."""

    def version(self) -> str:
        """Version of the API server that answers, without a leading `v`."""

    def kubeconfig(self) -> str:
        """Path of the administrator's kubeconfig."""

    def access_changed(self) -> None:
        """Tell it that access entries changed, so that its RBAC objects are made anew."""

    def remove(self) -> None:
        """Stop it and remove what it kept on disk."""


class Cloud(Protocol):
    """The AWS server's internal routes for clusters."""

    def clusters(self) -> Sequence[EksCluster]:
        """Every cluster of every account."""

    def report(self, cluster: EksCluster, said: Mapping[str, Any]) -> None:
        """Say how a cluster's control plane is: `status` and, where known, where it answers and its keys."""


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """What the supervisor runs."""

    organization: Organization
    servers: Mapping[str, Part]
    """Parts that always run, by name, in the order in which they start; AWS first."""
    cloud: Cloud
    """Where clusters are asked for and reported to."""
    control_plane: Callable[[EksCluster], ControlPlane]
    """Makes the control plane of a cluster without starting it."""
    introduce: Callable[[], None]
    """Tells the AWS server what it must know of the others; called after each start of one of them."""


def assemble(paths: Paths, current: State) -> Assembly:
    """Put a sandbox together from what is installed.

    Raises:
        SandboxError: A tool or the organisation's file is missing.
    """
    members = organizations.read()
    try:
        tools = Tools.find(paths)
        binaries, python = Binaries.of(tools), tools.ministack_python
    except ToolsError as error:
        raise SandboxError(str(error)) from error
    base = f"http://127.0.0.1:{current.ports.aws}"
    admin = AwsAdmin(base)

    gitlab, port = GitlabServer(), current.ports.gitlab

    def introduce() -> None:
        admin.organization(members.request())
        if gitlab.alive():
            admin.issuer(organizations.GITLAB_ISSUER, gitlab.jwks())

    return Assembly(
        organization=members,
        servers={
            "aws": _aws_part(paths, python, current, members.region),
            "gitlab": ServerPart(
                "gitlab", gitlab, partial(gitlab.start, paths, port, organizations.GITLAB_ISSUER), {"http": port}
            ),
        },
        cloud=admin,
        control_plane=partial(KubernetesPart, paths.clusters, admin, base, binaries),
        introduce=introduce,
    )


class ServerPart:
    """A server as a part of the sandbox.

    Args:
        name: In the list of processes.
        server: The server.
        start: Starts it with its kept state and returns when it answers.
        ports: What it listens on, by purpose.
    """

    def __init__(self, name: str, server: ServerProcess, start: Callable[[], None], ports: dict[str, int]) -> None:
        self._name = name
        self._server = server
        self._start = start
        self._ports = ports
        self._wanted = False

    def start(self) -> None:
        """Start the server with its kept state and wait until it answers."""
        self._wanted = True
        self._start()

    def stop(self) -> None:
        """Stop the server."""
        self._wanted = False
        self._server.stop()

    def processes(self) -> list[Process]:
        """The server's process, nothing while it does not run."""
        known = ProcessId.of(self._server.pid) if self._server.pid and self._server.alive() else None
        return [Process(name=self._name, pid=known.pid, started=known.started, ports=self._ports)] if known else []

    def dead(self) -> list[str]:
        """Name the server when it should run and does not."""
        return [_ending(self._server.name, self._server.ended)] if self._wanted and not self._server.alive() else []


def _aws_part(paths: Paths, python: Path, current: State, region: str) -> ServerPart:
    server, ports = AwsServer(), current.ports
    start = partial(server.start, paths, python, ports.aws, ports.aws_jobs, region)
    return ServerPart("aws", server, start, {"deployer": ports.aws, "jobs": ports.aws_jobs})


class KubernetesPart:
    """A control plane as a part of the sandbox.

    Args:
        clusters: Folder of all clusters.
        admin: Gives the RBAC objects of the cluster's access entries.
        base: URL of the AWS server, which also answers the API server's questions about tokens.
        binaries: The programs.
        record: The EKS cluster.
    """

    def __init__(self, clusters: Path, admin: AwsAdmin, base: str, binaries: Binaries, record: EksCluster) -> None:
        webhook = f"{base}/_ministack/eks-auth/{record.account}/{record.region}/{record.name}/{record.auth_token}"
        spec = ClusterSpec(
            account=record.account,
            region=record.region,
            name=record.name,
            version=record.version,
            issuer=record.issuer,
            service_cidr=record.service_cidr,
            webhook_url=webhook,
        )
        self._name = record.name
        self._cluster = Cluster(clusters / record.id, spec, binaries, partial(admin.rbac, record))

    @property
    def endpoint(self) -> str:
        """URL of the API server."""
        return self._cluster.endpoint

    @property
    def certificate_authority(self) -> str:
        """PEM of what signs the API server's certificate, in base64."""
        return self._cluster.certificate_authority

    def jwks(self) -> dict[str, Any]:
        """Public keys of the cluster's service-account tokens."""
        return self._cluster.jwks

    def version(self) -> str:
        """Version of the API server that answers."""
        return self._cluster.served_version

    def kubeconfig(self) -> str:
        """Path of the administrator's kubeconfig."""
        return str(self._cluster.admin_kubeconfig)

    def start(self) -> None:
        """Start what does not run."""
        self._cluster.start()

    def stop(self) -> None:
        """Stop everything, clients of the API server first."""
        self._cluster.stop()

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self._cluster.remove()

    def access_changed(self) -> None:
        """Make the RBAC objects of the access entries anew."""
        self._cluster.access_changed()

    def dead(self) -> list[str]:
        """Name the processes that should run and do not."""
        return self._cluster.control_plane.dead()

    def processes(self) -> list[Process]:
        """Live processes, named after the cluster."""
        return [
            Process(name=f"{self._name} {one.name}", pid=one.pid, started=one.started, ports=one.ports)
            for one in self._cluster.processes()
        ]


def _ending(name: str, status: int | None) -> str:
    """Name what ended, and how."""
    if status is None:
        return name
    return f"{name} (signal {-status})" if status < 0 else f"{name} (exit code {status})"
