"""Waiting until an object is ready, or gone, and saying what it waits for meanwhile.

Owns time: deadlines, pauses between looks, interruption. Leaves out the verdicts (`readiness`) and reasons (`causes`).
"""

import time
from collections.abc import Callable
from typing import Any, Final

from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ConflictError, UnknownKindError
from runner_platform_sandbox.providers.base import ProviderError, StandIn, Target
from runner_platform_sandbox.providers.kubernetes import causes, readiness
from runner_platform_sandbox.providers.kubernetes.kinds import of_object

Manifest = dict[str, Any]

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
_CAUSE_SECONDS: Final = 2.0
"""A cause costs several requests, so it is looked for only now and then."""
DELETE_SECONDS: Final = 600.0


class NotReadyError(ProviderError):
    """The object exists and did not become ready."""

    def __init__(self, live: Manifest, reason: str) -> None:
        """Keep the object as it was last seen."""
        self.live = live
        super().__init__(reason)


class Patience:
    """A deadline with growing pauses.

    Args:
        stand_in: Whose interruption ends every pause.
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
        """Pause, longer each time. Raises `CancelledError` if the engine asks to stop."""
        self._stand_in.wait(max(0.0, min(self._pause, self._end - time.monotonic())))
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)


def until_ready(stand_in: StandIn, client: KubeClient, target: Target, live: Manifest) -> Manifest:
    """Look at an object until it is ready, and return it as it then is.

    Raises:
        NotReadyError: It failed, or the time was over; the message names the cause where one is found.
        CancelledError: The engine asked to stop.
    """
    kind = of_object(live)
    seconds = target.timeout or readiness.patience(kind)
    patience = Patience(stand_in, seconds)
    tell = _Teller(stand_in, target)
    metadata = live["metadata"]
    while True:
        verdict = readiness.judge(live)
        if verdict.ready:
            return live
        if verdict.failed or patience.over:
            cause = causes.of_workload(client, live)
            why = f"{verdict.message}{': ' if cause else ''}{cause}"
            raise NotReadyError(live, why if verdict.failed else f"not ready after {seconds:.0f} s: {why}")
        tell.about(verdict.message, lambda seen=live: causes.of_workload(client, seen))  # type: ignore[misc]
        patience.rest()
        found = client.find(kind.api_version, kind.kind, metadata["name"], metadata.get("namespace"))
        if found is None:
            raise NotReadyError(live, "it was deleted while it was waited for")
        live = found


class _Teller:
    """Shows beside the resource what is waited for, each thing once."""

    def __init__(self, stand_in: StandIn, target: Target) -> None:
        self._stand_in = stand_in
        self._urn = target.urn
        self._said = ""
        self._looked = time.monotonic()

    def about(self, message: str, cause: Callable[[], str]) -> None:
        """Say `message`, from time to time with the cause."""
        if time.monotonic() - self._looked > _CAUSE_SECONDS:
            self._looked = time.monotonic()
            message = f"{message} {cause()}".strip()
        if message and message != self._said:
            self._said = message
            self._stand_in.report(self._urn, f"waiting: {message}")


def delete(stand_in: StandIn, client: KubeClient, target: Target, live: Manifest, propagation: str) -> None:
    """Delete exactly this object and wait until it is gone.

    Raises:
        ProviderError: It is still there when the time is over; the message says what holds it.
        CancelledError: The engine asked to stop.
    """
    kind, metadata = of_object(live), live["metadata"]
    place = (kind.api_version, kind.kind, metadata["name"], metadata.get("namespace"))
    patience = Patience(stand_in, target.timeout or DELETE_SECONDS)
    try:
        if not client.delete(*place, propagation=propagation, uid=metadata.get("uid")):
            return
        while True:
            found = client.find(*place)
            if found is None or found["metadata"].get("uid") != metadata.get("uid", found["metadata"].get("uid")):
                return
            if patience.over:
                raise ProviderError(f"{kind.kind} {metadata['name']} is still there: {_held_by(found)}")
            stand_in.report(target.urn, f"deleting: {_held_by(found)}")
            patience.rest()
    except UnknownKindError:
        return  # the definition is gone, and every object of the kind with it
    except ConflictError:
        return  # another object has this name by now; ours is gone


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
