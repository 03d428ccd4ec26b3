"""The part of a kubelet that kwok lacks: a bound pod waits for the Secrets and ConfigMaps that it names.

Owns two pod conditions. kwok is configured to run only pods with the first one (`command_lines`), so a pod waits until
this loop has checked it. The second one hands a job pod to a process node (`process_node`) if one runs, and takes it back
when that node was killed. Leaves out images, probes, mounts and exit codes: kwok reports Running, and Complete for a Job's
pod, without running anything.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.client import STRATEGIC_PATCH
from runner_platform_sandbox.kubernetes.command_lines import PROCESS_CONDITION, REFERENCES_CONDITION
from runner_platform_sandbox.kubernetes.errors import NotFoundError
from runner_platform_sandbox.kubernetes.pools import REAL_NODE_LABEL
from runner_platform_sandbox.kubernetes.quantities import now_text
from runner_platform_sandbox.kubernetes.references import Kind, Reference, missing

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.copies import Copies

Body = dict[str, Any]
Problems = list[tuple[Reference, str]]

_LOG = logging.getLogger(__name__)
_IDLE_SECONDS = 60.0
_SOON_SECONDS = 1.0
_LEASE_CHECK_SECONDS = 5.0

JOB_LABEL = "job.runner.gitlab.com/pod"
"""GitLab Runner's label of job pods."""
LEASE = "process-node"
LEASE_NAMESPACE = "kube-system"
"""Of the lease that a process node renews while it runs (`sandbox/tools/process-node/cluster.go`)."""


class KubeletLoop:
    """Lets bound pods start once the Secrets and ConfigMaps that they reference exist.

    Args:
        client: Reaches the cluster.
        copies: Local copies of pods, Secrets and ConfigMaps.
    """

    def __init__(self, client: KubeClient, copies: Copies) -> None:
        self._client = client
        self._copies = copies

    def round(self) -> float:
        """Check every bound pod that has not started, and return the seconds until the next round."""
        if not self._copies.synced:
            return _SOON_SECONDS
        pods = self._copies.pods.all()
        waiting = [pod for pod in pods if _waits_for_start(pod) and not self._is_real(pod["spec"]["nodeName"])]
        handed_over = [pod for pod in pods if _holds(pod, PROCESS_CONDITION)]
        process_node = bool(handed_over or any(map(is_job, waiting))) and self._has_process_node()
        for pod in waiting:
            self._check(pod, process_node=process_node)
        if process_node or not handed_over:
            return _LEASE_CHECK_SECONDS if handed_over else _IDLE_SECONDS
        for pod in handed_over:
            self._patch(pod, status_after_killed_node(pod))
        return _IDLE_SECONDS

    def _has_process_node(self) -> bool:
        lease = self._client.find("coordination.k8s.io/v1", "Lease", LEASE, LEASE_NAMESPACE)
        return lease is not None and is_live(lease, datetime.now(UTC))

    def _is_real(self, name: str) -> bool:
        """Whether a node has a kubelet, which does all this itself."""
        node = self._copies.nodes.get(name)
        return node is not None and REAL_NODE_LABEL in (node["metadata"].get("labels") or {})

    def _check(self, pod: Body, *, process_node: bool) -> None:
        problems = missing(pod, self._keys)
        status = status_for(pod, problems, process_node=process_node)
        current = _condition(pod)
        condition = status["conditions"][0]
        if current is not None and (current["status"], current.get("message", "")) == (
            condition["status"],
            condition["message"],
        ):
            return
        if self._patch(pod, status) and problems:
            metadata = pod["metadata"]
            _LOG.info("pod %s/%s waits: %s", metadata["namespace"], metadata["name"], problems[0][1])

    def _patch(self, pod: Body, status: Body) -> bool:
        """Write a pod's status; False if the pod is gone."""
        metadata = pod["metadata"]
        # With the uid the API server refuses if another pod has the name by now.
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        try:
            changed = self._client.patch(
                "v1",
                "Pod",
                metadata["name"],
                metadata["namespace"],
                body,
                content_type=STRATEGIC_PATCH,
                subresource="status",
            )
        except NotFoundError:
            return False
        self._copies.pods.put(changed)
        return True

    def _keys(self, kind: Kind, namespace: str, name: str) -> set[str] | None:
        copies = self._copies.secrets if kind == "Secret" else self._copies.config_maps
        body = copies.get(name, namespace)
        return None if body is None else body["keys"]


def status_for(pod: Body, problems: Problems, *, process_node: bool = False) -> Body:
    """Compose the status of a bound pod that has not started.

    Args:
        pod: The pod.
        problems: The missing references, with the kubelet's words.
        process_node: Whether a process node runs in the cluster; it gets pods of jobs.
    """
    message = "; ".join(dict.fromkeys(problem for _, problem in problems))
    references = _written(REFERENCES_CONDITION, "MissingReferences" if problems else "", message, holds=not problems)
    status: Body = {"conditions": [references]}
    if process_node and is_job(pod) and not problems:
        # In the same patch: kwok must not see one without the other.
        status["conditions"].append(_written(PROCESS_CONDITION, "", "", holds=True))
    if problems:
        status["containerStatuses"] = [
            _waiting(container, problems) for container in pod["spec"].get("containers") or []
        ]
    return status


def status_after_killed_node(pod: Body) -> Body:
    """Compose the status of a pod whose process node was killed: its processes ended, and kwok may remove it."""
    message = "the program that ran the job's processes was killed"
    status: Body = {"conditions": [_written(PROCESS_CONDITION, "ProcessNodeKilled", message, holds=False)]}
    if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
        status |= {"phase": "Failed", "reason": "ProcessNodeKilled", "message": message}
    return status


def is_job(pod: Body) -> bool:
    """Tell whether GitLab Runner made a pod."""
    return JOB_LABEL in (pod["metadata"].get("labels") or {})


def is_live(lease: Body, now: datetime) -> bool:
    """Tell whether a lease's holder renewed it in time."""
    spec = lease["spec"]
    if not spec.get("renewTime") or not spec.get("leaseDurationSeconds"):
        return False
    renewed = datetime.fromisoformat(spec["renewTime"])
    return now - renewed < timedelta(seconds=spec["leaseDurationSeconds"])


def _written(kind: str, reason: str, message: str, *, holds: bool) -> Body:
    # The runner prints conditions with a reason into each job's log, so one that holds has none.
    status = "True" if holds else "False"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now_text()}


def _waiting(container: Body, problems: Problems) -> Body:
    volumes = [problem for reference, problem in problems if reference.container is None]
    own = [problem for reference, problem in problems if reference.container == container["name"]]
    if own and not volumes:
        waiting = {"reason": "CreateContainerConfigError", "message": own[0]}
    else:
        waiting = {"reason": "ContainerCreating", "message": volumes[0] if volumes else ""}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "started": False,
        "state": {"waiting": waiting},
    }


def _waits_for_start(pod: Body) -> bool:
    condition = _condition(pod)
    return (
        bool(pod["spec"].get("nodeName"))
        and (pod.get("status") or {}).get("phase") == "Pending"
        and not pod["metadata"].get("deletionTimestamp")
        and (condition is None or condition["status"] != "True")
    )


def _holds(pod: Body, kind: str) -> bool:
    condition = _condition(pod, kind)
    return condition is not None and condition["status"] == "True"


def _condition(pod: Body, kind: str = REFERENCES_CONDITION) -> Body | None:
    conditions: list[Body] = (pod.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), None)
