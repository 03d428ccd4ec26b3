"""The part of a kubelet that kwok lacks: a bound pod waits for the Secrets and ConfigMaps that it names.

Owns one pod condition. kwok is configured to run only pods with this condition (`command_lines`), so a pod waits until
this loop has checked it. Leaves out images, probes, mounts and exit codes: kwok reports Running, and Complete for a
Job's pod, without running anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.client import STRATEGIC_PATCH
from runner_platform_sandbox.kubernetes.command_lines import REFERENCES_CONDITION
from runner_platform_sandbox.kubernetes.errors import NotFoundError
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
        for pod in self._copies.pods.all():
            if _waits_for_start(pod):
                self._check(pod)
        return _IDLE_SECONDS

    def _check(self, pod: Body) -> None:
        problems = missing(pod, self._keys)
        status = status_for(pod, problems)
        current = _condition(pod)
        condition = status["conditions"][0]
        if current is not None and (current["status"], current.get("message", "")) == (
            condition["status"],
            condition["message"],
        ):
            return
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
            return
        self._copies.pods.put(changed)
        if problems:
            _LOG.info("pod %s/%s waits: %s", metadata["namespace"], metadata["name"], problems[0][1])

    def _keys(self, kind: Kind, namespace: str, name: str) -> set[str] | None:
        copies = self._copies.secrets if kind == "Secret" else self._copies.config_maps
        body = copies.get(name, namespace)
        return None if body is None else body["keys"]


def status_for(pod: Body, problems: Problems) -> Body:
    """Compose the status of a bound pod that has not started.

    Args:
        pod: The pod.
        problems: The missing references, with the kubelet's words.
    """
    message = "; ".join(dict.fromkeys(problem for _, problem in problems))
    condition = {
        "type": REFERENCES_CONDITION,
        "status": "False" if problems else "True",
        "reason": "MissingReferences" if problems else "Found",
        "message": message,
        "lastTransitionTime": now_text(),
    }
    status: Body = {"conditions": [condition]}
    if problems:
        status["containerStatuses"] = [
            _waiting(container, problems) for container in pod["spec"].get("containers") or []
        ]
    return status


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


def _condition(pod: Body) -> Body | None:
    conditions: list[Body] = (pod.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == REFERENCES_CONDITION), None)
