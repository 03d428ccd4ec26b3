"""The summary at the end of `make up`: stacks, runner classes, access, time and memory, next commands."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from runner_platform_sandbox import processes, state, status
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ApiError, UnreachableError
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from runner_platform_sandbox.organization import Organization
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.state import ClusterState, State
    from runner_platform_sandbox.up.deployments import Deployed
    from runner_platform_sandbox.up.proof import Proof

MANAGER_NAMESPACE: Final = "runner-"
"""Prefix of the namespaces of the runner classes' managers."""
EVERY_SECONDS: Final = 2.0


class Meter:
    """Measures time by phase and peak memory while it is entered.

    Args:
        paths: The sandbox; its processes and the children of this one are counted.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)
        self._began = time.monotonic()
        self.seconds: dict[str, float] = {}
        """Duration of each phase, in order."""
        self.peak = 0
        """Highest number of bytes in memory at one time; a page that several processes share counts once."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(EVERY_SECONDS)

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure one phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, self._memory())
            if self._ended.wait(EVERY_SECONDS):
                return

    def _memory(self) -> int:
        counted = set(processes.family(ProcessId.mine()))
        with contextlib.suppress(SandboxError):
            current = state.read(self._paths)
            if current is not None and current.supervisor is not None:
                counted |= set(processes.family(current.supervisor.identity))
        return processes.shared_memory(counted)


def render(
    current: State,
    organization: Organization,
    deployed: Sequence[Deployed],
    meter: Meter,
    proofs: Sequence[Proof] = (),
    jobs: str = "",
) -> RenderableType:
    """Lay the summary out for a terminal of 80 columns or more.

    Args:
        current: State of the sandbox.
        organization: For the names of accounts.
        deployed: The stacks, in order.
        meter: Time and memory.
        proofs: The matrices of the stacks.
        jobs: How jobs run on this machine.
    """
    parts: list[RenderableType] = [_stacks(organization, deployed)]
    classes = [line for cluster in current.clusters for line in manager_lines(cluster)]
    if classes:
        parts.append(_classes(classes))
    for cluster in current.clusters:
        if cluster.served and not cluster.served.startswith(f"{cluster.pinned}."):
            text = f"{cluster.name} is pinned to Kubernetes {cluster.pinned}; the sandbox serves {cluster.served},"
            parts.append(Text(f"{text} the nearest version that it has", style="yellow"))
    # The proof has laid out its lines already; a finding stays on one line, however long.
    parts += [Text.from_ansi(f"{proof.text}\n", no_wrap=True, overflow="ignore") for proof in proofs]
    if jobs:
        parts.append(Text(f"{jobs}\n"))
    parts.append(_figures(meter))
    parts.append(_next(current))
    return Group(*parts)


def manager_lines(cluster: ClusterState) -> list[tuple[str, str, str]]:
    """Return cluster, class and pods of the manager, for each deployed runner class."""
    if cluster.status != "ACTIVE":
        return []
    try:
        with KubeClient.from_kubeconfig(cluster.kubeconfig) as client:
            names = [str(item["metadata"]["name"]) for item in client.list("v1", "Namespace")]
            pods = client.list("v1", "Pod")
    except (ApiError, UnreachableError, OSError) as error:
        return [(cluster.name, "?", f"the API server does not answer: {error}")]
    managed = sorted(name for name in names if name.startswith(MANAGER_NAMESPACE))
    by_namespace = collections.defaultdict(list)
    for pod in pods:
        by_namespace[pod["metadata"]["namespace"]].append(pod)
    return [
        (cluster.name, namespace.removeprefix(MANAGER_NAMESPACE), _pods(by_namespace[namespace]))
        for namespace in managed
    ]


def _pods(pods: list[dict[str, Any]]) -> str:
    if not pods:
        return "no pod"
    return ", ".join(f"{pod['metadata']['name']} {_pod(pod)}" for pod in pods)


def _pod(pod: dict[str, Any]) -> str:
    """Return a pod's phase, and Kubernetes' reason if the pod is pending."""
    phase = str(pod["status"].get("phase", "Unknown"))
    waiting = [
        str(condition.get("message", ""))
        for condition in pod["status"].get("conditions", [])
        if phase == "Pending" and condition.get("status") == "False" and condition.get("message")
    ]
    return f"{phase} ({waiting[0]})" if waiting else phase


def _stacks(organization: Organization, deployed: Sequence[Deployed]) -> Table:
    table = Table(box=box.SIMPLE, title="Stacks", title_justify="left", pad_edge=False)
    table.add_column("stack", no_wrap=True)
    table.add_column("resources", justify="right")
    table.add_column("accounts", overflow="fold")
    table.add_column("this run")
    table.add_column("took", justify="right", no_wrap=True)
    for stack in deployed:
        names = ", ".join(organization.name_of(account) for account in stack.accounts)
        table.add_row(stack.stack, str(stack.resources), names, stack.changes_text, f"{stack.seconds:.0f} s")
    return table


def _classes(lines: Sequence[tuple[str, str, str]]) -> Table:
    table = Table(box=box.SIMPLE, title="Runner classes", title_justify="left", pad_edge=False)
    for heading in ("cluster", "class", "manager"):
        table.add_column(heading, overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def _figures(meter: Meter) -> Text:
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in meter.seconds.items())
    return Text(f"Took {meter.total:.0f} s, peak memory {status.mebibytes(meter.peak)}.\nSeconds by phase: {phases}\n")


def _next(current: State) -> Text:
    context = next((cluster.name for cluster in current.clusters if cluster.status == "ACTIVE"), "runner-platform")
    lines = (
        "Try next:",
        '  eval "$(.venv/bin/runner-platform sandbox env)"; pulumi preview -s dev',
        f"  kubectl --context {context} get pods -A",
        "  runner-platform sandbox run --stack prod",
        "  runner-platform prove --stack prod --all",
        "  runner-platform sandbox status",
    )
    return Text("\n".join(lines))
