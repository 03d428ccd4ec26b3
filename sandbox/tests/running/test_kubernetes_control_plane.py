"""The control plane's processes: what they listen on, what they survive, what they leave."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes.cluster import Cluster
from runner_platform_sandbox.kubernetes.control_plane import NAMES
from sandbox.tests.support.kubernetes_cases import ISSUER, Trial, binaries, spec, trial
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A cluster that these tests may break; each leaves it running."""
    with trial(tmp_path_factory.mktemp("own")) as running:
        yield running


def pids(cluster: Cluster) -> dict[str, int]:
    return {process.name: process.pid for process in cluster.processes()}


def kill(cluster: Cluster, *names: str) -> None:
    for name in names:
        os.kill(pids(cluster)[name], signal.SIGKILL)
    until(lambda: set(cluster.control_plane.dead()) == set(names), f"{names} to be seen dead")


def token(own: Trial, *audiences: str, account: str = "default") -> dict[str, Any]:
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"namespace": "default"},
        "spec": {"audiences": list(audiences), "expirationSeconds": 3600},
    }
    until(lambda: own.client.find("v1", "ServiceAccount", account, "default") is not None, "the service account")
    answer = own.client.create(request, subresource="token", name=account)
    head, claims, _signature = (part + "=" * (-len(part) % 4) for part in answer["status"]["token"].split("."))
    decoded = {**json.loads(base64.urlsafe_b64decode(head)), **json.loads(base64.urlsafe_b64decode(claims))}
    return {**decoded, "text": answer["status"]["token"]}


def keep(own: Trial, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
    own.client.apply({**body, "data": {"kept": "yes"}})


def kept(own: Trial, name: str) -> bool:
    return bool(own.client.get("v1", "ConfigMap", name, "default")["data"] == {"kept": "yes"})


def test_every_process_listens_on_loopback_and_on_its_recorded_ports_only(own: Trial) -> None:
    processes = own.cluster.processes()
    assert [process.name for process in processes] == list(NAMES)
    for process in processes:
        listening = [
            connection.laddr
            for connection in psutil.Process(process.pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert {address.ip for address in listening} <= {"127.0.0.1"}, f"{process.name} listens beyond loopback"
        assert set(process.ports.values()) <= {address.port for address in listening}
        assert process.memory > 10_000_000


def test_the_version_that_is_served_is_known(own: Trial) -> None:
    assert own.cluster.served_version.startswith("1.")
    assert own.client.version() == f"v{own.cluster.served_version}"


def test_a_service_account_token_has_the_clusters_issuer_and_a_list_of_audiences(own: Trial) -> None:
    claims = token(own, "sts.amazonaws.com")
    assert claims["iss"] == ISSUER
    assert claims["aud"] == ["sts.amazonaws.com"]
    assert claims["sub"] == "system:serviceaccount:default:default"
    assert claims["alg"] == "RS256"
    assert token(own)["aud"] == ["https://kubernetes.default.svc", ISSUER], "what the API server itself accepts"


def test_the_keys_that_aws_gets_are_the_keys_that_the_cluster_signs_with(own: Trial) -> None:
    assert own.cluster.jwks == own.client.request("GET", "/openid/v1/jwks")
    assert token(own, "sts.amazonaws.com")["kid"] == own.cluster.jwks["keys"][0]["kid"]


def test_killing_etcd_and_the_api_server_loses_no_object(own: Trial) -> None:
    keep(own, "before-the-kill")
    kill(own.cluster, "etcd", "kube-apiserver")
    assert own.cluster.heal() == ["etcd", "kube-apiserver"]
    assert kept(own, "before-the-kill")
    keep(own, "after-the-kill")
    namespace = own.namespace("after-the-kill")
    assert namespace, "the controller manager came back by itself: a new namespace has its default account"


@pytest.mark.parametrize("name", ["kube-scheduler", "kube-controller-manager", "kwok", "etcd"])
def test_one_dead_process_is_restarted_and_the_other_processes_keep_running(own: Trial, name: str) -> None:
    before = pids(own.cluster)
    kill(own.cluster, name)
    assert own.cluster.heal() == [name]
    after = pids(own.cluster)
    assert {process for process in before if before[process] != after[process]} == {name}
    until(own.client.ready, "the API server to be ready")


def test_a_stopped_cluster_leaves_no_process_and_starts_with_its_objects(own: Trial) -> None:
    keep(own, "before-the-stop")
    old, endpoint = token(own), own.cluster.endpoint
    before = pids(own.cluster)
    own.cluster.stop()
    assert not [pid for pid in before.values() if psutil.pid_exists(pid)]
    assert own.cluster.processes() == []
    assert own.cluster.heal() == [], "a stopped cluster is not healed"
    own.cluster.start()
    assert kept(own, "before-the-stop")
    assert own.cluster.endpoint == endpoint
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": old["text"]}}
    assert own.client.create(review)["status"]["authenticated"] is True, "the signing key is kept"


def test_a_kept_port_that_is_taken_is_named_with_its_holder(own: Trial) -> None:
    own.cluster.stop()
    port = own.cluster.control_plane.layout.api_port
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(SandboxError, match=rf"port {port}.*kube-apiserver.*process {os.getpid()}"):
            own.cluster.start()
    own.cluster.start()
    assert own.cluster.control_plane.alive()


def test_processes_of_a_killed_supervisor_are_ended_by_the_next_one(tmp_path: Path) -> None:
    first = Cluster(tmp_path / "cluster", spec(), binaries(), lambda _namespaces: [])
    second = Cluster(tmp_path / "cluster", spec(), binaries(), lambda _namespaces: [])
    try:
        first.start()
        leftovers = pids(first)
        second.start()
        assert not set(leftovers.values()) & set(pids(second).values())
        assert sorted(first.control_plane.dead()) == sorted(NAMES), "they were ended before the new ones started"
        ended = pids(second)
        second.remove()
        assert not [pid for pid in ended.values() if psutil.pid_exists(pid)]
        assert not (tmp_path / "cluster").exists()
    finally:
        first.stop()
        second.stop()


def test_a_program_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = spec(webhook_url="not a url")
    cluster = Cluster(tmp_path / "cluster", broken, binaries(), lambda _namespaces: [])
    try:
        with pytest.raises(SandboxError, match=r"kube-apiserver of cluster trial ended with 1"):
            cluster.start()
    finally:
        cluster.remove()
