"""What a NodePool and a NodeClass say about themselves: ready or not, and what they use.

Leaves out reasons that only AWS knows (a role, subnet or key that is not there): the sandbox's NodeClass is ready
once it exists. Conditions: https://karpenter.sh/docs/concepts/nodepools/#statusconditions
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.auto_mode import EKS, KARPENTER
from runner_platform_sandbox.kubernetes.node_objects import condition, quantities

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.snapshot import Snapshot

Body = dict[str, Any]


class PoolStatus:
    """Writes status where it changed.

    Args:
        client: Reaches the cluster.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def run(self, snapshot: Snapshot) -> None:
        """Bring the status of all pools and classes up to date."""
        for node_class in snapshot.classes.values():
            self._write(EKS, node_class, {}, {"Ready": ""})
        for pool in snapshot.pools:
            used = snapshot.used(pool["metadata"]["name"])
            count = used.pop("nodes", 0)
            more = {"resources": quantities({**used, "nodes": count}), "nodes": count}
            problem = _class_problem(pool, snapshot)
            self._write(KARPENTER, pool, more, {"ValidationSucceeded": "", "NodeClassReady": problem, "Ready": problem})

    def _write(self, api_version: str, body: Body, more: Body, problems: dict[str, str]) -> None:
        known = body.get("status") or {}
        conditions = {each["type"]: each for each in known.get("conditions") or []}
        now = now_text()
        for kind, problem in problems.items():
            fresh = condition(kind, holds=not problem, now=now, message=problem)
            old = conditions.get(kind)
            if old is None or (old["status"], old.get("message", "")) != (fresh["status"], problem):
                conditions[kind] = fresh
        wanted = {**more, "conditions": list(conditions.values())}
        if any(known.get(key) != value for key, value in wanted.items()):
            name = body["metadata"]["name"]
            self._client.patch(api_version, body["kind"], name, None, {"status": wanted}, subresource="status")


def now_text() -> str:
    """Write the time as the API does, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _class_problem(pool: Body, snapshot: Snapshot) -> str:
    name = pool["spec"]["template"]["spec"]["nodeClassRef"]["name"]
    node_class = snapshot.classes.get(name)
    if node_class is None:
        return f"NodeClass {name} not found"
    if node_class["metadata"].get("deletionTimestamp"):
        return f"NodeClass {name} is terminating"
    return ""
