"""What the driver does with a stack: preview, up, refresh, outputs. Each ends with a result that people and machines can read.

Leaves out plans (`runner_platform.driver.plans`), destroying (`runner_platform.driver.destroying`), drift and audit.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from config.settings import Settings
from runner_platform import live_runners, stacks
from runner_platform.driver import owners, plans, promotion, releases, repair, state
from runner_platform.driver.locks import Fate, fate_of
from runner_platform.driver.session import message
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.driver.project import Project
    from runner_platform.driver.session import Session
    from runner_platform.live_runners import LiveRunner


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended well."""

    stack: str
    operation: str
    changes: dict[str, int]
    """Number of resources by operation, without those that stay as they are."""
    resources: int
    """Resources in the state afterwards, the engine's own included."""
    seconds: float
    accounts: list[str]
    """Ids of the AWS accounts that the stack acts in."""
    found: list[str] = field(default_factory=list)
    """What earlier runs had left."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """What changes, for a preview: names of properties, never values."""

    @property
    def sentence(self) -> str:
        """For people."""
        changes = ", ".join(f"{count} {operation}" for operation, count in self.changes.items()) or "no changes"
        return f"{self.stack}: {self.operation} done, {changes}; {self.resources} resources, {self.seconds:.0f} s"


def preview(session: Session, *, plan: Path | None = None) -> Result:
    """What `up` would do; takes no lock and repairs nothing, but says what it sees of a killed run.

    Args:
        session: the run.
        plan: where to save an update plan and what it is bound to.
    """
    known = state.require(session.project)
    if known.pending:
        session.say(
            f"{len(known.pending)} operations of a killed run are pending; `up` looks for what they made, first"
        )
    if plan is not None:
        plan.parent.mkdir(parents=True, exist_ok=True)
    saved = str(plan.resolve()) if plan else None
    packs = session.project.policies
    session.drive(lambda on_event: session.stack.preview(on_event=on_event, plan=saved, policy_packs=packs))
    if plan is not None:
        bound = plans.bind(session.project, plan, cli=session.version, steps=session.progress.steps)
        session.say(
            f"plan {plan}, bound to {bound.commit[:8]}" + (f"; not enforced: {bound.exempt}" if bound.exempt else "")
        )
    return result(session, steps=session.progress.steps)


def up(session: Session, *, create: bool = False, plan: Path | None = None, origin: Project | None = None) -> Result:
    """Bring the stack to what its program says.

    Args:
        session: the run.
        create: make the stack where it has never existed.
        plan: an update plan that the run is held to.
        origin: the stack that this one is promoted from.

    Raises:
        FailedError: the stack's state is missing or damaged, or the engine failed.
    """
    if origin is not None:
        session.say(promotion.require(session.project, origin))
    session.plan = plan
    ready(session, create=create)
    held = _held(session, plan) if plan else None
    try:
        _deploy(session, held)
    except FailedError as error:
        repair.unfinished(session)
        if not (releases.BLOCKED.search(str(error)) and releases.clear(session)):
            raise
        _deploy(session, held)
    require_inhabited(session)
    promotion.deployed(session.project)
    _require_runners(session)
    return result(session)


def _held(session: Session, plan: Path) -> str | None:
    """The plan that the engine is held to; None where it is exempt."""
    binding = plans.require(session.project, plan, cli=session.version)
    if binding.exempt:
        session.say(
            f"{binding.exempt} cannot be held to a plan: source, settings and state are those of the plan, the engine is free"
        )
        return None
    session.say(f"held to {plan.name}, made {binding.made} from {binding.commit[:8]}")
    return str(plan.resolve())


def _deploy(session: Session, plan: str | None) -> None:
    packs = session.project.policies
    session.drive(
        lambda on_event: session.stack.up(on_event=on_event, plan=plan, message=message(), policy_packs=packs)
    )


def refresh(session: Session) -> Result:
    """Read every resource back into the state."""
    ready(session)
    session.drive(lambda on_event: session.stack.refresh(on_event=on_event, message=message()))
    return result(session)


def ready(session: Session, *, create: bool = False) -> None:
    """Record the run, take its turn, and mend what a killed run left.

    Raises:
        FailedError: the state is missing, or cannot be mended.
        LockedError: a live run holds the stack.
    """
    project = session.project
    if not create:
        state.require(project)
    session.record()
    session.take_turn()
    for text in state.drop_half_written(project):
        session.note(text)
    if state.read(project) is None:
        _create(session)
    _forget_the_dead(session)
    repair.pending(session)
    if session.found:
        releases.clear(session)
        session.say("what the killed run left is settled; going on")


def result(session: Session, steps: list[dict[str, Any]] | None = None) -> Result:
    """The session's run, ended well."""
    known = state.read(session.project)
    return Result(
        stack=session.project.stack,
        operation=session.operation,
        changes=session.progress.changes,
        resources=len(known.resources) if known else 0,
        seconds=time.monotonic() - session.began,
        accounts=known.accounts if known else [],
        found=session.found,
        steps=steps or [],
    )


