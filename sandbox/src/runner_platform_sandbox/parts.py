"""What the supervisor needs of the parts that it runs.

Owns the contracts between the supervisor and the AWS server, the GitLab fake and the Kubernetes control planes, so that
each can be replaced in a test. Leaves out what the parts do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner_platform_sandbox.aws.client import EksCluster
    from runner_platform_sandbox.state import Process


class Part(Protocol):
    """Something with processes that can be started, watched and stopped."""

    def start(self) -> None:
        """Start what does not run, and return when it answers; kept state is used."""

    def stop(self) -> None:
        """Stop everything in order; nothing happens when nothing runs."""

    def processes(self) -> Sequence[Process]:
        """Live processes, in the order in which they were started."""

    def dead(self) -> Sequence[str]:
        """What should run and does not: a phrase for each, such as `kube-apiserver (killed by signal 9)`."""


class ControlPlane(Part, Protocol):
    """A Kubernetes control plane of one EKS cluster."""

    @property
    def endpoint(self) -> str:
        """URL of the API server."""

    @property
    def certificate_authority(self) -> str:
        """PEM of what signs the API server's certificate, in base64."""

    def jwks(self) -> dict[str, Any]:
        """Public keys of the cluster's service-account tokens."""

    def version(self) -> str:
        """Version of the API server that answers, without a leading `v`."""

    def kubeconfig(self) -> str:
        """Path of the administrator's kubeconfig."""

    def access_changed(self) -> None:
        """Tell it that access entries changed, so that its RBAC objects are made anew."""

    def remove(self) -> None:
        """Stop it and remove what it kept on disk."""


class Cloud(Protocol):
    """The AWS server's internal routes for clusters."""

    def clusters(self) -> Sequence[EksCluster]:
        """Every cluster of every account."""

    def report(self, cluster: EksCluster, said: Mapping[str, Any]) -> None:
        """Say how a cluster's control plane is: `status` and, where known, where it answers and its keys."""
