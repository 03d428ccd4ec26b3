"""RunnerObject: the runner of a class in GitLab, and its authentication token.

GitLab decides which jobs a runner takes: tag, untagged off, access level, locked, timeout. Tokens rotate with overlap: generation N is
registered together with N-1, which is paused; N-1 is paused after the release that uses N, and older generations are deleted.
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

    from config.settings import RunnerClassSettings


@dataclass(frozen=True, kw_only=True)
class RunnerObjectArgs:
    """Inputs of `RunnerObject`."""

    runner_class: RunnerClassSettings
    """Settings of the class."""
    generation: int
    """Generation of the token; every generation except the class's own `token` is paused."""
    needs: Sequence[pulumi.Resource] = ()
    """Resources to wait for: the previous generation waits for the release that uses the current one."""


class RunnerObject(pulumi.ComponentResource):
    """One generation of a class's GitLab runner."""

    token: pulumi.Output[str]
    """Authentication token of the generation; secret."""
    id: pulumi.Output[str]
    """Numeric id of the runner in GitLab."""

    def __init__(self, name: str, args: RunnerObjectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:RunnerObject", name, None, opts)
        names, attributes = args.runner_class.names, runner_attributes(args.runner_class, args.generation)
        of_project = attributes.runner_type == "project_type"
        runner = gitlab.UserRunner(
            f"{name}-runner",
            runner_type=attributes.runner_type,
            project_id=attributes.owner if of_project else None,
            group_id=None if of_project else attributes.owner,
            description=f"{names.tag(args.runner_class.name)} of {names.cluster}, generation {args.generation}",
            tag_lists=list(attributes.tags),
            untagged=False,
            access_level=attributes.access_level,
            locked=attributes.locked,
            maximum_timeout=attributes.maximum_timeout,
            paused=attributes.paused,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.needs)),
        )
        self.token, self.id = pulumi.Output.secret(runner.token), runner.id
        self.register_outputs({"id": self.id})
