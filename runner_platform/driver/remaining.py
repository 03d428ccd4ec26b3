"""What an interrupted run leaves to be done, by name, so that a person who cancelled it knows what is missing until the next one.

Told from what is known without asking a cloud: operations that the state calls pending; the update plan, where the run has one; a destroy's
and a refresh's own state; else the program's mock run, which knows what has never been made and what is to go, but not which of the
existing resources the engine would change.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from config.errors import SettingsError
from runner_platform.check.mock_run import rehearse
from runner_platform.driver import state
from runner_platform.driver.events import UNCHANGED, label, type_of
from runner_platform.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runner_platform.driver.events import Progress
    from runner_platform.driver.project import Project
    from runner_platform.driver.state import Checkpoint

SHOWN: Final = 12
_BY_STATE: Final = {"refresh": "read back", "destroy": "delete"}


def lines(project: Project, operation: str, progress: Progress, plan: Path | None = None) -> list[str]:
    """What is left, a line each, the longest lists cut; none where nothing is known.

    Args:
        project: the stack; its run has ended.
        operation: `up`, `destroy` or `refresh`.
        progress: what the engine told.
        plan: the update plan that the run has.
    """
    try:
        known = state.require(project)
        left = _pending(known)
        for urn, doing in _unmade(project, operation, known, progress, plan):
            left.setdefault(urn, f"{doing} {label(urn)}")
    except (CommandError, SettingsError, OSError, ValueError, KeyError):
        return []  # why the run ended is told in any case
    told = list(left.values())
    return [*told[:SHOWN], f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else told


def _pending(known: Checkpoint) -> dict[str, str]:
    urns = [(each["resource"]["urn"], each["type"]) for each in known.pending]
    return {urn: f"find out what became of {doing} {label(urn)}" for urn, doing in urns}


def _unmade(
    project: Project, operation: str, known: Checkpoint, progress: Progress, plan: Path | None
) -> Iterator[tuple[str, str]]:
    """URN and what is to be done."""
    present = [each["urn"] for each in known.resources if _of_a_cloud(each["urn"], custom=each.get("custom", False))]
    if operation in _BY_STATE:
        yield from ((urn, _BY_STATE[operation]) for urn in present if urn not in progress.finished)
    elif plan is not None:
        yield from _of_plan(json.loads(plan.read_text())["resourcePlans"], set(present), progress)
    elif project.here and operation == "up":
        yield from _of_program(project.stack, present)


def _of_plan(planned: Mapping[str, Any], present: set[str], progress: Progress) -> Iterator[tuple[str, str]]:
    for urn, each in planned.items():
        steps = [step for step in each.get("steps") or () if step != UNCHANGED]
        if not steps or not _of_a_cloud(urn, custom=_is_custom(each)):
            continue
        made = {("create",): urn in present, ("delete",): urn not in present}
        if not made.get(tuple(steps), urn in progress.finished):
            yield urn, "replace" if len(steps) > 1 else steps[0]


def _is_custom(planned: Mapping[str, Any]) -> bool:
    """Of a deletion a plan knows no goal; what it deletes has been in a cloud or is told for nothing."""
    return bool((planned.get("goal") or {}).get("custom", True))


def _of_program(stack: str, present: Sequence[str]) -> Iterator[tuple[str, str]]:
    registered = [each.urn for each in rehearse(stack).registrations if _of_a_cloud(each.urn, custom=each.custom)]
    yield from ((urn, "create") for urn in registered if urn not in present)
    yield from ((urn, "delete") for urn in present if urn not in registered)


def _of_a_cloud(urn: str, *, custom: bool) -> bool:
    return custom and not type_of(urn).startswith(("pulumi:providers:", "runnerplatform:", "pulumi:pulumi:"))
