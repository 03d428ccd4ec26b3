"""What was changed behind the program's back, and whether that opens something.

Owns reading every resource back (a refresh that writes nothing), and judging the live values by the mandatory policies: what a rule says
of the live stack and not of the recorded one weakens it. Everything else is cosmetic, unless a resource is gone. The runners as GitLab has
them count too (`runner_platform.live_runners`). Leaves out how it is reported (`runner_platform.driver.drift_report`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_platform.check.judge import judged_by, pack_for
from runner_platform.check.shown import deployed
from runner_platform.driver import operations, state
from runner_platform.driver.events import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner_platform.check.findings import Finding
    from runner_platform.driver.project import Project
    from runner_platform.driver.session import Session


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


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A deployed stack as it is now."""

    differences: list[Difference]
    findings: list[Finding] = field(default_factory=list)
    """Everything that the policies say of the live stack, what they said when it was deployed included."""
    rules: list[tuple[str, str]] = field(default_factory=list)
    """Id and name of every rule that judged; none for another project than the platform's."""
    live: dict[str, Any] | None = None
    """The deployment with live values, which are never shown; None for another project than the platform's."""

    @property
    def fine(self) -> bool:
        """Whether nothing is gone and nothing weakens the platform."""
        return all(each.kind is Kind.COSMETIC for each in self.differences)


def drift(session: Session) -> Drift:
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
    judged = _judged(session, progress.live) if session.project.ours else Drift(differences=[])
    weakened = _weakened(session, judged) if progress.live else []
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
    return replace(judged, differences=[*found, *_runners(session)])


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


def _judged(session: Session, live: Mapping[str, Mapping[str, Any] | None]) -> Drift:
    """What the policies say of the live stack."""
    now = as_live(_recorded(session), live)
    findings, rules = _asked(session.project, now)
    return Drift(differences=[], findings=findings, rules=rules, live=now)


def _weakened(session: Session, judged: Drift) -> list[Finding]:
    """What the mandatory policies say of the live stack and did not say of the recorded one."""
    if not any(each.fails for each in judged.findings):
        return []
    before, _ = _asked(session.project, _recorded(session))
    known = {(each.rule, each.urn, each.message) for each in before}
    return [each for each in judged.findings if each.fails and (each.rule, each.urn, each.message) not in known]


def _asked(project: Project, deployment: Mapping[str, Any]) -> tuple[list[Finding], list[tuple[str, str]]]:
    findings: list[Finding] = []
    rules: list[tuple[str, str]] = []
    for folder in project.policies:
        with pack_for(project.stack, policies=Path(folder)) as pack:
            findings += judged_by(pack, deployed(deployment))
            rules += pack.rules()
    return findings, rules


def _recorded(session: Session) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(session.query("stack", "export"))["deployment"]
    return found


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
