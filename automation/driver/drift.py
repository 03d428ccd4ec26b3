"""What was changed behind the program's back, and whether that opens something.

Owns reading every resource back (a refresh that writes nothing), and judging the live values by the mandatory policies: what a rule says
of the live stack and not of the recorded one weakens it. Everything else is cosmetic, unless a resource is gone. The runners as GitLab has
them count too (`automation.live_runners`). Leaves out how it is reported (`automation.driver.drift_report`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from automation import gate
from automation.driver import operations, state
from automation.driver.events import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from automation.driver.session import Session
    from automation.gate import Finding


class Kind(Enum):
    """How bad a difference is."""

    WEAKENS = "weakens"
    """A mandatory policy, or the settings of a runner, is violated by what is there now."""
    GONE = "gone"
    """The resource does not exist any more."""
    COSMETIC = "cosmetic"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One resource that is not as it was deployed."""

    urn: str
    """Empty for a runner's settings in GitLab."""
    name: str
    account: str
    kind: Kind
    properties: list[str]
    """Names, never values."""
    reasons: list[str] = field(default_factory=list)
    """What policies say of the live values."""


def drift(session: Session) -> list[Difference]:
    """Compare a deployed stack with what is there; changes nothing.

    Raises:
        FailedError: the state is missing, the engine failed, or the policies could not be run.
        LockedError: a live run holds the stack.
    """
    state.require(session.project)
    session.take_turn()
    # Not `preview_refresh`: engines before 3.229 lock for it, which the reader's role may not.
    session.drive(lambda on_event: session.stack.preview(on_event=on_event, refresh=True))
    progress = session.progress
    weakened = _weakened(session, progress.live) if progress.live and session.project.ours else []
    steps = {
        step["urn"]: step for step in reversed(progress.steps)
    }  # the first is the refresh's; a later one would undo it
    found = [_difference(steps[urn], live, weakened) for urn, live in progress.live.items()]
    told = {each.urn for each in found}
    found += [
        Difference(
            urn=each.urn, name=label(each.urn), account="", kind=Kind.WEAKENS, properties=[], reasons=[each.message]
        )
        for each in weakened
        if each.urn not in told
    ]
    return [*found, *_runners(session)]


def _difference(step: Mapping[str, Any], live: Mapping[str, Any] | None, weakened: Iterable[Finding]) -> Difference:
    reasons = [f"{each.rule} {each.name}: {each.message}" for each in weakened if each.urn == step["urn"]]
    kind = Kind.GONE if live is None else Kind.WEAKENS if reasons else Kind.COSMETIC
    return Difference(
        urn=step["urn"],
        name=label(step["urn"]),
        account=step["account"] or "",
        kind=kind,
        properties=step["properties"],
        reasons=reasons,
    )


def _weakened(session: Session, live: Mapping[str, Mapping[str, Any] | None]) -> list[Finding]:
    """What the mandatory policies say of the live stack and did not say of the recorded one."""
    recorded: dict[str, Any] = json.loads(session.query("stack", "export"))["deployment"]
    stack = session.project.stack
    known = {(each.rule, each.urn, each.message) for each in gate.judge_deployed(stack, recorded)}
    now = gate.judge_deployed(stack, as_live(recorded, live))
    return [each for each in now if each.fails and (each.rule, each.urn, each.message) not in known]


def as_live(recorded: Mapping[str, Any], live: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """A deployment with the live values of what differs, and without what is gone."""
    resources = [
        {**each, **(live.get(each["urn"]) or {})}
        for each in recorded.get("resources") or []
        if live.get(each["urn"], {}) is not None
    ]
    return {**recorded, "resources": resources}


def _runners(session: Session) -> list[Difference]:
    return [
        Difference(
            urn="",
            name=f"runner of class {each.runner_class}",
            account="",
            kind=Kind.WEAKENS,
            properties=[],
            reasons=list(each.differences),
        )
        for each in operations.runners_of(session)
        if each.differences
    ]
