"""What a class's runner must look like in GitLab: the one list for the resource and for the comparison with the live runner.

`protected: true` in our own file binds nobody; what a runner may run is decided by these attributes in GitLab.
Source: https://docs.gitlab.com/api/runners/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.documents.disruption import disruption
from config.capabilities import Level

if TYPE_CHECKING:
    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunnerAttributes:
    """Attributes of one runner in GitLab; untagged jobs are always off."""

    runner_type: str
    """`project_type` or `group_type`."""
    owner: int
    """The project or group that the runner belongs to."""
    tag: str
    """Its only tag."""
    access_level: str
    """`ref_protected`: jobs of protected branches and tags only; else `not_protected`."""
    locked: bool
    """Whether the runner cannot be shared with further projects."""
    maximum_timeout: int
    """Seconds."""
    paused: bool
    """Whether the runner takes no new jobs; true for every generation but the current one."""


def runner_attributes(settings: Settings, runner_class: str, generation: int | None = None) -> RunnerAttributes:
    """Attributes of a class's runner.

    Args:
        settings: settings of the stack.
        runner_class: the class.
        generation: which token; None is the current one.

    Raises:
        ValueError: nobody owns the runner: there is neither a group nor a project.
    """
    runner = settings.runners[runner_class]
    owner = runner.project or runner.group or settings.gitlab.group
    if owner is None:
        raise ValueError(f"gitlab.group is missing, and class {runner_class!r} has no project; write one of them")
    protected = runner.level is Level.PROTECTED
    return RunnerAttributes(
        runner_type="project_type" if runner.project else "group_type",
        owner=int(owner),
        tag=runner.tag or settings.names.tag(runner_class),
        access_level="ref_protected" if protected else "not_protected",
        locked=protected,
        maximum_timeout=disruption(runner.longest_job).gitlab_timeout,
        paused=generation not in {None, runner.token},
    )
