"""The commands that deploy a stack: preview, up, refresh, outputs. Each returns a result for people and machines.

Destroying a stack is in `runner_platform.driver.teardown`, drift in `runner_platform.driver.drift`.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from config import stack_file
from runner_platform import live_runners, stacks
from runner_platform.driver import helm_releases, locks, promotion, repair, stack_state, update_plans
from runner_platform.driver.locks import Fate
from runner_platform.driver.run import update_message
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.driver.project import Project
    from runner_platform.driver.run import Run
    from runner_platform.live_runners import LiveRunner


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a successful run."""

    stack: str
    operation: str
    changes: dict[str, int]
    """Number of changed resources by operation."""
    resources: int
    """Number of resources in the state afterwards, the engine's own included."""
    seconds: float
    accounts: list[str]
    """Ids of the stack's AWS accounts."""
    leftovers: list[str] = field(default_factory=list)
    """What earlier runs left behind, as sentences."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """The steps of a preview: names of properties, never values."""

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        changes = ", ".join(f"{count} {operation}" for operation, count in self.changes.items()) or "no changes"
        return f"{self.stack}: {self.operation} done, {changes}; {self.resources} resources, {self.seconds:.0f} s"

    def document(self) -> dict[str, Any]:
        """Return the result for `--json`."""
        names = {"leftovers": "found"}
        return {names.get(name, name): value for name, value in asdict(self).items()}


def preview(run: Run, *, plan: Path | None = None) -> Result:
    """Show the changes of an `up`. Takes no lock and repairs nothing, but reports the leftovers of a killed run.

    Args:
        run: the run.
        plan: file for an update plan; its binding is saved beside it.
    """
    checkpoint = stack_state.require(run.project)
    if checkpoint.pending:
        run.say(
            f"{len(checkpoint.pending)} operations of a killed run are pending; `up` looks for what they made, first"
        )
    if plan is not None:
        plan.parent.mkdir(parents=True, exist_ok=True)
    plan_file = str(plan.resolve()) if plan else None
    packs = run.project.policies
    run.drive(lambda on_event: run.stack.preview(on_event=on_event, plan=plan_file, policy_packs=packs))
    if plan is not None:
        binding = update_plans.bind(run.project, plan, cli=run.cli_version, steps=run.progress.steps)
        exempt = f"; not enforced: {binding.exempt}" if binding.exempt else ""
        run.say(f"plan {plan}, bound to {binding.commit[:8]}{exempt}")
    return result(run, steps=run.progress.steps)


def up(run: Run, *, create: bool = False, plan: Path | None = None, origin: Project | None = None) -> Result:
    """Deploy the stack as its program says.

    Args:
        run: the run.
        create: whether to create the stack if it has never existed.
        plan: an update plan to which the engine is held.
        origin: the stack that this one is promoted from.

    Raises:
        FailedError: the stack's state is missing or damaged, or the engine failed.
    """
    if origin is not None:
        run.say(promotion.require(run.project, origin))
    run.plan = plan
    prepare(run, create=create)
    enforced_plan = _enforced_plan(run, plan) if plan else None
    try:
        _deploy(run, enforced_plan)
    except FailedError as error:
        repair.settle_unanswered(run)
        if not (helm_releases.BLOCKED.search(str(error)) and helm_releases.delete_pending_revisions(run)):
            raise
        _deploy(run, enforced_plan)
    require_cluster_contents(run)
    promotion.record_deployment(run.project)
    _require_runners(run)
    return result(run)


def _enforced_plan(run: Run, plan: Path) -> str | None:
    """Return the plan file for the engine, or None if the plan is exempt."""
    binding = update_plans.require_current(run.project, plan, cli=run.cli_version)
    if binding.exempt:
        run.say(
            f"{binding.exempt} cannot be held to a plan: source, settings and state were compared, the engine's changes are not"
        )
        return None
    run.say(f"held to {plan.name}, made {binding.created} from {binding.commit[:8]}")
    return str(plan.resolve())


def _deploy(run: Run, plan: str | None) -> None:
    packs = run.project.policies
    run.drive(lambda on_event: run.stack.up(on_event=on_event, plan=plan, message=update_message(), policy_packs=packs))


def refresh(run: Run) -> Result:
    """Read every resource back into the state."""
    prepare(run)
    run.drive(lambda on_event: run.stack.refresh(on_event=on_event, message=update_message()))
    return result(run)


def prepare(run: Run, *, create: bool = False) -> None:
    """Write the run's record, wait for the lock, and repair the leftovers of a killed run.

    Raises:
        FailedError: the state is missing, or cannot be repaired.
        LockedError: a live run holds the stack.
    """
    project = run.project
    if not create:
        stack_state.require(project)
    run.write_record()
    run.wait_for_lock()
    for sentence in stack_state.remove_half_written_attributes(project):
        run.report_leftover(sentence)
    if stack_state.read(project) is None:
        _create_stack(run)
    _delete_dead_records(run)
    repair.settle_pending(run)
    if run.leftovers:
        helm_releases.delete_pending_revisions(run)
        run.say("what the killed run left is settled; going on")


def result(run: Run, steps: list[dict[str, Any]] | None = None) -> Result:
    """Return the result of a run that succeeded."""
    checkpoint = stack_state.read(run.project)
    return Result(
        stack=run.project.stack,
        operation=run.operation,
        changes=run.progress.changes,
        resources=len(checkpoint.resources) if checkpoint else 0,
        seconds=time.monotonic() - run.began,
        accounts=checkpoint.accounts if checkpoint else [],
        leftovers=run.leftovers,
        steps=steps or [],
    )


def live_runners_of(run: Run) -> list[LiveRunner]:
    """Compare the stack's runners in GitLab with the settings; empty for a stack without runners.

    Raises:
        FailedError: GitLab cannot be asked.
    """
    settings = run.project.runner_settings
    checkpoint = stack_state.read(run.project)
    if settings is None or checkpoint is None or checkpoint.empty:
        return []
    api = live_runners.connection(settings.gitlab.url)
    if settings.gitlab.runners == "external":
        tokens = stacks.external_tokens(settings)
        return live_runners.compare(settings, live_runners.external_ids(settings, tokens, api), api)
    (root,) = checkpoint.of_type("pulumi:pulumi:Stack")
    ids = {name: int(runner) for name, runner in (root.get("outputs", {}).get("runner_ids") or {}).items()}
    return live_runners.compare(settings, ids, api)


def require_cluster_contents(run: Run) -> None:
    """Refuse a new cluster without the objects that the state believes to be in it.

    After a lost cluster the state still holds these objects, and the new cluster would stay empty unnoticed.

    Raises:
        FailedError: this run created a cluster, and not the objects of the state in it.
    """
    created = {step["urn"] for step in run.progress.steps if step["operation"] == "create"}
    checkpoint = stack_state.require(run.project)
    if not any(cluster["urn"] in created for cluster in checkpoint.of_type(update_plans.CLUSTER)):
        return
    missing = [
        entry
        for entry in checkpoint.resources
        if entry["type"].startswith("kubernetes:") and entry["urn"] not in created
    ]
    if missing:
        raise FailedError(
            f"the cluster is a new one, and {len(missing)} objects that the state knows were in the old one: "
            f"`runner-platform refresh --stack {run.project.stack}`, then `up` again, makes them"
        )


def _require_runners(run: Run) -> None:
    """Refuse runners that a Maintainer edited: the engine would not notice without a refresh."""
    lines = [
        f"  {runner.runner_class}: {'; '.join(runner.differences)}"
        for runner in live_runners_of(run)
        if runner.differences
    ]
    if lines:
        raise FailedError(
            "everything is deployed, but runners in GitLab are not as the settings say:\n"
            + "\n".join(lines)
            + f"\n`runner-platform refresh --stack {run.project.stack}`, then `up`, sets them right"
        )


def outputs(run: Run) -> dict[str, Any]:
    """Return the stack's outputs, with `[secret]` in place of secrets."""
    stack_state.require(run.project)
    values: dict[str, Any] = json.loads(run.query("stack", "output", "--json"))
    return values


def _create_stack(run: Run) -> None:
    """Create the stack in the backend, with the secrets provider of its stack file."""
    if stack_state.has_history(run.project):
        raise FailedError(stack_state.describe_missing(run.project))
    provider = _secrets_provider(run.project)
    run.query("stack", "init", "--no-select", *(["--secrets-provider", provider] if provider else []))
    run.say(f"made the stack {run.project.stack} in {run.project.store.url}")


def _secrets_provider(project: Project) -> str:
    if not project.settings_file.exists():
        return ""
    return str(stack_file.document_of(project.settings_file).get("secretsprovider") or "")


def _delete_dead_records(run: Run) -> None:
    """Delete and report records of runs that did not end in order."""
    for record in locks.read_records(run.project):
        fate, why = locks.fate_of(run.project, record)
        if record.id != run.record.id and fate is Fate.DEAD:
            run.report_leftover(f"{record.operation} of {record.name} did not end in order: {why}")
            locks.delete_record(run.project, record)
