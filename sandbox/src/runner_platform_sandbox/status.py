"""The status of a sandbox: processes with ports, memory and age; clusters with nodes and pods; recent events."""

from __future__ import annotations

import collections
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from runner_platform_sandbox import processes, state
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ApiError, UnreachableError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.state import ClusterState, Process

MEBIBYTE: Final = 1024 * 1024
SHOWN_EVENTS: Final = 5


@dataclass(frozen=True, kw_only=True)
class ProcessLine:
    """One process."""

    name: str
    pid: int
    ports: dict[str, int]
    memory: int
    """Resident bytes, without children."""
    since: float
    """Seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class ClusterLine:
    """One cluster."""

    name: str
    account: str
    status: str
    pinned: str
    """Minor version that EKS was asked for."""
    served: str
    """Version of the API server; empty while it does not answer."""
    nodes: int | None
    """None if the API server does not answer."""
    pods: dict[str, int] | None
    """Number of pods by phase; None if the API server does not answer."""
    kubeconfig: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole sandbox."""

    root: str
    running: bool
    """Whether the supervisor lives and AWS answers."""
    failure: str
    run_id: str = ""
    processes: list[ProcessLine] = field(default_factory=list)
    clusters: list[ClusterLine] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def memory(self) -> int:
        """Resident bytes of all processes."""
        return sum(process.memory for process in self.processes)

    @property
    def recent(self) -> list[dict[str, Any]]:
        """Events since the supervisor started; all events if it is gone, since they may tell why."""
        began = next((process.since for process in self.processes if process.name == state.SUPERVISOR), 0.0)
        return [event for event in self.events if event["time"] >= began]

    @property
    def fine(self) -> bool:
        """Whether the sandbox runs without a part that failed for good."""
        return self.running and not self.failure and all(cluster.status != "FAILED" for cluster in self.clusters)

    def document(self) -> dict[str, Any]:
        """The report as JSON values: bytes, and seconds since the epoch."""
        return {**asdict(self), "memory": self.memory, "fine": self.fine}


def read(paths: Paths) -> Report:
    """Read the state file and ask the processes and clusters.

    Raises:
        SandboxError: The state file cannot be understood.
    """
    current = state.read(paths)
    if current is None:
        return Report(root=str(paths.root), running=False, failure="")
    recorded = [*([current.supervisor] if current.supervisor else []), *current.processes]
    return Report(
        root=str(paths.root),
        running=current.running and current.ready,
        failure=current.failure,
        run_id=current.run_id,
        processes=[_process(process) for process in recorded if process.identity.alive],
        clusters=[_cluster(cluster) for cluster in current.clusters] if current.running else [],
        events=[event.model_dump() for event in current.events],
    )


def render(report: Report) -> RenderableType:
    """Lay the report out for a terminal of 80 columns or more. The path of the root stays on one line."""
    if not report.processes:
        reason = f": {report.failure}" if report.failure else ""
        return Text(f"no sandbox runs in {report.root}{reason}", no_wrap=True, overflow="ignore")
    parts: list[RenderableType] = [
        Text(f"Sandbox {report.run_id} in {report.root}", no_wrap=True, overflow="ignore", style="italic"),
        _process_table(report),
    ]
    if report.clusters:
        parts.append(_cluster_table(report))
    parts.extend(
        Text(f"{cluster.name}: {cluster.message}", style="yellow") for cluster in report.clusters if cluster.message
    )
    parts.extend(
        Text(f"{time.strftime('%H:%M:%S', time.localtime(event['time']))} {event['text']}", style="dim")
        for event in report.recent[-SHOWN_EVENTS:]
    )
    if report.failure:
        parts.append(Text(report.failure, style="bold red"))
    return Group(*parts)


def mebibytes(size: int) -> str:
    """Return a size for people."""
    return f"{size / MEBIBYTE:.0f} MiB"


def _process(process: Process) -> ProcessLine:
    return ProcessLine(
        name=process.name,
        pid=process.pid,
        ports=process.ports,
        memory=processes.memory([process.identity]),
        since=process.started,
    )


def _cluster(cluster: ClusterState) -> ClusterLine:
    nodes: int | None = None
    pods: dict[str, int] | None = None
    if cluster.status == "ACTIVE":
        try:
            with KubeClient.from_kubeconfig(cluster.kubeconfig) as client:
                nodes = len(client.list("v1", "Node"))
                phases = (str(pod["status"].get("phase", "Unknown")) for pod in client.list("v1", "Pod"))
                pods = dict(sorted(collections.Counter(phases).items()))
        except (ApiError, UnreachableError, OSError):
            nodes = pods = None  # the API server is being started again; the supervisor's events say so
    return ClusterLine(
        name=cluster.name,
        account=cluster.account,
        status=cluster.status,
        pinned=cluster.pinned,
        served=cluster.served,
        nodes=nodes,
        pods=pods,
        kubeconfig=cluster.kubeconfig,
        message=cluster.message,
    )


def _process_table(report: Report) -> Table:
    table = Table(box=box.SIMPLE, show_footer=True, pad_edge=False)
    table.add_column("process", footer="together", no_wrap=True, overflow="fold")
    table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("ports")
    table.add_column("memory", justify="right", footer=mebibytes(report.memory), no_wrap=True)
    table.add_column("since", no_wrap=True)
    group = ""
    for process in report.processes:
        cluster, _, name = process.name.rpartition(" ")
        if cluster and cluster != group:
            table.add_row(cluster)
        group = cluster
        table.add_row(
            f"  {name}" if cluster else name,
            str(process.pid),
            _ports(process.ports),
            mebibytes(process.memory),
            _since(process.since),
        )
    return table


def _ports(ports: dict[str, int]) -> str:
    """Return one port number, or several with their uses."""
    if len(ports) == 1:
        return str(next(iter(ports.values())))
    return ", ".join(f"{use} {port}" for use, port in ports.items())


def _since(started: float) -> str:
    """Return the time if the process started today, else the day."""
    moment, today = time.localtime(started), time.localtime()
    same_day = (moment.tm_year, moment.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same_day else "%d %b", moment)


def _cluster_table(report: Report) -> Table:
    table = Table(box=box.SIMPLE, title="Clusters", title_justify="left", pad_edge=False)
    for heading in ("cluster", "account", "status", "pinned", "served", "nodes", "pods"):
        table.add_column(heading, overflow="fold")
    for cluster in report.clusters:
        pods = "?" if cluster.pods is None else ", ".join(f"{count} {phase}" for phase, count in cluster.pods.items())
        nodes = "?" if cluster.nodes is None else str(cluster.nodes)
        table.add_row(
            cluster.name, cluster.account, cluster.status, cluster.pinned, cluster.served or "?", nodes, pods or "none"
        )
    return table
