"""Who gets in: token reviews, and the RBAC objects behind access entries."""

from __future__ import annotations

import pytest

from runner_platform_sandbox.kubernetes.errors import ForbiddenError, UnauthorizedError
from sandbox.tests.support.kubernetes_cases import RBAC, Trial
from tests.support.waiting import until

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.kubernetes_fixture",)


def may_view(kubernetes: Trial, token: str, namespace: str) -> bool:
    with kubernetes.as_user(token) as client:
        try:
            client.list("v1", "Pod", namespace)
        except ForbiddenError:
            return False
        return True


def test_an_unknown_token_is_refused(kubernetes: Trial) -> None:
    with kubernetes.as_user("stranger") as client, pytest.raises(UnauthorizedError):
        client.list("v1", "Pod", "default")


def test_a_namespace_scoped_policy_holds_also_in_namespaces_made_later(kubernetes: Trial) -> None:
    before = kubernetes.namespace("runner")
    kubernetes.policies.users["auditor-token"] = "auditor"
    kubernetes.policies.viewers["auditor"] = "runner-"
    kubernetes.cluster.access_changed()
    until(lambda: may_view(kubernetes, "auditor-token", before), "access in a namespace that was there")
    later = kubernetes.namespace("runner")
    until(lambda: may_view(kubernetes, "auditor-token", later), "access in a namespace made later")
    other_namespace = kubernetes.namespace("other")
    assert not may_view(kubernetes, "auditor-token", other_namespace)
    assert not may_view(kubernetes, "auditor-token", "kube-system")
    with kubernetes.as_user("auditor-token") as client, pytest.raises(ForbiddenError):
        client.list("v1", "Secret", before)


def test_a_policy_that_is_taken_away_takes_its_objects_along(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("leaving")
    kubernetes.policies.users["leaver-token"] = "leaver"
    kubernetes.policies.viewers["leaver"] = "leaving-"
    kubernetes.cluster.access_changed()
    until(lambda: may_view(kubernetes, "leaver-token", namespace), "access")
    del kubernetes.policies.viewers["leaver"]
    kubernetes.cluster.access_changed()
    until(lambda: not may_view(kubernetes, "leaver-token", namespace), "access to end")
    assert kubernetes.client.find(RBAC, "RoleBinding", "view-leaver", namespace) is None


def test_an_object_of_another_manager_is_not_changed(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("foreign")
    body = {
        "apiVersion": RBAC,
        "kind": "Role",
        "metadata": {"name": "theirs", "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    kubernetes.client.create(body)
    kubernetes.policies.viewers["nobody"] = "foreign-"
    kubernetes.cluster.access_changed()
    until(lambda: kubernetes.client.find(RBAC, "RoleBinding", "view-nobody", namespace) is not None, "a round")
    assert kubernetes.client.find(RBAC, "Role", "theirs", namespace) is not None
