"""The state of one cluster at one moment, as the node loop decides on it.

Owns questions about pods, nodes, claims and pools together: who is where, what is free, what a pool uses. Leaves out
writing (`nodes.py`, `termination.py`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.node_objects import node_name
from runner_platform_sandbox.kubernetes.placement import is_active, is_daemon, requests
from runner_platform_sandbox.kubernetes.pools import POOL_LABEL
from runner_platform_sandbox.kubernetes.quantities import Amounts, add, amounts

if TYPE_CHECKING:
    from collections.abc import Mapping

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Copies of what matters; not to be changed."""

    pods: list[Body] = field(default_factory=list)
    nodes: dict[str, Body] = field(default_factory=dict)
    claims: list[Body] = field(default_factory=list)
    pools: list[Body] = field(default_factory=list)
    classes: dict[str, Body] = field(default_factory=dict)

    @cached_property
    def pods_by_node(self) -> dict[str, list[Body]]:
        """Bound pods that still hold their requests, by node name."""
        found: dict[str, list[Body]] = defaultdict(list)
        for pod in self.pods:
            name = pod["spec"].get("nodeName")
            if name and is_active(pod):
                found[name].append(pod)
        return found

    def work_on(self, node: str) -> list[Body]:
        """Active pods of a node that do not come and go with it."""
        return [pod for pod in self.pods_by_node.get(node, []) if not is_daemon(pod)]

    def free(self, node: Mapping[str, Any]) -> Amounts:
        """What is left of a node's allocatable amounts; may be below zero."""
        room = amounts((node.get("status") or {}).get("allocatable"))
        for pod in self.pods_by_node.get(node["metadata"]["name"], []):
            room = add(room, {key: -value for key, value in requests(pod).items()})
        return room

    def claims_of(self, pool: str) -> list[Body]:
        """Claims of one pool."""
        return [claim for claim in self.claims if claim["metadata"]["labels"].get(POOL_LABEL) == pool]

    def used(self, pool: str) -> Amounts:
        """Capacity of a pool's claims together; their number is `nodes`."""
        total: Amounts = {"nodes": 0}
        for claim in self.claims_of(pool):
            total = add(total, {**amounts((claim.get("status") or {}).get("capacity")), "nodes": 1})
        return total

    def claim_of(self, node: str) -> Body | None:
        """The claim that a node belongs to, None for a node that is not of a pool."""
        return next((claim for claim in self.claims if node_name(claim) == node), None)
