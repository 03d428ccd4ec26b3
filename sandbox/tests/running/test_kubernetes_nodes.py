"""Nodes come for pods that wait, go when they are empty, and pods start only with what they refer to."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.kubernetes.pools import Pool, node_claim
from sandbox.tests.support.kubernetes_cases import EKS, KARPENTER, Trial, node_class, node_pool, pod, stays, types
from tests.support.waiting import until

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.kubernetes_fixture",)

DO_NOT_DISRUPT = {"karpenter.sh/do-not-disrupt": "true"}


def waiting(kubernetes: Trial, namespace: str) -> str:
    return kubernetes.cluster.pods_by_namespace()[namespace][0].reason


def test_a_waiting_pod_gets_a_claim_and_a_node_of_an_allowed_type_and_runs(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    with kubernetes.pool("first", types("m7i.xlarge", "m7i.2xlarge")) as pool:
        kubernetes.client.create(pod("p", namespace, pool=pool, cpu="5"))
        kubernetes.runs("p", namespace)
        (claim,), (node,) = kubernetes.claims(pool), kubernetes.nodes(pool)
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "m7i.2xlarge"
        assert node["metadata"]["labels"]["class"] == pool
        assert node["spec"]["taints"] == [{"key": "class", "value": pool, "effect": "NoSchedule"}]
        assert node["status"]["allocatable"]["cpu"] == "7910m"
        assert claim["status"]["nodeName"] == node["metadata"]["name"]
        assert claim["metadata"]["ownerReferences"][0]["kind"] == "NodePool"
        assert {item["type"]: item["status"] for item in claim["status"]["conditions"]}["Ready"] == "True"
        status = kubernetes.client.get(KARPENTER, "NodePool", pool)["status"]
        assert (status["nodes"], status["resources"]["cpu"]) == (1, "8")


def test_further_pods_go_on_the_node_that_is_there_while_they_fit(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    with kubernetes.pool("packing", types("m7i.xlarge")) as pool:
        for name in "abcd":
            kubernetes.client.create(pod(name, namespace, pool=pool, cpu="1500m"))
        for name in "abcd":
            kubernetes.runs(name, namespace)
        assert len(kubernetes.nodes(pool)) == 2, "two pods of 1.5 cores fit on 3.92"


def test_limits_leave_the_pod_pending_that_would_exceed_them(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    with kubernetes.pool("limited", types("m7i.xlarge"), limits={"cpu": "4"}) as pool:
        kubernetes.client.create(pod("a", namespace, pool=pool, cpu="3"))
        kubernetes.runs("a", namespace)
        kubernetes.client.create(pod("b", namespace, pool=pool, cpu="3"))
        stays(lambda: kubernetes.phase("b", namespace) == "Pending", "the wait")
        assert len(kubernetes.claims(pool)) == 1
        kubernetes.client.delete("v1", "Pod", "a", namespace)
        kubernetes.runs("b", namespace)


def test_a_pod_that_no_pool_serves_stays_pending_and_says_why(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    with kubernetes.pool("unfit", types("m7i.xlarge")) as pool:
        body = pod("p", namespace, pool=pool)
        body["spec"]["tolerations"] = []
        kubernetes.client.create(body)
        stays(lambda: kubernetes.phase("p", namespace) == "Pending", "the wait")
        assert kubernetes.claims(pool) == []
        assert waiting(kubernetes, namespace).startswith("Unschedulable")


def test_pods_with_anti_affinity_get_one_node_each(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    apart = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"apart": "yes"}}}
            ]
        }
    }
    with kubernetes.pool("apart", types("m7i.2xlarge")) as pool:
        for name in "ab":
            body = pod(name, namespace, pool=pool, affinity=apart)
            body["metadata"]["labels"] = {"apart": "yes"}
            kubernetes.client.create(body)
        for name in "ab":
            kubernetes.runs(name, namespace, 60)
        assert len(kubernetes.nodes(pool)) == 2


def test_an_empty_node_goes_after_the_time_that_the_pool_says(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    disruption = {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "4s", "budgets": [{"nodes": "1"}]}
    with kubernetes.pool("shrinking", types("m7i.xlarge"), disruption=disruption) as pool:
        kubernetes.client.create(pod("p", namespace, pool=pool))
        kubernetes.runs("p", namespace)
        stays(lambda: len(kubernetes.nodes(pool)) == 1, "the node with a pod", 6)
        kubernetes.client.delete("v1", "Pod", "p", namespace)
        duration = until(lambda: not kubernetes.nodes(pool), "the empty node to go", 20)
        assert duration > 3, "not before its time"
        until(lambda: not kubernetes.claims(pool), "its claim to go")


def test_deleting_a_pool_in_the_foreground_waits_for_its_last_node(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    kubernetes.client.apply(node_class("ending"))
    kubernetes.client.apply(node_pool("ending", types("m7i.xlarge")))
    body = pod("p", namespace, pool="ending")
    body["metadata"]["annotations"] = DO_NOT_DISRUPT
    kubernetes.client.create(body)
    kubernetes.runs("p", namespace)
    kubernetes.client.delete(KARPENTER, "NodePool", "ending", propagation="Foreground")
    kubernetes.client.delete(EKS, "NodeClass", "ending")
    # The garbage collector looks for new kinds every 30 s, and these are new.
    until(lambda: "deletionTimestamp" in kubernetes.claims("ending")[0]["metadata"], "the claim to be told", 45)
    stays(
        lambda: (
            kubernetes.phase("p", namespace) == "Running"
            and kubernetes.client.find(KARPENTER, "NodePool", "ending") is not None
            and kubernetes.client.find(EKS, "NodeClass", "ending") is not None
        ),
        "the wait for a pod that must not be disrupted",
    )
    kubernetes.client.delete("v1", "Pod", "p", namespace)
    until(lambda: kubernetes.client.find(KARPENTER, "NodePool", "ending") is None, "the pool to go")
    until(lambda: kubernetes.client.find(EKS, "NodeClass", "ending") is None, "the class to go")
    assert kubernetes.nodes("ending") == []


def test_pods_of_a_deleted_node_go_with_it_and_the_claim_too(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    with kubernetes.pool("drained", types("m7i.xlarge")) as pool:
        kubernetes.client.create(pod("p", namespace, pool=pool))
        kubernetes.runs("p", namespace)
        kubernetes.client.delete("v1", "Node", kubernetes.nodes(pool)[0]["metadata"]["name"])
        until(lambda: not kubernetes.nodes(pool) and not kubernetes.claims(pool), "node and claim to go")
        until(lambda: kubernetes.phase("p", namespace) is None, "its pod to go", 10)


def test_a_drain_respects_a_disruption_budget(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("nodes")
    metadata = {"name": "keep", "namespace": namespace}
    budget = {"maxUnavailable": 0, "selector": {"matchLabels": {"keep": "yes"}}}
    with kubernetes.pool("budgeted", types("m7i.xlarge")) as pool:
        body = pod("p", namespace, pool=pool)
        body["metadata"]["labels"] = {"keep": "yes"}
        kubernetes.client.create(
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": budget}
        )
        kubernetes.client.create(body)
        kubernetes.runs("p", namespace)
        claim = kubernetes.claims(pool)[0]["metadata"]["name"]
        kubernetes.client.delete(KARPENTER, "NodeClaim", claim)
        stays(lambda: kubernetes.phase("p", namespace) == "Running", "a pod that its budget keeps")
        (taint,) = [item for item in kubernetes.nodes(pool)[0]["spec"]["taints"] if item["key"] != "class"]
        assert taint["key"] == "karpenter.sh/disrupted", "no new pod comes to a node that is on its way out"
        kubernetes.client.delete("policy/v1", "PodDisruptionBudget", "keep", namespace)
        until(lambda: not kubernetes.claims(pool) and not kubernetes.nodes(pool), "the node to go")


def test_a_launch_that_was_cut_short_after_its_claim_is_finished(kubernetes: Trial) -> None:
    with kubernetes.pool("resumed", types("m7i.xlarge")) as name:
        body = kubernetes.client.get(KARPENTER, "NodePool", name)
        node_class = kubernetes.client.get(EKS, "NodeClass", name)
        pool = Pool(body=body, node_class=node_class, region="eu-central-1", zones=["eu-central-1a"])
        kubernetes.client.create(node_claim(pool, pool.offers[0], {"cpu": 1000}))
        until(lambda: len(kubernetes.nodes(name)) == 1, "the node of the claim")
        until(lambda: "nodeName" in kubernetes.claims(name)[0].get("status", {}), "the claim to know it")


def test_a_pod_waits_for_a_missing_secret_key_and_runs_once_it_is_there(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("references")
    source = {"secretKeyRef": {"name": "runner", "key": "runner-token"}}
    with kubernetes.pool("waiting", types("m7i.xlarge")) as pool:
        container = {"env": [{"name": "TOKEN", "valueFrom": source}]}
        kubernetes.client.create(pod("p", namespace, pool=pool, container=container))
        until(lambda: "not found" in waiting(kubernetes, namespace), "the reason to be said")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "runner", "namespace": namespace}}
        kubernetes.client.apply({**secret, "stringData": {"other": "x"}})
        until(lambda: "couldn't find key runner-token" in waiting(kubernetes, namespace), "the key to be missed")
        stays(lambda: kubernetes.phase("p", namespace) == "Pending", "the wait")
        kubernetes.client.apply({**secret, "stringData": {"runner-token": "x"}})
        kubernetes.runs("p", namespace, 10)


@pytest.mark.parametrize("source", ["configMap", "projected"])
def test_a_pod_waits_for_a_missing_volume_source(kubernetes: Trial, source: str) -> None:
    namespace = kubernetes.namespace("references")
    reference = {"name": "aws-config"}
    volume: dict[str, Any] = {"configMap": reference}
    if source == "projected":
        token = {"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}}
        volume = {"projected": {"sources": [token, {"configMap": reference}]}}
    with kubernetes.pool(f"volumes-{source.lower()}", types("m7i.xlarge")) as pool:
        kubernetes.client.create(pod("p", namespace, pool=pool, volumes=[{"name": "v", **volume}]))
        until(lambda: waiting(kubernetes, namespace).startswith("ContainerCreating"), "the reason to be said")
        stays(lambda: kubernetes.phase("p", namespace) == "Pending", "the wait")
        metadata = {"name": "aws-config", "namespace": namespace}
        kubernetes.client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config": ""}})
        kubernetes.runs("p", namespace, 10)


def test_a_job_completes_and_one_with_a_missing_key_does_not(kubernetes: Trial) -> None:
    namespace = kubernetes.namespace("jobs")

    def job(name: str, **container: Any) -> dict[str, Any]:
        template = pod(name, namespace, pool=pool, container=container, restartPolicy="Never")["spec"]
        metadata = {"name": name, "namespace": namespace}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {"template": {"spec": template}},
        }

    def succeeded(name: str) -> bool:
        return bool(kubernetes.client.get("batch/v1", "Job", name, namespace)["status"].get("succeeded", 0) == 1)

    with kubernetes.pool("jobs", types("m7i.xlarge")) as pool:
        kubernetes.client.create(job("good"))
        kubernetes.client.create(job("bad", envFrom=[{"secretRef": {"name": "gone"}}]))
        until(lambda: succeeded("good"), "the job to complete")
        stays(lambda: not succeeded("bad"), "the wait")
