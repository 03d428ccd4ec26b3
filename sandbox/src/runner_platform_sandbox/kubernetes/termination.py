"""The end of a node, as with Karpenter: no new pods, evict pods, delete the node, delete the claim.

Owns the drain and the finalizers of NodeClaim, Node and NodeClass. Leaves out the decision to end a node (`nodes`, or
the person or program that deletes the claim or its pool). Disruption budgets and `karpenter.sh/do-not-disrupt` hold up
an eviction until the claim's grace period is over. Source:
https://karpenter.sh/docs/concepts/disruption/#terminationgraceperiod
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.auto_mode import EKS, KARPENTER
from runner_platform_sandbox.kubernetes.errors import ApiError, ConflictError, NotFoundError
from runner_platform_sandbox.kubernetes.placement import (
    DISRUPTED_TAINT,
    DO_NOT_DISRUPT,
    is_active,
    is_daemon,
    tolerates,
)
from runner_platform_sandbox.kubernetes.pools import (
    CLASS_FINALIZER,
    DEFAULT_GRACE,
    TERMINATION_FINALIZER,
    node_name,
    uses_class,
)
from runner_platform_sandbox.kubernetes.quantities import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.copies import Snapshot

Body = dict[str, Any]


class Terminator:
    """Completes deletions of claims, nodes and classes.

    Args:
        client: Reaches the cluster.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def run(self, snapshot: Snapshot) -> bool:
        """Advance every deletion by one step; return True if one needs another step soon."""
        waiting = False
        claimed = {node_name(claim) for claim in snapshot.claims}
        for claim in snapshot.claims:
            if claim["metadata"].get("deletionTimestamp"):
                waiting |= not self._step(self._finish, claim, snapshot)
        for node in snapshot.nodes.values():
            if node["metadata"].get("deletionTimestamp"):
                waiting |= not self._step(self._delete_claim_of, node, snapshot, claimed)
        for node_class in snapshot.classes.values():
            waiting |= not self._step(self._finish_class, node_class, snapshot)
        for pod in snapshot.pods:
            name = pod["spec"].get("nodeName")
            if name and name not in snapshot.nodes and is_active(pod):
                self._delete_if_orphaned(pod)
        return waiting

    def remove_if_empty(self, claim: Body, node: Body) -> bool:
        """Taint a node, check again that it is empty, and delete its claim; return False if it is not empty.

        The local copy behind the decision may be older than a binding by the scheduler.
        """
        name = node["metadata"]["name"]
        try:
            self._taint(node)
        except ConflictError:
            return False
        bound = self._client.list("v1", "Pod", field_selector=f"spec.nodeName={name}")
        if any(is_active(pod) and not is_daemon(pod) for pod in bound):
            self._untaint(name)
            return False
        self._client.delete(KARPENTER, "NodeClaim", claim["metadata"]["name"], uid=claim["metadata"]["uid"])
        return True

    def _delete_if_orphaned(self, pod: Body) -> None:
        """Delete a pod that was bound while its node ended; the pod garbage collector would take 40 s."""
        if self._client.find("v1", "Node", pod["spec"]["nodeName"]) is None:
            self._delete_pod(pod)

    def _step(self, step: Callable[..., bool], *arguments: Any) -> bool:
        """Run one step; return False if it must run again, as after a conflict with another writer."""
        try:
            return step(*arguments)
        except ConflictError:
            return False

    def _delete_claim_of(self, node: Body, snapshot: Snapshot, claimed: set[str]) -> bool:
        """Delete the claim of a deleted node, so that the claim's deletion drains it."""
        name = node["metadata"]["name"]
        if name not in claimed:
            self._drop_finalizer("v1", node, TERMINATION_FINALIZER)
            return True
        claim = snapshot.claim_of(name)
        if claim is not None and not claim["metadata"].get("deletionTimestamp"):
            self._client.delete(KARPENTER, "NodeClaim", claim["metadata"]["name"], uid=claim["metadata"]["uid"])
        return True

    def _finish(self, claim: Body, snapshot: Snapshot) -> bool:
        node = snapshot.nodes.get(node_name(claim))
        if node is not None:
            self._taint(node)
            if not self._drained(claim, snapshot):
                return False
            self._drop_finalizer("v1", node, TERMINATION_FINALIZER)
            self._client.delete("v1", "Node", node["metadata"]["name"])
        self._drop_finalizer(KARPENTER, claim, TERMINATION_FINALIZER)
        return True

    def _taint(self, node: Body) -> None:
        if any(taint["key"] == DISRUPTED_TAINT["key"] for taint in node["spec"].get("taints") or []):
            return
        taints = [*(node["spec"].get("taints") or []), DISRUPTED_TAINT]
        # With the version, so that taints of another writer (the node lifecycle controller) are not overwritten.
        body = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": taints}}
        self._client.patch("v1", "Node", node["metadata"]["name"], None, body)

    def _untaint(self, name: str) -> None:
        node = self._client.get("v1", "Node", name)
        taints = [taint for taint in node["spec"].get("taints") or [] if taint["key"] != DISRUPTED_TAINT["key"]]
        body = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": taints}}
        self._client.patch("v1", "Node", name, None, body)

    def _drained(self, claim: Body, snapshot: Snapshot) -> bool:
        grace_is_over = _grace_is_over(claim)
        remaining_pods = [
            pod
            for pod in snapshot.working_pods(node_name(claim))
            if grace_is_over or not tolerates(pod, [DISRUPTED_TAINT])
        ]
        for pod in remaining_pods:
            if grace_is_over:
                self._delete_pod(pod)
            elif not pod["metadata"].get("deletionTimestamp") and not _must_not_be_disrupted(pod):
                self._evict(pod)
        return not remaining_pods

    def _delete_pod(self, pod: Body) -> None:
        metadata = pod["metadata"]
        try:
            self._client.delete(
                "v1", "Pod", metadata["name"], metadata["namespace"], grace_seconds=0, uid=metadata["uid"]
            )
        except ConflictError:
            return  # another pod has this name by now

    def _evict(self, pod: Body) -> None:
        metadata = pod["metadata"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "deleteOptions": {"preconditions": {"uid": metadata["uid"]}},
        }
        path = self._client.path("v1", "Pod", metadata["name"], metadata["namespace"], "eviction")
        try:
            self._client.transport.request("POST", path, body=eviction, patient=False)
        except (NotFoundError, ConflictError):
            return
        except ApiError as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:  # a disruption budget: the next round asks again
                raise

    def _finish_class(self, node_class: Body, snapshot: Snapshot) -> bool:
        metadata = node_class["metadata"]
        if not metadata.get("deletionTimestamp"):
            if CLASS_FINALIZER not in (metadata.get("finalizers") or []):
                body = {
                    "metadata": {
                        "finalizers": [*(metadata.get("finalizers") or []), CLASS_FINALIZER],
                        "resourceVersion": metadata["resourceVersion"],
                    }
                }
                self._client.patch(EKS, "NodeClass", metadata["name"], None, body)
        elif not any(uses_class(claim, metadata["name"]) for claim in snapshot.claims):
            self._drop_finalizer(EKS, node_class, CLASS_FINALIZER)
        return True

    def _drop_finalizer(self, api_version: str, body: Body, finalizer: str) -> None:
        metadata = body["metadata"]
        current = self._client.find(api_version, body["kind"], metadata["name"])
        if current is None or current["metadata"]["uid"] != metadata["uid"]:
            return
        finalizers = current["metadata"].get("finalizers") or []
        if finalizer not in finalizers:
            return
        remaining = [item for item in finalizers if item != finalizer]
        patch = {"metadata": {"finalizers": remaining, "resourceVersion": current["metadata"]["resourceVersion"]}}
        try:
            self._client.patch(api_version, body["kind"], metadata["name"], None, patch)
        except NotFoundError:
            return


def _must_not_be_disrupted(pod: Mapping[str, Any]) -> bool:
    return (pod["metadata"].get("annotations") or {}).get(DO_NOT_DISRUPT) == "true"


def _grace_is_over(claim: Mapping[str, Any]) -> bool:
    grace = seconds(claim["spec"].get("terminationGracePeriod", DEFAULT_GRACE))
    deleted = datetime.fromisoformat(claim["metadata"]["deletionTimestamp"])
    return grace is not None and (datetime.now(UTC) - deleted).total_seconds() > grace
