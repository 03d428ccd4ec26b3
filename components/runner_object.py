"""RunnerObject: the runner of a class in GitLab, and its authentication token.

What a runner may run is decided there, not in our own files: tag, untagged off, access level, locked, timeout. Rotation has overlap:
generation N is registered and, paused, N-1, whose deletion waits for the release that moved on to N; older ones go.
Source: https://docs.gitlab.com/api/users/#create-a-runner-linked-to-a-user
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_gitlab as gitlab

from components.documents.runner_object import runner_attributes

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
        names, wanted = args.settings.names, runner_attributes(args.settings, args.runner_class, args.generation)
        of_project = wanted.runner_type == "project_type"
        made = gitlab.UserRunner(
            f"{name}-runner",
            runner_type=wanted.runner_type,
            project_id=wanted.owner if of_project else None,
            group_id=None if of_project else wanted.owner,
            description=f"{names.tag(args.runner_class)} of {names.cluster}, generation {args.generation}",
            tag_lists=[wanted.tag],
            untagged=False,
            access_level=wanted.access_level,
            locked=wanted.locked,
            maximum_timeout=wanted.maximum_timeout,
            paused=wanted.paused,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.needs)),
        )
        self.token, self.id = pulumi.Output.secret(made.token), made.id
        self.register_outputs({"id": self.id})
