"""Guard: refuses the destroy of a protected stack before anything is touched.

The engine refuses to delete a protected resource when its turn comes, after all resources that depend on it: a destroy without preview
would take down every runner class and then stop at the cluster. This component holds nothing and depends on everything, so that
the engine meets it first. `platform.protect: false` and one `pulumi up` open it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class GuardArgs:
    """Inputs of `Guard`."""

    protect: bool
    """Whether a destroy is refused."""
    over: Sequence[pulumi.Resource]
    """The guarded resources on which no other resource depends. Fewer are better: when a deletion is refused, the engine walks every
    path of dependencies below."""


class Guard(pulumi.ComponentResource):
    """Refuses the destroy of a protected stack."""

    def __init__(self, name: str, args: GuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        guarding = pulumi.ResourceOptions(protect=args.protect, depends_on=list(args.over))
        super().__init__("runnerplatform:index:Guard", name, None, pulumi.ResourceOptions.merge(opts, guarding))
        self.register_outputs({})
