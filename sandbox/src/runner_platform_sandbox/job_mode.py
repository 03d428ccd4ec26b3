"""How jobs run on this machine: in real pods, as processes, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runner_platform_sandbox import process_node

NO_REAL_PODS: Final = "the sandbox starts no real node for a pipeline yet"


@dataclass(frozen=True, kw_only=True)
class JobMode:
    """How jobs run, and why not better."""

    real_pods: bool
    reason: str = ""
    """Why jobs do not run in real pods; empty if they do."""
    obstacle: str = ""
    """Why jobs cannot run as processes either; empty if they can, or need not."""

    @property
    def possible(self) -> bool:
        """Whether jobs run at all."""
        return self.real_pods or not self.obstacle

    def __str__(self) -> str:
        if self.real_pods:
            return "jobs run in real pods"
        if self.possible:
            return f"jobs run as processes: {self.reason}"
        return f"jobs cannot run in real pods: {self.reason}; nor as processes: {self.obstacle}"


def job_mode(reason: str = NO_REAL_PODS) -> JobMode:
    """Return how jobs run on this machine.

    Args:
        reason: Why this machine cannot run real pods; empty if it can.
    """
    if not reason:
        return JobMode(real_pods=True)
    return JobMode(real_pods=False, reason=reason, obstacle=process_node.obstacle())
