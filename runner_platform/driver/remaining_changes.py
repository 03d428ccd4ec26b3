"""The changes that an interrupted run leaves to be made, by name, for the person who cancelled it.

Sources that need no cloud: operations that the state calls pending; the update plan of the run; for a destroy or a refresh the state itself;
else the program's mock run. A mock run knows the resources to create and to delete, but not which existing ones the engine would update.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from config.errors import SettingsError
from runner_platform.check.mock_run import run_program
from runner_platform.driver import stack_state
from runner_platform.driver.engine_progress import UNCHANGED, label, type_of
from runner_platform.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runner_platform.driver.engine_progress import Progress
    from runner_platform.driver.project import Project
    from runner_platform.driver.stack_state import Checkpoint

MOST: Final = 12
"""Changes that a message names."""
_CHANGE_OF: Final = {"refresh": "read back", "destroy": "delete"}
"""By command: the change that it makes to every resource of the state."""


def lines(project: Project, operation: str, progress: Progress, plan: Path | None = None) -> list[str]:
    """Describe the remaining changes, a line each; return an empty list if they cannot be determined.

    Args:
        project: the stack, after its run.
        operation: `up`, `destroy` or `refresh`.
        progress: summary of the engine's events.
        plan: the update plan of the run.
    """
    try:
        checkpoint = stack_state.require(project)
        changes = _pending(checkpoint)
        for urn, change in _remaining(project, operation, checkpoint, progress, plan):
            changes.setdefault(urn, f"{change} {label(urn)}")
    except (CommandError, SettingsError, OSError, ValueError, KeyError):
        return []  # the end of the run is reported in any case
    texts = list(changes.values())
    return [*texts[:MOST], f"and {len(texts) - MOST} more"] if len(texts) > MOST else texts


def _pending(checkpoint: Checkpoint) -> dict[str, str]:
    operations = [(entry["resource"]["urn"], entry["type"]) for entry in checkpoint.pending]
    return {urn: f"find out what became of {operation} {label(urn)}" for urn, operation in operations}


def _remaining(
    project: Project, operation: str, checkpoint: Checkpoint, progress: Progress, plan: Path | None
) -> Iterator[tuple[str, str]]:
    """Yield URN and change."""
    present = [
        entry["urn"]
        for entry in checkpoint.resources
        if _is_cloud_resource(entry["urn"], custom=entry.get("custom", False))
    ]
    if operation in _CHANGE_OF:
        yield from ((urn, _CHANGE_OF[operation]) for urn in present if urn not in progress.finished)
    elif plan is not None:
        yield from _from_plan(json.loads(plan.read_text())["resourcePlans"], set(present), progress)
    elif project.is_this_checkout and operation == "up":
        yield from _from_program(project.stack, present)


def _from_plan(plans: Mapping[str, Any], present: set[str], progress: Progress) -> Iterator[tuple[str, str]]:
    for urn, plan in plans.items():
        steps = [step for step in plan.get("steps") or () if step != UNCHANGED]
        if not steps or not _is_cloud_resource(urn, custom=_is_custom(plan)):
            continue
        done = {("create",): urn in present, ("delete",): urn not in present}
        if not done.get(tuple(steps), urn in progress.finished):
            yield urn, "replace" if len(steps) > 1 else steps[0]


def _is_custom(plan: Mapping[str, Any]) -> bool:
    """Whether a plan is for a resource of a cloud. The plan of a deletion has no goal and counts as one."""
    return bool((plan.get("goal") or {}).get("custom", True))


def _from_program(stack: str, present: Sequence[str]) -> Iterator[tuple[str, str]]:
    registered = [
        resource.urn
        for resource in run_program(stack).resources
        if _is_cloud_resource(resource.urn, custom=resource.custom)
    ]
    yield from ((urn, "create") for urn in registered if urn not in present)
    yield from ((urn, "delete") for urn in present if urn not in registered)


def _is_cloud_resource(urn: str, *, custom: bool) -> bool:
    return custom and not type_of(urn).startswith(("pulumi:providers:", "runnerplatform:", "pulumi:pulumi:"))
