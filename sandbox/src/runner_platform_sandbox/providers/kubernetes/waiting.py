"""When an object is ready or gone, and waiting for that.

Owns the verdict on a live object, deadlines, pauses and interruption. Kinds without a rule are ready at once.
Leaves out the reasons (`causes`). Conditions: https://kubernetes.io/docs/reference/kubernetes-api/
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ConflictError, UnknownKindError
from runner_platform_sandbox.providers.kubernetes import causes
from runner_platform_sandbox.providers.kubernetes.manifest import Kind, is_fulfilled, kind_of, wait_conditions
from runner_platform_sandbox.providers.stand_in import ProviderError, StandIn, Target

Manifest = dict[str, Any]


_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
_CAUSE_SECONDS: Final = 2.0
"""Seconds between two searches for a cause, which cost several requests."""
DELETE_SECONDS: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether an object is ready."""

    ready: bool
    failed: bool = False
    """True: waiting longer does not help."""
    message: str = ""


READY: Final = Verdict(ready=True)


def verdict(live: Manifest) -> Verdict:
    """Return whether a live object is ready; `pulumi.com/waitFor` replaces the rule of its kind."""
    expressions = wait_conditions(live)
    if expressions:
        missing = [expression for expression in expressions if not is_fulfilled(live, expression)]
        return Verdict(ready=not missing, message=f"waits for {', '.join(missing)}" if missing else "")
    kind = kind_of(live)
    rule = _RULES.get((kind.group, kind.kind))
    return rule(live) if rule else READY


def condition(live: Manifest, name: str) -> dict[str, Any]:
    """Return a condition of the status, or an empty dictionary."""
    conditions = (live.get("status") or {}).get("conditions") or []
    return next((dict(item) for item in conditions if item.get("type") == name), {})


def _observed(live: Manifest) -> bool:
    return int((live.get("status") or {}).get("observedGeneration") or 0) >= int(
        live["metadata"].get("generation") or 0
    )


def _deployment(live: Manifest) -> Verdict:
    spec, status = live.get("spec") or {}, live.get("status") or {}
    if spec.get("paused"):
        return READY
    replicas = spec.get("replicas", 1)
    progress = condition(live, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded" and _observed(live):
        return Verdict(ready=False, failed=True, message=str(progress.get("message")))
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if _observed(live) and updated >= replicas and available >= replicas and status.get("replicas", 0) == updated:
        return READY
    return Verdict(ready=False, message=f"{available} of {replicas} replicas available, {updated} up to date")


def _stateful_set(live: Manifest) -> Verdict:
    replicas, status = (live.get("spec") or {}).get("replicas", 1), live.get("status") or {}
    current = status.get("currentRevision") == status.get("updateRevision")
    if _observed(live) and status.get("readyReplicas", 0) >= replicas and current:
        return READY
    return Verdict(ready=False, message=f"{status.get('readyReplicas', 0)} of {replicas} replicas ready")


def _daemon_set(live: Manifest) -> Verdict:
    status = live.get("status") or {}
    scheduled, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if _observed(live) and ready >= scheduled and status.get("updatedNumberScheduled", 0) >= scheduled:
        return READY
    return Verdict(ready=False, message=f"{ready} of {scheduled} pods ready")


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
    """Return not ready only for a condition Ready that is False; a controller may set none."""
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


def patience_seconds(kind: Kind) -> float:
    """Return the default seconds that an object of this kind may take to become ready."""
    return 60.0 if kind.group in {"karpenter.sh", "eks.amazonaws.com"} else 600.0


class NotReadyError(ProviderError):
    """The object exists but did not become ready."""

    def __init__(self, live: Manifest, reason: str) -> None:
        """Keep the last state of the object."""
        self.live = live
        super().__init__(reason)


class Patience:
    """A deadline with growing pauses.

    Args:
        stand_in: Its interruption ends every pause.
        seconds: Until the deadline.
    """

    def __init__(self, stand_in: StandIn, seconds: float) -> None:
        self._stand_in = stand_in
        self._end = time.monotonic() + seconds
        self._pause = _FIRST_PAUSE

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self._end

    def rest(self) -> None:
        """Pause, longer each time. Raises `CancelledError` when the engine asks to stop."""
        self._stand_in.wait(max(0.0, min(self._pause, self._end - time.monotonic())))
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)


