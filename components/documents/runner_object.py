"""Attributes of a class's runner in GitLab: one list for the resource, the policy pack and the comparison with the live runner.

`protected: true` in the runner's own file has no effect; these attributes in GitLab decide which jobs a runner takes.
Source: https://docs.gitlab.com/api/runners/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.documents.disruption import disruption
from config.capabilities import Level

if TYPE_CHECKING:
    from config.settings import RunnerClassSettings


@dataclass(frozen=True, kw_only=True)
class RunnerAttributes:
    """Attributes of one runner in GitLab; it never takes untagged jobs."""

    runner_type: str
    """`project_type` or `group_type`."""
    owner: int
    """The project or group that the runner belongs to."""
    tags: tuple[str, ...]
    """The runner's tags."""
    access_level: str
    """`ref_protected`: jobs of protected branches and tags only; else `not_protected`."""
    locked: bool
    """Whether the runner cannot be shared with further projects."""
    maximum_timeout: int
    """Seconds."""
    paused: bool
    """Whether the runner takes no new jobs; true for every generation except the current one."""


def api_url(gitlab_url: str) -> str | None:
    """Return the address of the API of a GitLab instance; None for gitlab.com, which needs none."""
    return None if gitlab_url == "https://gitlab.com" else f"{gitlab_url}/api/v4/"


def runner_attributes(runner_class: RunnerClassSettings, generation: int | None = None) -> RunnerAttributes:
    """Return the attributes of a class's runner.

    Args:
        runner_class: settings of the class.
        generation: generation of the runner's token; None is the current one.

    Raises:
        ValueError: neither a group nor a project owns the runner.
    """
    runner = runner_class.runner
    owner = runner.project or runner.group or runner_class.gitlab.group
    if owner is None:
        raise ValueError(f"gitlab.group is missing, and class {runner_class.name!r} has no project; write one of them")
    protected = runner.level is Level.PROTECTED
    return RunnerAttributes(
        runner_type="project_type" if runner.project else "group_type",
        owner=int(owner),
        tags=runner_class.tags,
        access_level="ref_protected" if protected else "not_protected",
        locked=protected,
        maximum_timeout=disruption(runner.longest_job).gitlab_timeout,
        paused=generation not in {None, runner.token},
    )
