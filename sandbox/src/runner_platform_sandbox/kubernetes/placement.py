"""Which node suits a pod: selectors, tolerations, requests. Pure functions over API objects.

Owns the rules that the scheduler and Karpenter share about one pod and one node. Leaves out affinity between pods,
topology spread and storage: runner pods use none of them, and the real scheduler may refuse the node that another pod
gets here. Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.quantities import Amounts, add, amounts, larger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BLOCKING = ("NoSchedule", "NoExecute")

DISRUPTED_TAINT = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"


def matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether labels satisfy one expression: key, operator, values."""
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    value = labels.get(key)
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return _compares(operator, value, values)


def _compares(operator: str, value: str | None, values: Sequence[str]) -> bool:
    try:
        number, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    answers = {"Gt": number > bound, "Lt": number < bound, "Gte": number >= bound, "Lte": number <= bound}
    return answers.get(operator, False)


def selects(pod: Mapping[str, Any], labels: Mapping[str, str], name: str = "") -> bool:
    """Tell whether a pod's node selector and required node affinity accept a node.

    Args:
        pod: The pod.
        labels: The node's labels.
        name: The node's name, for `matchFields`; empty before the node exists.
    """
    spec = pod["spec"]
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(
        all(matches(expression, labels) for expression in term.get("matchExpressions") or [])
        and all(matches(expression, {"metadata.name": name}) for expression in term.get("matchFields") or [])
        for term in required["nodeSelectorTerms"]
        if term.get("matchExpressions") or term.get("matchFields")
    )


def tolerates(pod: Mapping[str, Any], taints: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether a pod tolerates every taint that blocks scheduling or execution."""
    tolerations = pod["spec"].get("tolerations") or []
    return all(
        any(_tolerated(toleration, taint) for toleration in tolerations)
        for taint in taints
        if taint["effect"] in _BLOCKING
    )


def _tolerated(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return (toleration.get("value") or "") == (taint.get("value") or "")


def requests(pod: Mapping[str, Any]) -> Amounts:
    """Sum a pod's requests: containers and sidecars, at least the largest init container, and overhead.

    Returns:
        Amounts with `pods` = 1.
    """
    spec = pod["spec"]
    running: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or []:
        own = _own_requests(container)
        if container.get("restartPolicy") == "Always":
            running = add(running, own)
            peak = larger(peak, running)
        else:
            peak = larger(peak, add(running, own))
    for container in spec.get("containers") or []:
        running = add(running, _own_requests(container))
    total = larger(running, peak)
    total |= _own_requests(spec)  # requests of the pod itself replace the sum
    total = add(total, amounts(spec.get("overhead")))
    return {**total, "pods": 1}


def _own_requests(container: Mapping[str, Any]) -> Amounts:
    resources = container.get("resources") or {}
    return {**amounts(resources.get("limits")), **amounts(resources.get("requests"))}


def is_daemon(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod belongs to a DaemonSet or to the node, so that it comes and goes with the node."""
    owners = pod["metadata"].get("ownerReferences") or []
    return any(owner["kind"] in ("DaemonSet", "Node") for owner in owners)


def is_active(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod still occupies its requests: it has not ended."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def waits_for_node(pod: Mapping[str, Any]) -> bool:
    """Tell whether the scheduler found no node for a pod."""
    status = pod.get("status") or {}
    unschedulable = any(
        condition["type"] == "PodScheduled"
        and condition["status"] == "False"
        and condition.get("reason") == "Unschedulable"
        for condition in status.get("conditions") or []
    )
    return (
        unschedulable
        and status.get("phase") == "Pending"
        and not pod["spec"].get("nodeName")
        and not pod["metadata"].get("deletionTimestamp")
        and not is_daemon(pod)
    )
