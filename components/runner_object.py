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
    from collections.abc import Sequence

    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunnerObjectArgs:
    """Inputs of `RunnerObject`."""

    settings: Settings
    """Settings of the stack."""
    runner_class: str
    """The class."""
    generation: int
    """Which token this is; the class's own `token` is the current one, and any other is paused."""
    needs: Sequence[pulumi.Resource] = ()
    """What must have happened before; the generation before the current one waits for the release that moved on."""


class RunnerObject(pulumi.ComponentResource):
    """One generation of a class's GitLab runner."""

    token: pulumi.Output[str]
    """Authentication token of the generation; secret."""
    id: pulumi.Output[str]
    """Numeric id of the runner in GitLab."""

    def __init__(self, name: str, args: RunnerObjectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:RunnerObject", name, None, opts)
        names, runner = args.settings.names, args.settings.runners[args.runner_class]
        tag = runner.tag or names.tag(args.runner_class)
        made = gitlab.UserRunner(
            f"{name}-runner",
            **runner_owner(args.settings, args.runner_class),
            description=f"{names.tag(args.runner_class)} of {names.cluster}, generation {args.generation}",
            tag_lists=[tag],
            untagged=False,
            access_level="ref_protected" if runner.level is Level.PROTECTED else "not_protected",
            locked=runner.level is Level.PROTECTED,
            maximum_timeout=disruption(runner.longest_job).gitlab_timeout,
            paused=args.generation != runner.token,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.needs)),
        )
        self.token, self.id = pulumi.Output.secret(made.token), made.id
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
