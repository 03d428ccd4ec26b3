"""Keeps the RBAC objects behind EKS access entries in step.

EKS evaluates access policies itself; here they are ordinary RBAC objects, which the AWS server composes for the
existing namespaces. This file applies them and removes stale ones. Leaves out their content, and authentication (the
token webhook).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.kubernetes.errors import ApiError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.copies import Copies

Body = dict[str, Any]

_LOG = logging.getLogger(__name__)

LABEL: Final = "ministack.org/eks-access-policy"
"""Label on every object that the AWS server composes."""

_RBAC = "rbac.authorization.k8s.io/v1"
_KINDS = ("RoleBinding", "ClusterRoleBinding", "ClusterRole", "Role")
"""Removed in this order: a role without a binding grants nothing."""
_IDLE_SECONDS = 300.0
_SOON_SECONDS = 1.0
_FIELD_MANAGER = "runner-platform-sandbox-access"


class AccessLoop:
    """Applies the RBAC objects of the access entries when entries or namespaces change.

    Args:
        client: Reaches the cluster.
        copies: Local copies of namespaces.
        manifests: Composes the objects for a list of namespaces.
    """

    def __init__(self, client: KubeClient, copies: Copies, manifests: Callable[[list[str]], list[Body]]) -> None:
        self._client = client
        self._copies = copies
        self._manifests = manifests
        self._applied: tuple[frozenset[str], int] | None = None
        self._version = 0

    def changed(self) -> None:
        """Note that an access entry changed; the next round applies all objects again."""
        self._version += 1

    def round(self) -> float:
        """Apply if something changed, and return the seconds until the next round."""
        if not self._copies.namespaces.synced:
            return _SOON_SECONDS
        namespaces = frozenset(
            namespace["metadata"]["name"]
            for namespace in self._copies.namespaces.all()
            if not namespace["metadata"].get("deletionTimestamp")
        )
        state = (namespaces, self._version)
        if state == self._applied:
            return _IDLE_SECONDS
        if not self._apply(self._manifests(sorted(namespaces))):
            return _SOON_SECONDS
        self._applied = state
        return _IDLE_SECONDS

    def _apply(self, manifests: list[Body]) -> bool:
        complete = True
        # Removal first: lost access must not wait for new access.
        complete &= self._remove_stale({_identity(body) for body in manifests})
        for body in manifests:
            try:
                self._client.apply(body, field_manager=_FIELD_MANAGER)
            except NotFoundError:
                continue  # the namespace was deleted meanwhile, which starts the next round
            except ApiError as error:
                _LOG.warning("cannot apply %s %s: %s", body["kind"], body["metadata"]["name"], error)
                complete = False
        return complete

    def _remove_stale(self, expected: set[tuple[str, str, str]]) -> bool:
        complete = True
        for kind in _KINDS:
            for body in self._client.list(_RBAC, kind, label_selector=LABEL):
                if _identity(body) in expected:
                    continue
                metadata = body["metadata"]
                try:
                    self._client.delete(_RBAC, kind, metadata["name"], metadata.get("namespace"), uid=metadata["uid"])
                except ApiError as error:
                    _LOG.warning("cannot remove %s %s: %s", kind, metadata["name"], error)
                    complete = False
        return complete


def _identity(body: Body) -> tuple[str, str, str]:
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace") or "", metadata["name"]
