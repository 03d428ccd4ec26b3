"""What runs: every process of the sandbox with port, memory and age, and every cluster with nodes and pods.

Owns the reading and the table. Leaves out mending what is wrong: the supervisor does that and its events are shown
here.
"""

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
    """Resident bytes, of the process alone."""
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
    """None when the API server does not answer."""
    pods: dict[str, int] | None
    """Number of pods by phase."""
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
        """Resident bytes of all processes together."""
        return sum(process.memory for process in self.processes)

    @property
    def recent(self) -> list[dict[str, Any]]:
        """Events since the supervisor started; all when it is gone, since they may tell why."""
        began = next((process.since for process in self.processes if process.name == "supervisor"), 0.0)
        return [event for event in self.events if event["time"] >= began]

    @property
    def fine(self) -> bool:
        """Whether it runs and nothing was given up."""
        return self.running and not self.failure and all(cluster.status != "FAILED" for cluster in self.clusters)

    def document(self) -> dict[str, Any]:
        """The same as JSON: bytes, and seconds since the epoch."""
        return {**asdict(self), "memory": self.memory, "fine": self.fine}


def report(paths: Paths) -> Report:
    """Look at everything now.

    Raises:
        SandboxError: The state file cannot be understood.
    """
    current = state.read(paths)
    if current is None:
        return Report(root=str(paths.root), running=False, failure="")
    known = [*([current.supervisor] if current.supervisor else []), *current.processes]
    return Report(
        root=str(paths.root),
        running=current.running and current.ready,
        failure=current.failure,
        run_id=current.run_id,
        processes=[_process(process) for process in known if process.identity.alive],
        clusters=[_cluster(cluster) for cluster in current.clusters] if current.running else [],
        events=[event.model_dump() for event in current.events],
    )


def render(found: Report) -> RenderableType:
    """The report for a terminal."""
    if not found.processes:
        reason = f": {found.failure}" if found.failure else ""
        return Text(f"no sandbox runs in {found.root}{reason}")
    parts: list[RenderableType] = [_process_table(found)]
    if found.clusters:
        parts.append(_cluster_table(found))
    parts.extend(
        Text(f"{cluster.name}: {cluster.message}", style="yellow") for cluster in found.clusters if cluster.message
    )
    parts.extend(
        Text(f"{time.strftime('%H:%M:%S', time.localtime(event['time']))} {event['text']}", style="dim")
        for event in found.recent[-SHOWN_EVENTS:]
    )
    if found.failure:
        parts.append(Text(found.failure, style="bold red"))
    return Group(*parts)


def mebibytes(size: int) -> str:
    """A size for people."""
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
            nodes = pods = None  # it is being started again; the supervisor's events say so
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


def _process_table(found: Report) -> Table:
    table = Table(
        box=box.SIMPLE,
        title=f"Sandbox {found.run_id} in {found.root}",
        title_justify="left",
        show_footer=True,
        pad_edge=False,
    )
    table.add_column("process", footer="together", no_wrap=True)
    table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("ports")
    table.add_column("memory", justify="right", footer=mebibytes(found.memory), no_wrap=True)
    table.add_column("since", no_wrap=True)
    group = ""
    for process in found.processes:
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
    """Port numbers, with their uses where there are several."""
    if len(ports) == 1:
        return str(next(iter(ports.values())))
    return ", ".join(f"{use} {port}" for use, port in ports.items())


def _since(started: float) -> str:
    """The time of today, else the day."""
    moment, today = time.localtime(started), time.localtime()
    same = (moment.tm_year, moment.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same else "%d %b", moment)


def _cluster_table(found: Report) -> Table:
    table = Table(box=box.SIMPLE, title="Clusters", title_justify="left", pad_edge=False)
    for heading in ("cluster", "account", "status", "pinned", "served", "nodes", "pods"):
        table.add_column(heading)
    for cluster in found.clusters:
        pods = "?" if cluster.pods is None else ", ".join(f"{count} {phase}" for phase, count in cluster.pods.items())
        nodes = "?" if cluster.nodes is None else str(cluster.nodes)
        table.add_row(
            cluster.name, cluster.account, cluster.status, cluster.pinned, cluster.served or "?", nodes, pods or "none"
        )
    return table
