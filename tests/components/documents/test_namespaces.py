"""Labels and quota of a class's namespaces, and the manager's rights in the jobs'."""

from __future__ import annotations

import pytest

from components.documents import namespaces, pods
from components.documents.disruption import pods_at_once
from config.quantities import cpu_text, memory_text
from tests.support.class_settings import open_runner


def test_the_quota_holds_every_pod_of_the_class_and_nothing_that_costs_beside_them() -> None:
    runner = open_runner(concurrent=3)
    count, largest = pods_at_once(3), pods.largest_pod(runner)
    assert namespaces.jobs_quota(runner) == {
        "pods": str(count),
        "requests.cpu": cpu_text(count * largest.cpu),
        "requests.memory": memory_text(count * largest.memory),
        "services.loadbalancers": "0",
        "services.nodeports": "0",
        "persistentvolumeclaims": "0",
    }


@pytest.mark.parametrize(
    ("kind", "pod_security", "enforced"),
    [("manager", "baseline", "restricted"), ("jobs", "baseline", "baseline"), ("jobs", "restricted", "restricted")],
)
def test_managers_run_restricted_and_jobs_as_their_class_says(kind: str, pod_security: str, enforced: str) -> None:
    labels = namespaces.namespace_labels(kind, "small", open_runner(pod_security=pod_security))
    assert labels == {
        pods.CLASS_LABEL: "small",
        "pod-security.kubernetes.io/enforce": enforced,
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
    }
