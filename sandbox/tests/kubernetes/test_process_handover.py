"""Which pods the stand-in kubelet hands to a process node, and what becomes of them when that node is killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from runner_platform_sandbox.kubernetes.command_lines import PROCESS_CONDITION, REFERENCES_CONDITION
from runner_platform_sandbox.kubernetes.kubelet import JOB_LABEL, KubeletLoop, is_live
from runner_platform_sandbox.kubernetes.pools import REAL_NODE_LABEL

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.copies import Copies

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def pod(
    *, job: bool = True, phase: str = "Pending", handed_over: bool = False, secret: str = "", node: str = "node"
) -> dict[str, Any]:
    volumes = [{"name": "v", "secret": {"secretName": secret}}] if secret else []
    conditions = [{"type": PROCESS_CONDITION, "status": "True"}] if handed_over else []
    return {
        "metadata": {"name": "p", "namespace": "jobs", "uid": "u", "labels": {JOB_LABEL: "p"} if job else {}},
        "spec": {"nodeName": node, "containers": [{"name": "build", "image": "i"}], "volumes": volumes},
        "status": {"phase": phase, "conditions": conditions},
    }


class Cluster:
    """A client and copies with one pod and, if it is live, a process node's lease."""

    synced = True

    def __init__(self, body: dict[str, Any], *, age: timedelta | None) -> None:
        self._body, self._age = body, age
        self.statuses: list[dict[str, Any]] = []
        self.pods = self.secrets = self.config_maps = self.nodes = self

    def all(self) -> list[dict[str, Any]]:
        return [self._body]

    def get(self, name: str, _namespace: str = "") -> dict[str, Any] | None:
        return {"metadata": {"labels": {REAL_NODE_LABEL: "true"}}} if name == "real" else None

    def put(self, _body: dict[str, Any]) -> None:
        pass

    def find(self, *_: str) -> dict[str, Any] | None:
        if self._age is None:
            return None
        renewed = (datetime.now(UTC) - self._age).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {"spec": {"renewTime": renewed, "leaseDurationSeconds": 30}}

    def patch(self, *arguments: Any, **_: Any) -> dict[str, Any]:
        self.statuses.append(arguments[4]["status"])
        return {}

    def round(self) -> dict[str, str]:
        """Run one round, and return the written conditions."""
        KubeletLoop(cast("KubeClient", self), cast("Copies", self)).round()
        return {item["type"]: item["status"] for status in self.statuses for item in status["conditions"]}


@pytest.mark.parametrize(
    ("body", "age", "written"),
    [
        (pod(), timedelta(0), {REFERENCES_CONDITION: "True", PROCESS_CONDITION: "True"}),
        (pod(), None, {REFERENCES_CONDITION: "True"}),
        (pod(), timedelta(minutes=1), {REFERENCES_CONDITION: "True"}),
        (pod(job=False), timedelta(0), {REFERENCES_CONDITION: "True"}),
        (pod(secret="gone"), timedelta(0), {REFERENCES_CONDITION: "False"}),
        (pod(node="real"), timedelta(0), {}),
        (pod(phase="Running", handed_over=True), timedelta(0), {}),
        (pod(phase="Running", handed_over=True), None, {PROCESS_CONDITION: "False"}),
    ],
    ids=["job", "no node", "a dead node", "another pod", "a missing secret", "on a real node", "running", "orphaned"],
)
def test_a_job_pod_is_handed_over_while_a_process_node_lives(
    body: dict[str, Any], age: timedelta | None, written: dict[str, str]
) -> None:
    assert Cluster(body, age=age).round() == written


def test_a_job_that_ran_when_its_node_was_killed_has_failed_and_an_ended_one_keeps_its_result() -> None:
    running = Cluster(pod(phase="Running", handed_over=True), age=None)
    running.round()
    assert (running.statuses[0]["phase"], running.statuses[0]["reason"]) == ("Failed", "ProcessNodeKilled")
    ended = Cluster(pod(phase="Succeeded", handed_over=True), age=None)
    ended.round()
    assert "phase" not in ended.statuses[0]


def test_a_lease_without_a_renewal_is_not_live() -> None:
    assert not is_live({"spec": {}}, NOW)
    assert is_live({"spec": {"renewTime": NOW.isoformat(), "leaseDurationSeconds": 1}}, NOW)