def runners_of(session: Session) -> list[LiveRunner]:
    """The stack's runners as GitLab has them, compared with the settings; none for stacks without runners.

    Raises:
        FailedError: GitLab cannot be asked.
    """
    settings = session.project.settings if session.project.ours else None
    known = state.read(session.project)
    if not isinstance(settings, Settings) or known is None or known.empty:
        return []
    api = live_runners.connection(settings.gitlab.url)
    if settings.gitlab.runners == "external":
        tokens = stacks.external_tokens(settings)
        return live_runners.compare(settings, live_runners.external_ids(settings, tokens, api), api)
    (root,) = known.of_type("pulumi:pulumi:Stack")
    ids = {name: int(each) for name, each in (root.get("outputs", {}).get("runner_ids") or {}).items()}
    return live_runners.compare(settings, ids, api)


def require_inhabited(session: Session) -> None:
    """After a lost cluster the state still believes in what was in it, and a new one would stay empty with nobody noticing.

    Raises:
        FailedError: this run made a cluster, and objects of the state were not made with it.
    """
    created = {step["urn"] for step in session.progress.steps if step["operation"] == "create"}
    known = state.require(session.project)
    if not any(each["urn"] in created for each in known.of_type(plans.CLUSTER)):
        return
    believed = [
        each for each in known.resources if each["type"].startswith("kubernetes:") and each["urn"] not in created
    ]
    if believed:
        raise FailedError(
            f"the cluster is a new one, and {len(believed)} objects that the state knows were in the old one: "
            f"`runner-platform refresh --stack {session.project.stack}`, then `up` again, makes them"
        )


def _require_runners(session: Session) -> None:
    """A Maintainer may edit a runner, and the engine would not notice without a refresh."""
    wrong = [
        f"  {each.runner_class}: {'; '.join(each.differences)}" for each in runners_of(session) if each.differences
    ]
    if wrong:
        raise FailedError(
            "everything is deployed, but runners in GitLab are not as the settings say:\n"
            + "\n".join(wrong)
            + f"\n`runner-platform refresh --stack {session.project.stack}`, then `up`, sets them right"
        )


def outputs(session: Session) -> dict[str, Any]:
    """The stack's outputs; secrets are `[secret]`."""
    state.require(session.project)
    found: dict[str, Any] = json.loads(session.query("stack", "output", "--json"))
    return found


def _create(session: Session) -> None:
    """Make the stack in the backend; its file may name who encrypts its secrets."""
    if state.existed(session.project):
        raise FailedError(state.missing(session.project))
    provider = _secrets_provider(session.project)
    session.query("stack", "init", "--no-select", *(["--secrets-provider", provider] if provider else []))
    session.say(f"made the stack {session.project.stack} in {session.project.store.url}")


def _secrets_provider(project: Project) -> str:
    try:
        return str((yaml.safe_load(project.settings_file.read_text()) or {}).get("secretsprovider") or "")
    except FileNotFoundError:
        return ""


def _forget_the_dead(session: Session) -> None:
    """Take away records of runs that ended without saying so."""
    for owner in owners.read(session.project):
        fate, why = fate_of(session.project, owner)
        if owner.id != session.owner.id and fate is Fate.DEAD:
            session.note(f"{owner.operation} of {owner.name} did not end in order: {why}")
            owners.delete(session.project, owner)
