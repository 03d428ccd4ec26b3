"""RunnerObject: the runner of a class in GitLab, and its authentication token.

What a runner may run is decided there, not in our own files: tag, untagged off, access level, locked, timeout. Rotation has overlap:
generation N is registered and, paused, N-1, whose deletion waits for the release that moved on to N; older ones go.
Source: https://docs.gitlab.com/api/users/#create-a-runner-linked-to-a-user
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_gitlab as gitlab

from components.documents.disruption import disruption
from config.model import Level

if TYPE_CHECKING:
    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunnerObjectArgs:
    """Inputs of `RunnerObject`."""

    settings: Settings
    """Settings of the stack."""
    runner_class: str
    """The class."""


class RunnerObject(pulumi.ComponentResource):
    """The GitLab runner of a class."""

    token: pulumi.Output[str]
    """Authentication token of the current generation; secret."""
    id: pulumi.Output[str]
    """Numeric id of the current generation."""

    def __init__(self, name: str, args: RunnerObjectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:RunnerObject", name, None, opts)
        runner = args.settings.runners[args.runner_class]
        owner = runner_owner(args.settings, args.runner_class)
        made: dict[int, gitlab.UserRunner] = {}
        for generation in (runner.token, runner.token - 1):
            if generation < 1:
                continue
            made[generation] = gitlab.UserRunner(
                f"{name}-{generation}",
                **owner,
                description=f"{args.settings.names.tag(args.runner_class)} of {args.settings.names.cluster}, generation {generation}",
                tag_lists=[runner.tag or args.settings.names.tag(args.runner_class)],
                untagged=False,
                access_level="ref_protected" if runner.level is Level.PROTECTED else "not_protected",
                locked=runner.level is Level.PROTECTED,
                maximum_timeout=disruption(runner.longest_job).gitlab_timeout,
                paused=generation != runner.token,
                opts=pulumi.ResourceOptions(parent=self),
            )
        current = made[runner.token]
        self.token, self.id = pulumi.Output.secret(current.token), current.id
        self.register_outputs({"id": self.id})


def runner_owner(settings: Settings, runner_class: str) -> dict[str, Any]:
    """Whose runner it is: the group of the open classes, or the one project or group of a protected class."""
    runner = settings.runners[runner_class]
    if runner.project is not None:
        return {"runner_type": "project_type", "project_id": int(runner.project)}
    group = runner.group or settings.gitlab.group
    if group is None:
        raise ValueError(f"gitlab.group is missing, and class {runner_class!r} has no project; write one of them")
    return {"runner_type": "group_type", "group_id": int(group)}
