"""When an object counts as ready, judged from the live object alone.

Owns the verdicts; leaves out the waiting (`waiting`) and why something is not ready (`causes`).
Kinds without a verdict are ready at once. Conditions: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from runner_platform_sandbox.providers.kubernetes import annotations
from runner_platform_sandbox.providers.kubernetes.kinds import Kind, of_object

Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far an object is."""

    ready: bool
    failed: bool = False
    """It will not become ready by waiting."""
    message: str = ""


READY: Final = Verdict(ready=True)


def judge(live: Manifest) -> Verdict:
    """Return the verdict about a live object; `pulumi.com/waitFor` replaces the kind's own."""
    expressions = annotations.waits(live)
    if expressions:
        missing = [expression for expression in expressions if not annotations.fulfilled(live, expression)]
        return Verdict(ready=not missing, message=f"waits for {', '.join(missing)}" if missing else "")
    kind = of_object(live)
    rule = _RULES.get((kind.group, kind.kind))
    return rule(live) if rule else READY


def condition(live: Manifest, name: str) -> dict[str, Any]:
    """Return a condition of the status, empty if it is not there."""
    found = (live.get("status") or {}).get("conditions") or []
    return next((dict(item) for item in found if item.get("type") == name), {})


def _observed(live: Manifest) -> bool:
    return int((live.get("status") or {}).get("observedGeneration") or 0) >= int(
        live["metadata"].get("generation") or 0
    )


def _deployment(live: Manifest) -> Verdict:
    spec, status = live.get("spec") or {}, live.get("status") or {}
    if spec.get("paused"):
        return READY
    wanted = spec.get("replicas", 1)
    progress = condition(live, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded" and _observed(live):
        return Verdict(ready=False, failed=True, message=str(progress.get("message")))
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if _observed(live) and updated >= wanted and available >= wanted and status.get("replicas", 0) == updated:
        return READY
    return Verdict(ready=False, message=f"{available} of {wanted} replicas available, {updated} up to date")


def _stateful_set(live: Manifest) -> Verdict:
    wanted, status = (live.get("spec") or {}).get("replicas", 1), live.get("status") or {}
    current = status.get("currentRevision") == status.get("updateRevision")
    if _observed(live) and status.get("readyReplicas", 0) >= wanted and current:
        return READY
    return Verdict(ready=False, message=f"{status.get('readyReplicas', 0)} of {wanted} replicas ready")


def _daemon_set(live: Manifest) -> Verdict:
    status = live.get("status") or {}
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if _observed(live) and ready >= wanted and status.get("updatedNumberScheduled", 0) >= wanted:
        return READY
    return Verdict(ready=False, message=f"{ready} of {wanted} pods ready")


def _job(live: Manifest) -> Verdict:
    if (live.get("spec") or {}).get("suspend") or condition(live, "Complete").get("status") == "True":
        return READY
    failure = condition(live, "Failed")
    if failure.get("status") == "True":
        return Verdict(ready=False, failed=True, message=f"{failure.get('reason')}: {failure.get('message')}")
    return Verdict(ready=False, message=f"{(live.get('status') or {}).get('succeeded', 0)} pods succeeded")


def _pod(live: Manifest) -> Verdict:
    phase = (live.get("status") or {}).get("phase")
    if phase == "Succeeded" or (phase == "Running" and condition(live, "Ready").get("status") == "True"):
        return READY
    if phase == "Failed":
        return Verdict(ready=False, failed=True, message=str((live["status"] or {}).get("message") or "the pod failed"))
    scheduled = condition(live, "PodScheduled")
    reason = scheduled.get("message") if scheduled.get("status") == "False" else None
    return Verdict(ready=False, message=str(reason or f"phase {phase}"))


def _namespace(live: Manifest) -> Verdict:
    phase = (live.get("status") or {}).get("phase")
    return READY if phase == "Active" else Verdict(ready=False, message=f"phase {phase}")


def _definition(live: Manifest) -> Verdict:
    refused = condition(live, "NamesAccepted")
    if refused.get("status") == "False":
        return Verdict(ready=False, failed=True, message=str(refused.get("message")))
    return (
        READY
        if condition(live, "Established").get("status") == "True"
        else Verdict(ready=False, message="not established")
    )


def _node_pool(live: Manifest) -> Verdict:
    """Karpenter's objects: whoever manages them may say that they cannot work, or say nothing."""
    state = condition(live, "Ready")
    if state.get("status") == "False":
        return Verdict(ready=False, message=f"{state.get('reason')}: {state.get('message')}")
    return READY


_RULES: Final[dict[tuple[str, str], Callable[[Manifest], Verdict]]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("v1", "Pod"): _pod,
    ("v1", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("karpenter.sh", "NodePool"): _node_pool,
    ("eks.amazonaws.com", "NodeClass"): _node_pool,
}


def patience(kind: Kind) -> float:
    """Return how many seconds an object of this kind may take where the program does not say."""
    return 60.0 if kind.group in {"karpenter.sh", "eks.amazonaws.com"} else 600.0
