"""The small Karpenter: nodes for pods that wait, and no nodes without pods.

Owns the decisions (which pods wait, where they fit, what to launch, which node is empty or too old) and the status of
NodePools and NodeClasses. Leaves out the choice among instance types (`pools`), the drain (`termination`), and these
parts of EKS's own controller: consolidation of half-empty nodes, drift, spot interruption, static pools, start-up
taints (no daemons run here that would lift them). The sandbox's NodeClass is ready once it exists.
Conditions: https://karpenter.sh/docs/concepts/nodepools/#statusconditions
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.auto_mode import EKS, KARPENTER
from runner_platform_sandbox.kubernetes.errors import ConflictError
from runner_platform_sandbox.kubernetes.placement import requests, selects, tolerates, waits_for_node
from runner_platform_sandbox.kubernetes.pools import (
    POOL_LABEL,
    Offer,
    Pool,
    claim_status,
    condition,
    first_choice,
    is_leaving,
    node_claim,
    node_name,
    node_of,
    quantities,
)
from runner_platform_sandbox.kubernetes.quantities import Amounts, add, fits, now_text
from runner_platform_sandbox.kubernetes.termination import Terminator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.copies import Copies, Snapshot

Body = dict[str, Any]

_LOG = logging.getLogger(__name__)
_IDLE_SECONDS = 30.0
_SOON_SECONDS = 1.0
_REFUSED_AFTER_SECONDS = 10.0
"""After this time the scheduler has a reason, unknown to this loop, against a ready node with room."""
_MAX_REFUSALS = 3


@dataclass
class _Nomination:
    """The node on which a waiting pod is expected."""

    node: str
    requests: Amounts
    since: float
    refused: set[str] = field(default_factory=set)


class NodeLoop:
    """Launches and removes nodes; it loses nothing that matters when it restarts.

    Args:
        client: Reaches the cluster.
        copies: Local copies of pods, nodes, claims, pools and classes.
        region: Region of the cluster, for zones.
    """

    def __init__(self, client: KubeClient, copies: Copies, region: str) -> None:
        self._client = client
        self._copies = copies
        self._region = region
        self._terminator = Terminator(client)
        self._status = PoolStatus(client)
        self._nominations: dict[str, _Nomination] = {}
        self._empty_since: dict[str, float] = {}
        self._pools: dict[tuple[str, int, str, int], Pool] = {}

    def round(self) -> float:
        """Decide once on the whole state, and return the seconds until the next round."""
        if not self._copies.synced:
            return _SOON_SECONDS
        snapshot = self._copies.snapshot()
        real = snapshot.real_pools
        pools = [pool for pool in self._ready_pools(snapshot) if pool.name not in real]
        self._status.run(snapshot)
        waiting = self._terminator.run(snapshot)
        self._register(snapshot)
        self._provision(snapshot, pools)
        pause = self._disrupt(snapshot, pools)
        return min(pause, _SOON_SECONDS if waiting or self._nominations else _IDLE_SECONDS)

    # -- launching ----------------------------------------------------------------------------------------------------

    def _register(self, snapshot: Snapshot) -> None:
        """Join the nodes of new claims, and delete claims of nodes that disappeared."""
        for claim in snapshot.claims:
            if claim["metadata"].get("deletionTimestamp") or node_name(claim) in snapshot.nodes:
                continue
            if (claim.get("status") or {}).get("nodeName"):
                self._client.delete(KARPENTER, "NodeClaim", claim["metadata"]["name"], uid=claim["metadata"]["uid"])
            else:
                self._join(claim)

    def _join(self, claim: Body) -> Body:
        node = node_of(claim)
        try:
            joined = self._client.create(node)
        except ConflictError:
            joined = self._client.get("v1", "Node", node["metadata"]["name"])
        self._copies.nodes.put(joined)
        status = claim_status(claim, now_text())
        name = claim["metadata"]["name"]
        body = self._client.patch(KARPENTER, "NodeClaim", name, None, {"status": status}, subresource="status")
        self._copies.claims.put(body)
        return joined

    def _provision(self, snapshot: Snapshot, pools: list[Pool]) -> None:
        waiting = {pod["metadata"]["uid"]: pod for pod in snapshot.pods if waits_for_node(pod)}
        self._review(snapshot, waiting)
        used = {pool.name: snapshot.used(pool.name) for pool in pools}
        nodes = [node for node in snapshot.nodes.values() if POOL_LABEL in node["metadata"]["labels"]]
        rooms = {node["metadata"]["name"]: self._room(node, snapshot) for node in nodes if not is_leaving(node)}
        for uid, pod in sorted(waiting.items(), key=lambda item: item[1]["metadata"]["creationTimestamp"]):
            nomination = self._nominations.get(uid)
            if nomination is not None and nomination.node:
                continue
            refused = nomination.refused if nomination else set()
            requested = requests(pod)
            name = _existing_node(
                pod, requested, [node for node in nodes if node["metadata"]["name"] not in refused], rooms
            )
            if name is None and len(refused) < _MAX_REFUSALS:
                choice = first_choice(pools, pod, requested, used)
                if choice is None:
                    continue
                node = self._launch(*choice, requested)
                nodes.append(node)
                name = node["metadata"]["name"]
                rooms[name] = dict(choice[1].allocatable)
                used[choice[0].name] = add(used[choice[0].name], {**choice[1].capacity, "nodes": 1})
            if name is not None:
                rooms[name] = add(rooms[name], {key: -value for key, value in requested.items()})
                self._nominations[uid] = _Nomination(name, requested, time.monotonic(), refused)

    def _launch(self, pool: Pool, offer: Offer, requested: Amounts) -> Body:
        claim = self._client.create(node_claim(pool, offer, requested))
        self._copies.claims.put(claim)
        _LOG.info("launching %s (%s) for pool %s", claim["metadata"]["name"], offer.instance.name, pool.name)
        return self._join({"apiVersion": KARPENTER, "kind": "NodeClaim", **claim})

    def _review(self, snapshot: Snapshot, waiting: Mapping[str, Body]) -> None:
        """Drop nominations of pods that no longer wait, and of nodes that ended or that the scheduler refused."""
        for uid, nomination in list(self._nominations.items()):
            if uid not in waiting:
                del self._nominations[uid]
                continue
            node = snapshot.nodes.get(nomination.node)
            if node is None or is_leaving(node):
                nomination.node = ""
            elif _is_ready(node) and time.monotonic() - nomination.since > _REFUSED_AFTER_SECONDS:
                nomination.refused.add(nomination.node)
                nomination.node = ""

    def _room(self, node: Body, snapshot: Snapshot) -> Amounts:
        room = snapshot.free(node)
        for nomination in self._nominations.values():
            if nomination.node == node["metadata"]["name"]:
                room = add(room, {key: -value for key, value in nomination.requests.items()})
        return room

    # -- taking down --------------------------------------------------------------------------------------------------

    def _disrupt(self, snapshot: Snapshot, pools: list[Pool]) -> float:
        """Delete empty and expired claims, and return the seconds until the next one may be due."""
        now, pause = time.monotonic(), _IDLE_SECONDS
        nominated = {nomination.node for nomination in self._nominations.values()}
        for pool in pools:
            claims = snapshot.claims_of(pool.name)
            disrupted = sum(1 for claim in claims if claim["metadata"].get("deletionTimestamp"))
            for claim in claims:
                node = snapshot.nodes.get(node_name(claim))
                if claim["metadata"].get("deletionTimestamp") or node is None:
                    continue
                if pool.expire_after is not None and _age(claim) > pool.expire_after:
                    _LOG.info("removing %s: expired", claim["metadata"]["name"])  # budgets do not apply to expiry
                    self._client.delete(KARPENTER, "NodeClaim", claim["metadata"]["name"], uid=claim["metadata"]["uid"])
                    continue
                busy = node_name(claim) in nominated or bool(snapshot.working_pods(node_name(claim)))
                remaining_seconds = self._empty_for(claim, pool, busy=busy, now=now)
                if remaining_seconds is None:
                    continue
                if remaining_seconds > 0:
                    pause = min(pause, remaining_seconds)
                elif pool.disruptable(len(claims), disrupted, "Empty"):
                    self._empty_since.pop(claim["metadata"]["uid"], None)
                    if self._terminator.remove_if_empty(claim, node):
                        _LOG.info("removing %s: empty", claim["metadata"]["name"])
                        disrupted += 1
        return pause

    def _empty_for(self, claim: Body, pool: Pool, *, busy: bool, now: float) -> float | None:
        """Return the seconds until a claim has been empty for long enough, or None if it is busy or may stay."""
        uid = claim["metadata"]["uid"]
        if busy or pool.consolidate_after is None:
            self._empty_since.pop(uid, None)
            return None
        return self._empty_since.setdefault(uid, now) + pool.consolidate_after - now

    # -- pools --------------------------------------------------------------------------------------------------------

    def _ready_pools(self, snapshot: Snapshot) -> list[Pool]:
        """Return the pools that may launch, cached by version of pool and class for their offers."""
        ready = {}
        for body in snapshot.pools:
            reference = body["spec"]["template"]["spec"]["nodeClassRef"]
            node_class = snapshot.classes.get(reference["name"])
            if node_class is None or body["metadata"].get("deletionTimestamp"):
                continue
            if node_class["metadata"].get("deletionTimestamp") or "replicas" in body["spec"]:
                continue
            pool_meta, class_meta = body["metadata"], node_class["metadata"]
            key = (pool_meta["uid"], pool_meta["generation"], class_meta["uid"], class_meta["generation"])
            zones = [f"{self._region}{letter}" for letter in "abc"]
            ready[key] = self._pools.get(key) or Pool(
                body=body, node_class=node_class, region=self._region, zones=zones
            )
        self._pools = ready
        return list(ready.values())


def _existing_node(pod: Body, requested: Amounts, nodes: list[Body], rooms: Mapping[str, Amounts]) -> str | None:
    for node in nodes:
        name = node["metadata"]["name"]
        if name not in rooms or not fits(requested, rooms[name]):
            continue
        taints = [
            taint for taint in node["spec"].get("taints") or [] if not taint["key"].startswith("node.kubernetes.io/")
        ]
        if tolerates(pod, taints) and selects(pod, node["metadata"]["labels"], name):
            return str(name)
    return None


def _is_ready(node: Body) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _age(claim: Body) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(claim["metadata"]["creationTimestamp"])).total_seconds()


class PoolStatus:
    """Writes the status of NodePools and NodeClasses when it changes.

    Args:
        client: Reaches the cluster.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def run(self, snapshot: Snapshot) -> None:
        """Update the status of all pools and classes."""
        for node_class in snapshot.classes.values():
            self._write(EKS, node_class, {}, {"Ready": ""})
        for pool in snapshot.pools:
            used = snapshot.used(pool["metadata"]["name"])
            count = used.pop("nodes", 0)
            usage = {"resources": quantities({**used, "nodes": count}), "nodes": count}
            problem = _class_problem(pool, snapshot)
            self._write(
                KARPENTER, pool, usage, {"ValidationSucceeded": "", "NodeClassReady": problem, "Ready": problem}
            )

    def _write(self, api_version: str, body: Body, usage: Body, problems: dict[str, str]) -> None:
        status = body.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
        now = now_text()
        for kind, problem in problems.items():
            new = condition(kind, holds=not problem, now=now, message=problem)
            old = conditions.get(kind)
            if old is None or (old["status"], old.get("message", "")) != (new["status"], problem):
                conditions[kind] = new
        expected = {**usage, "conditions": list(conditions.values())}
        if any(status.get(key) != value for key, value in expected.items()):
            name = body["metadata"]["name"]
            self._client.patch(api_version, body["kind"], name, None, {"status": expected}, subresource="status")


def _class_problem(pool: Body, snapshot: Snapshot) -> str:
    name = pool["spec"]["template"]["spec"]["nodeClassRef"]["name"]
    node_class = snapshot.classes.get(name)
    if node_class is None:
        return f"NodeClass {name} not found"
    if node_class["metadata"].get("deletionTimestamp"):
        return f"NodeClass {name} is terminating"
    return ""
