"""The parts of a sandbox: AWS server, GitLab server, Kubernetes control planes.

The protocols are the contract with the supervisor, so that a test can replace each part. `assemble` chooses the
programs and ports of the real ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from runner_platform_sandbox import organization as organizations
from runner_platform_sandbox.aws.client import AwsAdmin
from runner_platform_sandbox.aws.process import AwsServer
from runner_platform_sandbox.gitlab.process import GitlabServer
from runner_platform_sandbox.kubernetes.cluster import Cluster
from runner_platform_sandbox.kubernetes.command_lines import Binaries, ClusterSpec
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.state import Process
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runner_platform_sandbox.aws.client import EksCluster
    from runner_platform_sandbox.organization import Organization
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.processes import ServerProcess
    from runner_platform_sandbox.state import State


class Part(Protocol):
    """A part with processes that can be started, watched and stopped."""

    def start(self) -> None:
        """Start the processes that do not run, with their kept state, and return once they answer."""

    def stop(self) -> None:
        """Stop all processes in order."""

    def processes(self) -> Sequence[Process]:
        """Return the live processes, in the order of their start."""

    def dead(self) -> Sequence[str]:
        """Return a phrase for each process that should run and does not: `kube-apiserver (killed by signal 9)`."""


class ControlPlane(Part, Protocol):
    """A Kubernetes control plane of one EKS cluster."""

    @property
    def endpoint(self) -> str:
        """URL of the API server."""

    @property
    def certificate_authority(self) -> str:
        """PEM of the authority that signs the API server's certificate, in base64."""

    def jwks(self) -> dict[str, Any]:
        """Return the public keys of the cluster's service-account tokens."""

    def version(self) -> str:
        """Return the version of the API server that answers, without a leading `v`."""

    def kubeconfig(self) -> str:
        """Return the path of the administrator's kubeconfig."""

    def access_changed(self) -> None:
        """Make the RBAC objects anew after a change of access entries."""

    def remove(self) -> None:
        """Stop the control plane and remove its files."""


class Cloud(Protocol):
    """The AWS server's control routes for clusters."""

    def clusters(self) -> Sequence[EksCluster]:
        """Return every cluster of every account."""

    def report(self, cluster: EksCluster, condition: Mapping[str, Any]) -> None:
        """Report a cluster's condition: `status` and, if it is up, its endpoint and keys."""


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """The parts that a supervisor runs."""

    organization: Organization
    servers: Mapping[str, Part]
    """Parts that always run, by name, in the order of their start; AWS first."""
    cloud: Cloud
    """The source of clusters, and the receiver of reports about them."""
    control_plane: Callable[[EksCluster], ControlPlane]
    """Makes the control plane of a cluster without starting it."""
    introduce: Callable[[], None]
    """Tells the AWS server about the organisation and GitLab's keys; called after each start of a server."""


def assemble(paths: Paths, current: State) -> Assembly:
    """Put a sandbox together from the installed tools.

    Raises:
        SandboxError: A tool or the organisation's file is missing.
    """
    members = organizations.read()
    tools = Tools.find(paths)
    binaries, python = Binaries.of(tools), tools.ministack_python
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


def _aws_part(paths: Paths, python: Path, current: State, region: str) -> ServerPart:
    server, ports = AwsServer(), current.ports
    start = partial(server.start, paths, python, ports.aws, ports.aws_jobs, region)
    return ServerPart("aws", server, start, {"deployer": ports.aws, "jobs": ports.aws_jobs})


class ServerPart:
    """A server as a part of the sandbox.

    Args:
        name: Its name in the list of processes.
        server: The server.
        start: Starts it with its kept state and returns once it answers.
        ports: Its ports, by use.
    """

    def __init__(self, name: str, server: ServerProcess, start: Callable[[], None], ports: dict[str, int]) -> None:
        self._name = name
        self._server = server
        self._start = start
        self._ports = ports
        self._should_run = False

    def start(self) -> None:
        """Start the server with its kept state and wait until it answers."""
        self._should_run = True
        self._start()

    def stop(self) -> None:
        """Stop the server."""
        self._should_run = False
        self._server.stop()

    def processes(self) -> list[Process]:
        """Return the server's process, or an empty list while it does not run."""
        identity = ProcessId.of(self._server.pid) if self._server.pid and self._server.alive() else None
        if identity is None:
            return []
        return [Process(name=self._name, pid=identity.pid, started=identity.started, ports=self._ports)]

    def dead(self) -> list[str]:
        """Return the server's name and end if it should run and does not."""
        if not self._should_run or self._server.alive():
            return []
        return [_with_end(self._server.name, self._server.ended)]


class KubernetesPart:
    """A control plane as a part of the sandbox.

    Args:
        clusters: Folder of all clusters.
        admin: Source of the RBAC objects for the cluster's access entries.
        base: URL of the AWS server, which also reviews tokens for the API server.
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
        """PEM of the authority that signs the API server's certificate, in base64."""
        return self._cluster.certificate_authority

    def jwks(self) -> dict[str, Any]:
        """Return the public keys of the cluster's service-account tokens."""
        return self._cluster.jwks

    def version(self) -> str:
        """Return the version of the API server that answers."""
        return self._cluster.served_version

    def kubeconfig(self) -> str:
        """Return the path of the administrator's kubeconfig."""
        return str(self._cluster.admin_kubeconfig)

    def start(self) -> None:
        """Start the processes that do not run."""
        self._cluster.start()

    def stop(self) -> None:
        """Stop all processes, clients of the API server first."""
        self._cluster.stop()

    def remove(self) -> None:
        """Stop the cluster and remove its folder."""
        self._cluster.remove()

    def access_changed(self) -> None:
        """Make the RBAC objects of the access entries anew."""
        self._cluster.access_changed()

    def dead(self) -> list[str]:
        """Return the processes that should run and do not."""
        return self._cluster.control_plane.dead()

    def processes(self) -> list[Process]:
        """Return the live processes, named after the cluster."""
        return [
            Process(name=f"{self._name} {process.name}", pid=process.pid, started=process.started, ports=process.ports)
            for process in self._cluster.processes()
        ]


def _with_end(name: str, status: int | None) -> str:
    """Return a name and how the process ended."""
    if status is None:
        return name
    return f"{name} (signal {-status})" if status < 0 else f"{name} (exit code {status})"
