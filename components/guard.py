"""Guard: the first thing that a destroy comes to, so that a protected stack is refused before anything is touched.

The engine refuses a protected resource when its turn comes, which is after all that depends on it: told to skip its preview, a destroy
would take down every runner class and then stop at the cluster. This component depends on everything and holds nothing; while the
settings protect the stack, it is what the engine meets first. With `platform.protect: false` and one `pulumi up` it lets through.
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
    """What nothing else waits for: all that it guards is among these or below. Fewer are better: when a deletion is refused, the
    engine walks every path of dependencies below it."""


class Guard(pulumi.ComponentResource):
    """Refuses a destroy of a protected stack at once."""

    def __init__(self, name: str, args: GuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        guarding = pulumi.ResourceOptions(protect=args.protect, depends_on=list(args.over))
        super().__init__("runnerplatform:index:Guard", name, None, pulumi.ResourceOptions.merge(opts, guarding))
        self.register_outputs({})
