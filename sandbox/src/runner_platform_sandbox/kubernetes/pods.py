"""How the pods of a cluster are, in a few words each: for tables that people read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.client import KubeClient

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PodState:
    """One pod, for a table."""

    namespace: str
    name: str
    phase: str
    """Pending, Running, Succeeded or Failed; Terminating while it goes."""
    ready: bool
    node: str
    """Empty while it has none."""
    reason: str
    """Why it waits; empty otherwise."""


def pods_by_namespace(client: KubeClient) -> dict[str, list[PodState]]:
    """Return the pods of every namespace that has some."""
    found: dict[str, list[PodState]] = defaultdict(list)
    for pod in client.list("v1", "Pod"):
        found[pod["metadata"]["namespace"]].append(_pod_state(pod))
    return dict(found)


def _pod_state(pod: Body) -> PodState:
    status = pod.get("status") or {}
    conditions = status.get("conditions") or []
    waits = [each["state"]["waiting"] for each in status.get("containerStatuses") or [] if "waiting" in each["state"]]
    unplaced = [each for each in conditions if each["type"] == "PodScheduled" and each["status"] == "False"]
    why = next((f"{each.get('reason', '')}: {each.get('message', '')}" for each in [*waits, *unplaced]), "")
    return PodState(
        namespace=pod["metadata"]["namespace"],
        name=pod["metadata"]["name"],
        phase="Terminating" if pod["metadata"].get("deletionTimestamp") else status.get("phase", "Unknown"),
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
        node=pod["spec"].get("nodeName") or "",
        reason=why.strip(": "),
    )
