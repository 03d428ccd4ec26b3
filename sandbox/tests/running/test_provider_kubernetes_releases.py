"""Helm releases of the kubernetes provider: real Helm, real API server, our own chart."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
import time
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.providers.kubernetes import helm
from runner_platform_sandbox.providers.kubernetes.helm import binary, release_lock
from runner_platform_sandbox.providers.stand_in import (
    CancelledError,
    InvalidInputsError,
    PartialFailureError,
    ProviderError,
)
from runner_platform_sandbox.providers.wire import UNKNOWN
from sandbox.tests.support.chart_cases import packaged
from sandbox.tests.support.provider_kubernetes_cases import (
    CHART,
    RELEASE,
    TOKEN,
    changed,
    cluster,
    home,
    message,
    plugin,
    provider,
    release,
    stack,
    stand_in,
)

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.cluster import Cluster
    from runner_platform_sandbox.providers.kubernetes.helm import Record
    from sandbox.tests.support.provider_driver import Driver

pytestmark = pytest.mark.sandbox

__all__ = ["cluster", "plugin", "stack", "stand_in"]  # fixtures
TIMED_OUT = "context deadline exceeded"
"""What the real plugin says, without a cause."""


def latest(stack: Driver, cluster: Cluster) -> Record:
    record = helm.latest_record(cluster.client, "gitlab-runner-small", home(stack))
    assert record is not None
    return record


def test_a_release_is_installed_repeated_upgraded_refreshed_and_removed(stack: Driver, cluster: Cluster) -> None:
    stack.up(RELEASE, "small", release(stack))
    state = stack.states["small"]
    assert state.id == f"{home(stack)}/gitlab-runner-small"
    assert state.outputs["status"] == {
        "appVersion": "18.9.0",
        "chart": "gitlab-runner",
        "name": "gitlab-runner-small",
        "namespace": home(stack),
        "revision": 1,
        "status": "deployed",
        "version": "0.86.0",
    }
    assert state.outputs["resourceNames"]["Deployment.apps/apps/v1"] == [f"{home(stack)}/gitlab-runner-small"]
    for refreshed in (False, True):
        if refreshed:
            stack.refresh(RELEASE, "small")
        diff = stack.up(RELEASE, "small", release(stack))
        assert diff is not None
        assert diff.changes == [], f"refreshed: {refreshed}"
    diff = stack.up(RELEASE, "small", release(stack, concurrent=40))
    assert diff is not None
    assert set(diff.changes) - {"checksum"} == {"values.concurrent"}
    assert diff.replaces == []
    assert stack.states["small"].outputs["status"]["revision"] == 2
    stack.destroy(RELEASE, "small")
    for kind in ("Deployment", "ReplicaSet"):
        assert cluster.client.list("apps/v1", kind, home(stack)) == [], "uninstalling waits until everything is gone"
    assert helm.latest_record(cluster.client, "gitlab-runner-small", home(stack)) is None


def test_another_name_or_namespace_is_another_release(stack: Driver) -> None:
    stack.up(RELEASE, "small", release(stack))
    for key in ("name", "namespace"):
        diff, _ = stack.preview(RELEASE, "small", changed(release(stack), key, "default"))
        assert diff is not None
        assert diff.replaces == [key]


def test_a_missing_secret_fails_the_wait_with_its_cause_and_the_next_run_heals(stack: Driver, cluster: Cluster) -> None:
    broken = release(stack, timeout=5, runners={"secret": "nowhere"})
    cause = message(stack, stand_in=r"is failed.*Cause: .*Secret 'nowhere' does not exist", plugin=TIMED_OUT)
    with pytest.raises(PartialFailureError, match=cause) as caught:
        stack.up(RELEASE, "small", broken)
    assert TOKEN not in str(caught.value)
    assert stack.states["small"].outputs["status"]["status"] == "failed"
    diff, _ = stack.preview(RELEASE, "small", broken)
    assert diff is not None
    assert diff.changes or stack.states["small"].unready, "a failed release is never left alone"
    stack.up(RELEASE, "small", release(stack))
    assert latest(stack, cluster).status == "deployed"


def test_a_secret_without_one_of_the_keys_fails_the_wait_with_its_cause(stack: Driver, cluster: Cluster) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": home(stack)}}
    cluster.client.apply({**body, "stringData": {"runner-token": "glrt-x"}})
    cause = message(stack, stand_in="has no key 'runner-registration-token'", plugin=TIMED_OUT)
    with pytest.raises(PartialFailureError, match=cause):
        stack.up(RELEASE, "small", release(stack, timeout=5, runners={"secret": "token"}))


def test_an_atomic_release_leaves_nothing_and_still_names_the_cause(stack: Driver, cluster: Cluster) -> None:
    broken = {**release(stack, timeout=5, runners={"secret": "nowhere"}), "atomic": True}
    cause = message(stack, stand_in=r"was not installed: .*Cause: .*Secret 'nowhere' does not exist", plugin=TIMED_OUT)
    with pytest.raises(ProviderError, match=cause):
        stack.up(RELEASE, "small", broken)
    assert "small" not in stack.states
    assert cluster.client.list("apps/v1", "Deployment", home(stack)) == []


def test_pod_security_is_named_as_the_cause(stack: Driver, cluster: Cluster) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.client.patch("v1", "Namespace", home(stack), None, {"metadata": {"labels": label}})
    cause = message(stack, stand_in=r"Cause: .*violates PodSecurity.*seccompProfile", plugin=TIMED_OUT)
    with pytest.raises(PartialFailureError, match=cause):
        stack.up(RELEASE, "small", release(stack, timeout=5))
    seccomp = {"runAsUser": 100, "fsGroup": 65533, "seccompProfile": {"type": "RuntimeDefault"}}
    stack.up(RELEASE, "small", release(stack, podSecurityContext=seccomp))
    assert latest(stack, cluster).status == "deployed"


def test_a_foreign_release_is_not_taken_over(stack: Driver, cluster: Cluster) -> None:
    inputs = release(stack)
    place = ["--namespace", home(stack), "--kubeconfig", str(cluster.admin_kubeconfig)]
    subprocess.run([binary(), "install", "gitlab-runner-small", inputs["chart"], *place], check=True)
    remedy = message(
        stack,
        stand_in=r"exists already \(deployed, revision 1\).*import it.*helm uninstall",
        plugin="cannot re-use a name that is still in use",
    )
    with pytest.raises(ProviderError, match=remedy):
        stack.up(RELEASE, "small", inputs)
    record = stack.import_(RELEASE, "small", f"{home(stack)}/gitlab-runner-small")
    assert record is not None
    stack.up(RELEASE, "small", inputs)
    assert latest(stack, cluster).revision == 2


def leave_pending(stack: Driver, cluster: Cluster, status: str) -> None:
    """Do what a killed Helm leaves behind: a status in the record, and in its label."""
    secret = latest(stack, cluster).secret
    stored = cluster.client.get("v1", "Secret", secret, home(stack))["data"]["release"]
    record = json.loads(gzip.decompress(b64decode(b64decode(stored))))
    record["info"]["status"] = status
    changed_record = b64encode(b64encode(gzip.compress(json.dumps(record).encode()))).decode()
    patch = {"metadata": {"labels": {"status": status}}, "data": {"release": changed_record}}
    cluster.client.patch("v1", "Secret", secret, home(stack), patch)


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade"])
def test_a_release_that_a_killed_helm_left_pending_is_upgraded(stack: Driver, cluster: Cluster, status: str) -> None:
    stack.up(RELEASE, "small", release(stack))
    leave_pending(stack, cluster, status)
    del stack.states["small"]  # the engine was killed with it
    stack.up(RELEASE, "small", release(stack))
    assert latest(stack, cluster).status == "deployed"


def test_a_foreign_pending_release_is_reported_with_the_remedy(stack: Driver, cluster: Cluster) -> None:
    stack.up(RELEASE, "small", release(stack))
    leave_pending(stack, cluster, "pending-upgrade")
    secret = latest(stack, cluster).secret
    patch = {"metadata": {"labels": {helm.OWNER_LABEL: None}}}
    cluster.client.patch("v1", "Secret", secret, home(stack), patch)
    remedy = message(
        stack,
        stand_in=r"pending-upgrade.*helm rollback gitlab-runner-small",
        plugin=r"another operation \(install/upgrade/rollback\) is in progress",
    )
    with pytest.raises(ProviderError, match=remedy):
        stack.up(RELEASE, "small", release(stack, concurrent=2))


def test_a_helm_that_still_works_is_waited_for(stand_in: Driver, cluster: Cluster) -> None:
    messages: list[str] = []
    stand_in.provider.report = lambda _urn, message: messages.append(message)
    server = cluster.client.connection.server
    with release_lock(stand_in.provider, "gitlab-runner-small", home(stand_in), server, messages.append):
        thread = threading.Thread(target=stand_in.up, args=(RELEASE, "small", release(stand_in)))
        thread.start()
        time.sleep(1.5)
        assert "small" not in stand_in.states
    thread.join(60)
    assert "small" in stand_in.states
    assert any("still works on this release" in message for message in messages)


def test_an_interruption_ends_helm_and_the_next_run_goes_on(stand_in: Driver, cluster: Cluster) -> None:
    broken = release(stand_in, timeout=60, runners={"secret": "nowhere"})
    threading.Timer(2, stand_in.provider.cancel).start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        stand_in.up(RELEASE, "small", broken)
    assert time.monotonic() - start < 30
    stand_in.provider = provider(cluster)
    stand_in.up(RELEASE, "small", release(stand_in))
    assert latest(stand_in, cluster).status == "deployed"


def test_values_are_never_passed_as_arguments_of_helm(
    stand_in: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "arguments"
    spy = tmp_path / "helm"
    spy.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexec {binary()} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setattr("runner_platform_sandbox.providers.kubernetes.helm.binary", lambda: str(spy))
    stand_in.up(RELEASE, "small", release(stand_in))
    text = seen.read_text()
    assert "upgrade --install gitlab-runner-small" in text
    assert TOKEN not in text


def test_a_preview_with_unknown_values_renders_nothing(stack: Driver) -> None:
    inputs = release(stack, runnerToken=UNKNOWN)
    _, outputs = stack.preview(RELEASE, "small", inputs)
    assert outputs["status"] is UNKNOWN
    assert outputs["resourceNames"] is UNKNOWN


def test_values_that_the_chart_refuses_fail_the_preview(stack: Driver) -> None:
    with pytest.raises(InvalidInputsError, match=r"cannot be rendered: .*runners\.maximumTimeout cannot be set"):
        stack.preview(RELEASE, "small", release(stack, runners={"maximumTimeout": 3600}))


def test_a_missing_chart_is_named_in_the_error(stack: Driver) -> None:
    for chart, more in (("./nowhere.tgz", {}), ("other", {"repositoryOpts": {"repo": "http://127.0.0.1:9"}})):
        pattern = message(stack, stand_in=chart.strip("./"), plugin=r"nowhere\.tgz|http://127\.0\.0\.1:9")
        with pytest.raises(InvalidInputsError, match=pattern):
            stack.preview(RELEASE, "small", {**release(stack), "chart": chart, **more})


def test_a_packaged_chart_is_deployed_from_its_path(stack: Driver, cluster: Cluster, tmp_path: Path) -> None:
    archive = packaged(Path(CHART), tmp_path, "0.93.0")
    inputs = {**release(stack), "chart": str(archive)}
    stack.up(RELEASE, "small", inputs)
    assert stack.states["small"].outputs["status"]["version"] == "0.93.0", "the archive's own version"
    assert latest(stack, cluster).status == "deployed"
    diff = stack.up(RELEASE, "small", inputs)
    assert diff is not None
    assert diff.changes == []


def test_a_chart_s_path_begins_at_the_program(
    stand_in: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packaged(Path(CHART), tmp_path, "0.93.0")
    monkeypatch.chdir(tmp_path)  # as the engine starts its plugins in the program's folder
    for path in (archive.name, f"./{archive.name}"):
        stand_in.preview(RELEASE, "small", {**release(stand_in), "chart": path})


def test_our_own_chart_stands_in_where_the_repository_cannot_be_reached(stand_in: Driver) -> None:
    messages: list[str] = []
    stand_in.provider.announce = lambda _urn, message: messages.append(message)
    official = {**release(stand_in), "chart": "gitlab-runner", "repositoryOpts": {"repo": "http://127.0.0.1:9"}}
    stand_in.up(RELEASE, "small", {**official, "version": "0.88.2"})
    assert stand_in.states["small"].outputs["status"]["version"] == "0.88.2"
    assert any("the sandbox's own gitlab-runner chart stands in" in message for message in messages)
    stand_in.up(RELEASE, "small", {**official, "version": "0.93.0"})
    assert stand_in.states["small"].outputs["status"]["appVersion"] == "19.4.0"
