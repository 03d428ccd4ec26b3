"""Resource requests of a job pod and of a manager pod, and the label that ties pods to nodes.

A class's `cpu`, `memory` and `disk` are the build container's. The helper and one service come on top; node arithmetic
and quotas count the whole pod.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.quantities import GIBIBYTE, MEBIBYTE

if TYPE_CHECKING:
    from config.runners import KubernetesRunner

CLASS_LABEL = "runner-platform/class"
"""Label and taint of a class's nodes."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Resources that a container or a pod asks for."""

    cpu: int
    """Millicores."""
    memory: int
    """Bytes."""
    disk: int
    """Bytes of ephemeral storage."""

    def __add__(self, other: Request) -> Request:
        return Request(cpu=self.cpu + other.cpu, memory=self.memory + other.memory, disk=self.disk + other.disk)


HELPER = Request(cpu=100, memory=256 * MEBIBYTE, disk=GIBIBYTE)
"""The helper container clones, caches and uploads; GitLab asks for 250 MiB at least."""
SERVICE = Request(cpu=100, memory=256 * MEBIBYTE, disk=GIBIBYTE)
"""A service container; a pod counts one."""
MOST_SERVICES = 5
"""Services that a job may start. A pod with so many still fits on the nodes of every class, and the quota holds it."""
MANAGER = Request(cpu=100, memory=256 * MEBIBYTE, disk=GIBIBYTE)
"""A manager pod."""


def build(runner: KubernetesRunner) -> Request:
    """Return the build container's request."""
    return Request(cpu=runner.cpu, memory=runner.memory, disk=runner.disk)


def pod(runner: KubernetesRunner) -> Request:
    """Return the request of a whole job pod: build, helper and one service."""
    return build(runner) + HELPER + SERVICE


def largest_pod(runner: KubernetesRunner) -> Request:
    """Return the request of a job pod with as many services as a job may start."""
    services = Request(
        cpu=MOST_SERVICES * SERVICE.cpu, memory=MOST_SERVICES * SERVICE.memory, disk=MOST_SERVICES * SERVICE.disk
    )
    return build(runner) + HELPER + services