def until_ready(stand_in: StandIn, client: KubeClient, target: Target, live: Manifest) -> Manifest:
    """Read an object until it is ready, and return it.

    Raises:
        NotReadyError: The object failed or the time is over; the message has the cause, if known.
        CancelledError: The engine asked to stop.
    """
    kind = kind_of(live)
    seconds = target.timeout or patience_seconds(kind)
    patience = Patience(stand_in, seconds)
    reporter = _Reporter(stand_in, target)
    metadata = live["metadata"]
    while True:
        state = verdict(live)
        if state.ready:
            return live
        if state.failed or patience.over:
            cause = causes.of_workload(client, live)
            why = f"{state.message}{': ' if cause else ''}{cause}"
            raise NotReadyError(live, why if state.failed else f"not ready after {seconds:.0f} s: {why}")
        reporter.report(state.message, lambda seen=live: causes.of_workload(client, seen))  # type: ignore[misc]
        patience.rest()
        current = client.find(kind.api_version, kind.kind, metadata["name"], metadata.get("namespace"))
        if current is None:
            raise NotReadyError(live, "it was deleted during the wait")
        live = current


class _Reporter:
    """Shows the current wait beside the resource; repeats no message."""

    def __init__(self, stand_in: StandIn, target: Target) -> None:
        self._stand_in = stand_in
        self._urn = target.urn
        self._last_message = ""
        self._looked = time.monotonic()

    def report(self, message: str, cause: Callable[[], str]) -> None:
        """Show `message`, from time to time with the cause."""
        if time.monotonic() - self._looked > _CAUSE_SECONDS:
            self._looked = time.monotonic()
            message = f"{message} {cause()}".strip()
        if message and message != self._last_message:
            self._last_message = message
            self._stand_in.report(self._urn, f"waiting: {message}")


def delete_and_wait(stand_in: StandIn, client: KubeClient, target: Target, live: Manifest, propagation: str) -> None:
    """Delete exactly this object and wait for the end of the deletion.

    Raises:
        ProviderError: The time is over and the object still exists; the message has its finalizers.
        CancelledError: The engine asked to stop.
    """
    kind, metadata = kind_of(live), live["metadata"]
    address = (kind.api_version, kind.kind, metadata["name"], metadata.get("namespace"))
    patience = Patience(stand_in, target.timeout or DELETE_SECONDS)
    try:
        if not client.delete(*address, propagation=propagation, uid=metadata.get("uid")):
            return
        while True:
            current = client.find(*address)
            if current is None or current["metadata"].get("uid") != metadata.get("uid", current["metadata"].get("uid")):
                return
            if patience.over:
                raise ProviderError(f"{kind.kind} {metadata['name']} still exists: {_held_by(current)}")
            stand_in.report(target.urn, f"deleting: {_held_by(current)}")
            patience.rest()
    except UnknownKindError:
        return  # the definition was deleted, and with it every object of the kind
    except ConflictError:
        return  # another object has this name by now; ours was deleted


def _held_by(live: Manifest) -> str:
    finalizers = [*(live["metadata"].get("finalizers") or []), *((live.get("spec") or {}).get("finalizers") or [])]
    messages = [
        str(item.get("message"))
        for item in (live.get("status") or {}).get("conditions") or []
        if str(item.get("type", "")).startswith(("NamespaceContentRemaining", "NamespaceFinalizersRemaining"))
        and item.get("status") == "True"
    ]
    parts = [f"finalizers {', '.join(finalizers)}" if finalizers else "it shuts down", *messages]
    return "; ".join(parts)
