"""How jobs run on this machine: in real pods, as processes, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runner_platform_sandbox import process_node
from runner_platform_sandbox.real_node.programs import machine_obstacle

ON_REQUEST: Final = "`sandbox run --real-pods` runs them in real pods"


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


def job_mode(reason: str | None = None) -> JobMode:
    """Return how jobs run on this machine.

    Args:
        reason: Why jobs do not run in real pods; empty if they do. By default what this machine lacks, or that nobody asked for them.
    """
    if reason is None:
        reason = machine_obstacle() or ON_REQUEST
    if not reason:
        return JobMode(real_pods=True)
    return JobMode(real_pods=False, reason=reason, obstacle=process_node.obstacle())
