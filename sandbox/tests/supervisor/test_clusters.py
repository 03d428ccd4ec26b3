"""One control plane for each cluster, whatever happens to either."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.aws.client import EksCluster
from runner_platform_sandbox.state import Process
from runner_platform_sandbox.supervisor.clusters import Reconciler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runner_platform_sandbox.state import ClusterState


def record(name: str, issuer: str = "A1", status: str = "CREATING", access: str = "1") -> EksCluster:
    return EksCluster(
        account="222222222222",
        region="eu-central-1",
        name=name,
        arn=f"arn:aws:eks:eu-central-1:222222222222:cluster/{name}",
        version="1.35",
        status=status,
        issuer=f"https://oidc.eks.eu-central-1.amazonaws.com/id/{issuer}",
        service_cidr="172.20.0.0/16",
        auth_token="secret",
        endpoint="",
        access_version=access,
    )


class FakePlane:
    def __init__(self, fails: int = 0) -> None:
        self.calls: list[str] = []
        self.running = False
        self.fails = fails

    def start(self) -> None:
        self.calls.append("start")
        if self.fails:
            self.fails -= 1
            raise OSError("etcd: no space left on device")
        self.running = True

    def stop(self) -> None:
        self.calls.append("stop")
        self.running = False

    def remove(self) -> None:
        self.calls.append("remove")
        self.running = False

    def access_changed(self) -> None:
        self.calls.append("access")

    def dead(self) -> list[str]:
        return ["kube-apiserver"] if "start" in self.calls and not self.running else []

    def processes(self) -> list[Process]:
        return [Process(name="kube-apiserver", pid=1, started=1.0)] if self.running else []

    endpoint = "https://127.0.0.1:1"
    certificate_authority = "Q0E="

    def jwks(self) -> dict[str, Any]:
        return {"keys": []}

    def version(self) -> str:
        return "1.35.4"

    def kubeconfig(self) -> str:
        return "/nowhere/admin.kubeconfig"


class FakeCloud:
    def __init__(self, *records: EksCluster) -> None:
        self.records = list(records)
        self.reports: list[dict[str, Any]] = []

    def clusters(self) -> list[EksCluster]:
        return list(self.records)

    def report(self, cluster: EksCluster, said: Mapping[str, Any]) -> None:
        self.reports.append({"name": cluster.name, **said})
        self.change(cluster.name, status=str(said["status"]))

    def change(self, name: str, **fields: str) -> None:
        self.records = [dataclasses.replace(one, **fields) if one.name == name else one for one in self.records]


class World:
    """A reconciler with everything that it touches."""

    def __init__(self, *records: EksCluster, fails: int = 0) -> None:
        self.cloud = FakeCloud(*records)
        self.planes: dict[str, FakePlane] = {}
        self.notes: list[str] = []
        self.fails = fails
        self.reconciler = Reconciler(self.cloud, self.make, self.notes.append)

    def make(self, found: EksCluster) -> FakePlane:
        return self.planes.setdefault(found.id, FakePlane(self.fails))

    def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.reconciler.step()
            self.notes += self.reconciler.failures()
            if condition():
                return
            time.sleep(0.01)
        pytest.fail(f"did not happen; notes: {self.notes}, planes: {[plane.calls for plane in self.planes.values()]}")

    def state(self, name: str) -> ClusterState:
        return next(found for found in self.reconciler.states() if found.name == name)


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.reconciler.stop()


def build(worlds: list[World], *records: EksCluster, fails: int = 0) -> World:
    worlds.append(World(*records, fails=fails))
    return worlds[-1]


def test_a_new_cluster_gets_a_control_plane_and_is_reported_active(worlds: list[World]) -> None:
    world = build(worlds, record("runner-platform"))
    world.until(lambda: world.cloud.reports)
    report = world.cloud.reports[0]
    assert (report["name"], report["status"]) == ("runner-platform", "ACTIVE")
    assert (report["endpoint"], report["certificate_authority"]) == ("https://127.0.0.1:1", "Q0E=")
    assert world.planes["A1"].calls == ["start", "access"]
    assert world.state("runner-platform").served == "1.35.4"


def test_a_deleted_cluster_takes_its_control_plane_and_folder_with_it(worlds: list[World]) -> None:
    world = build(worlds, record("runner-platform"))
    world.until(lambda: world.cloud.reports)
    world.cloud.records.clear()
    world.until(lambda: "remove" in world.planes["A1"].calls)
    assert world.reconciler.states() == []


def test_a_cluster_made_again_under_its_name_is_another_one(worlds: list[World]) -> None:
    world = build(worlds, record("runner-platform", "A1"))
    world.until(lambda: world.cloud.reports)
    world.cloud.records = [record("runner-platform", "B2")]
    world.until(lambda: len(world.cloud.reports) == 2)
    assert world.planes["A1"].calls[-1] == "remove"
    assert world.planes["B2"].calls[0] == "start"


def test_a_dead_api_server_is_started_again_and_that_is_said(worlds: list[World]) -> None:
    world = build(worlds, record("runner-platform"))
    world.until(lambda: world.cloud.reports)
    world.planes["A1"].running = False
    world.until(lambda: world.planes["A1"].running, seconds=10)
    assert any("kube-apiserver ended by itself; started again" in note for note in world.notes)


def test_changed_access_entries_are_passed_on_once(worlds: list[World]) -> None:
    world = build(worlds, record("runner-platform"))
    world.until(lambda: world.cloud.reports)
    world.cloud.change("runner-platform", access_version="2")
    world.until(lambda: world.planes["A1"].calls.count("access") == 2)
    for _ in range(20):
        world.reconciler.step()
    assert world.planes["A1"].calls.count("access") == 2


def test_a_record_that_went_back_to_creating_is_reported_again(worlds: list[World]) -> None:
    world = build(worlds, record("runner-platform"))
    world.until(lambda: world.cloud.reports)
    world.cloud.change("runner-platform", status="CREATING")  # an AWS server that was killed before it saved
    world.until(lambda: len(world.cloud.reports) == 2)


def test_a_cluster_that_cannot_start_is_given_up_and_reported_failed(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner_platform_sandbox.supervisor.restarts.FIRST_WAIT_SECONDS", 0.001)
    world = build(worlds, record("runner-platform"), fails=99)
    world.until(lambda: world.cloud.reports)
    assert world.cloud.reports[0]["status"] == "FAILED"
    assert "no space left" in world.state("runner-platform").message
    assert world.planes["A1"].calls.count("start") == 5


def test_stopping_keeps_what_is_on_disk(worlds: list[World]) -> None:
    world = build(worlds, record("one", "A1"), record("two", "B2"))
    world.until(lambda: len(world.cloud.reports) == 2)
    world.reconciler.stop()
    assert all(plane.calls[-1] == "stop" for plane in world.planes.values())
