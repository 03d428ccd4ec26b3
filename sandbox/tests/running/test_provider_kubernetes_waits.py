"""The kubernetes provider against a real API server: waiting until objects are ready, and until they are gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.providers.stand_in import CancelledError, PartialFailureError, ProviderError
from sandbox.tests.support.provider_kubernetes_cases import (
    CONFIG_MAP,
    DEFINITION,
    DEPLOYMENT,
    JOB,
    NODE_POOL,
    SECRET,
    changed,
    cluster,
    config_map,
    deployment,
    home,
    message,
    plugin,
    stack,
    stand_in,
)

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.cluster import Cluster
    from sandbox.tests.support.provider_driver import Driver

pytestmark = pytest.mark.sandbox

__all__ = ["cluster", "plugin", "stack", "stand_in"]  # fixtures
NOT_READY = r"timed out waiting to be Ready.*MinimumReplicasUnavailable"
"""What the real plugin says, without a cause."""


def test_a_pod_that_pod_security_refuses_is_explained(stack: Driver, cluster: Cluster) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.client.patch("v1", "Namespace", home(stack), None, {"metadata": {"labels": label}})
    cause = message(stack, stand_in=r"violates PodSecurity.*seccompProfile", plugin=NOT_READY)
    with pytest.raises(PartialFailureError, match=cause):
        stack.up(DEPLOYMENT, "x", deployment(stack), timeout=3)
    cluster.client.patch("v1", "Namespace", home(stack), None, {"metadata": {"labels": dict.fromkeys(label)}})
    diff = stack.up(DEPLOYMENT, "x", changed(deployment(stack), "spec.replicas", 2), timeout=60)
    assert diff is not None, "the next run mends it"
    assert not stack.states["x"].unready


def test_a_missing_secret_key_is_explained(stack: Driver) -> None:
    stack.up(SECRET, "token", {"metadata": {"namespace": home(stack), "name": "token"}, "stringData": {"a": "x"}})
    volumes = [{"name": "v", "secret": {"secretName": "token", "items": [{"key": "b", "path": "b"}]}}]
    cause = message(stack, stand_in=r"Secret 'token' in namespace .* has no key 'b'", plugin=NOT_READY)
    with pytest.raises(PartialFailureError, match=cause):
        stack.up(DEPLOYMENT, "x", deployment(stack, volumes=volumes), timeout=4)
    assert "x" in stack.states, "what exists is in the state"


def test_a_job_is_waited_for(stack: Driver) -> None:
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}}
    stack.up(JOB, "job", {"metadata": {"namespace": home(stack)}, "spec": spec})
    assert stack.states["job"].outputs["status"]["succeeded"] == 1


def test_skip_await_ends_without_waiting(stack: Driver) -> None:
    missing = [{"name": "v", "secret": {"secretName": "nowhere"}}]
    inputs = changed(deployment(stack, volumes=missing), "metadata.annotations", {"pulumi.com/skipAwait": "true"})
    start = time.monotonic()
    stack.up(DEPLOYMENT, "x", inputs)
    assert time.monotonic() - start < 3


def test_wait_for_waits_for_what_it_says(stack: Driver) -> None:
    inputs = changed(config_map(stack), "metadata.annotations", {"pulumi.com/waitFor": "jsonpath={.data.b}=2"})
    pattern = message(stack, stand_in="waits for jsonpath", plugin="timed out waiting for the condition")
    with pytest.raises(PartialFailureError, match=pattern):
        stack.up(CONFIG_MAP, "settings", inputs, timeout=1)


def test_custom_resources_wait_for_their_definition(stack: Driver) -> None:
    name = "things.example.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
        "versions": [version],
    }
    stack.up(DEFINITION, "things", {"metadata": {"name": name}, "spec": spec})
    custom = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"namespace": home(stack)}, "spec": {"a": 1}}
    stack.up("kubernetes:example.com/v1:Thing", "thing", custom)
    assert stack.states["thing"].outputs["spec"] == {"a": 1}
    stack.destroy(DEFINITION, "things")
    assert stack.refresh("kubernetes:example.com/v1:Thing", "thing") is None, "no definition, no object"


def test_a_node_pool_is_gone_only_when_its_claims_are(stack: Driver, cluster: Cluster) -> None:
    spec = {"template": {"spec": {"nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "x"}}}}
    inputs = {"metadata": {"name": "pool"}, "spec": changed(spec, "template.spec.requirements", [])}
    stack.up(NODE_POOL, "pool", changed(inputs, "metadata.annotations", {"pulumi.com/skipAwait": "true"}))
    owner = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "name": "pool",
        "uid": stack.states["pool"].outputs["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    claim = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "held",
            "namespace": home(stack),
            "finalizers": ["example.com/held"],
            "ownerReferences": [owner],
        },
    }
    cluster.client.create(claim)
    time.sleep(0.5)  # the garbage collector must have seen the owner reference
    held = message(
        stack, stand_in="still exists: finalizers foregroundDeletion", plugin="timed out waiting for the condition"
    )
    with pytest.raises(ProviderError, match=held):
        stack.destroy(NODE_POOL, "pool", timeout=2)
    cluster.client.patch("v1", "ConfigMap", "held", home(stack), {"metadata": {"finalizers": None}})
    stack.destroy(NODE_POOL, "pool", timeout=30)
    assert cluster.client.find("karpenter.sh/v1", "NodePool", "pool") is None


def test_deleting_a_deleted_object_is_no_error_and_spares_its_successor(stack: Driver, cluster: Cluster) -> None:
    stack.up(CONFIG_MAP, "settings", config_map(stack))
    cluster.client.delete("v1", "ConfigMap", "settings", home(stack))
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", **config_map(stack)}
    cluster.client.apply(inputs, field_manager="a-person")
    stack.destroy(CONFIG_MAP, "settings")
    assert cluster.client.find("v1", "ConfigMap", "settings", home(stack)) is not None


def test_an_interruption_ends_the_wait_and_keeps_the_object(stand_in: Driver) -> None:
    missing = [{"name": "v", "secret": {"secretName": "nowhere"}}]
    stand_in.provider.cancelled.set()
    with pytest.raises(PartialFailureError) as caught:
        stand_in.up(DEPLOYMENT, "x", deployment(stand_in, volumes=missing))
    assert isinstance(caught.value.__cause__, CancelledError)
    assert stand_in.states["x"].unready


def test_a_refresh_records_objects_that_are_not_ready(stack: Driver) -> None:
    missing = [{"name": "v", "secret": {"secretName": "later"}}]
    with pytest.raises(PartialFailureError):
        stack.up(DEPLOYMENT, "x", deployment(stack, volumes=missing), timeout=2)
    stack.refresh(DEPLOYMENT, "x")
    reason = message(stack, stand_in="0 of 1 replicas available", plugin="does not have minimum availability")
    assert reason in stack.states["x"].unready, "else the next run would leave it alone"
    stack.up(SECRET, "later", {"metadata": {"namespace": home(stack), "name": "later"}, "stringData": {"a": "b"}})
    stack.up(DEPLOYMENT, "x", deployment(stack, volumes=missing))
    assert not stack.states["x"].unready
