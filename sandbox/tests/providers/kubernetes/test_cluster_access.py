"""The kubernetes stand-in where the cluster does not help: unreachable, refusing, without permission; a fake API."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import pytest

from runner_platform_sandbox.providers.kubernetes.provider import Kubernetes
from runner_platform_sandbox.providers.stand_in import ProviderError
from sandbox.tests.support.provider_driver import Driver, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
INPUTS: dict[str, Any] = {"metadata": {"namespace": "default", "name": "a"}, "data": {"a": "1"}}
STORED: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", **INPUTS}
RESOURCE = {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["get", "patch"]}
Answer = tuple[int, dict[str, Any]]


def refusal(code: int, message: str, **details: Any) -> Answer:
    return code, {"kind": "Status", "code": code, "message": message, "details": details}


class Api:
    """Answers discovery and the version; everything else as the test says."""

    def __init__(self) -> None:
        self.get: Answer = refusal(404, "configmaps a not found")
        self.patch: Answer = (200, STORED)
        self.tokens: list[str | None] = []
        self.good_tokens: set[str] | None = None

    def answer(self, method: str, path: str, token: str | None) -> Answer:
        self.tokens.append(token)
        if self.good_tokens is not None and token not in self.good_tokens:
            return refusal(401, "Unauthorized")
        if path == "/version":
            return 200, {"gitVersion": "v1.35.4"}
        if path == "/api/v1":
            return 200, {"resources": [RESOURCE]}
        return self.get if method == "GET" else self.patch


@pytest.fixture
def api() -> Iterator[tuple[Api, str]]:
    answers = Api()

    class Handler(BaseHTTPRequestHandler):
        served: ClassVar[Api] = answers

        def _handle(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            code, body = self.served.answer(self.command, self.path.partition("?")[0], token)
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PATCH = do_DELETE = _handle  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield answers, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def kubeconfig(server: str, user: dict[str, Any] | None = None) -> str:
    return json.dumps(
        {
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": server}}],
            "users": [{"name": "a", "user": user or {}}],
        }
    )


def stack(server: str, user: dict[str, Any] | None = None, **config: Any) -> Driver:
    provider = Kubernetes()
    provider.configure({"kubeconfig": kubeconfig(server, user), **config})
    driver = Driver(provider)
    driver.states["a"] = State("default/a", {**STORED}, {**STORED})
    return driver


NOWHERE = "http://127.0.0.1:9"
CHANGED: dict[str, Any] = {**INPUTS, "metadata": {**INPUTS["metadata"], "labels": {"a": "b"}}}


def test_an_unreachable_cluster_is_compared_by_inputs_in_a_preview() -> None:
    diff, outputs = stack(NOWHERE).preview(CONFIG_MAP, "a", CHANGED)
    assert diff is not None
    assert (diff.changes, diff.replaces) == (["metadata.labels"], [])
    assert outputs["metadata"]["labels"] == {"a": "b"}


def test_an_unreachable_cluster_stops_everything_else() -> None:
    driver = stack(NOWHERE)
    ways: list[Callable[[], Any]] = [
        lambda: driver.up(CONFIG_MAP, "a", CHANGED),
        lambda: driver.refresh(CONFIG_MAP, "a"),
        lambda: driver.destroy(CONFIG_MAP, "a"),
    ]
    for way in ways:
        with pytest.raises(ProviderError, match=r"the Kubernetes cluster cannot be reached: .*127\.0\.0\.1:9"):
            way()


def test_an_unreachable_cluster_can_be_given_up() -> None:
    assert stack(NOWHERE, deleteUnreachable=True).refresh(CONFIG_MAP, "a") is None
    stack(NOWHERE, deleteUnreachable=True).destroy(CONFIG_MAP, "a")


def test_an_unreachable_cluster_can_be_skipped() -> None:
    existing = stack(NOWHERE, skipUpdateUnreachable=True).refresh(CONFIG_MAP, "a")
    assert existing is not None
    assert existing.inputs == STORED


def test_a_missing_credential_command_is_told_with_its_hint() -> None:
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-program", "installHint": "Run make."}
    with pytest.raises(ProviderError, match=r"'no-such-program' was not found\. Run make\."):
        stack(NOWHERE, {"exec": spec}).refresh(CONFIG_MAP, "a")


def test_the_credential_command_runs_once_and_again_after_a_401(api: tuple[Api, str], tmp_path: Any) -> None:
    answers, url = api
    command, count = tmp_path / "token", tmp_path / "count"
    count.write_text("")
    token = '{"status": {"token": "t%s"}}'
    command.write_text(f"#!/bin/sh\nprintf x >> {count}\nprintf '{token}' $(wc -c < {count}) $EXTRA\n")
    command.chmod(0o755)
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(command)}
    answers.get = (200, STORED)
    driver = stack(url, {"exec": spec})
    for _ in range(3):
        driver.refresh(CONFIG_MAP, "a")
    assert count.read_text() == "x", "a token is kept as long as it is accepted"
    answers.good_tokens = {"t2"}
    driver.refresh(CONFIG_MAP, "a")
    assert count.read_text() == "xx"


def test_a_reader_without_permission_to_patch_compares_inputs(api: tuple[Api, str]) -> None:
    answers, url = api
    answers.get = (200, STORED)
    answers.patch = refusal(403, 'configmaps "a" is forbidden: User "reader" cannot patch resource "configmaps"')
    diff, outputs = stack(url).preview(CONFIG_MAP, "a", CHANGED)
    assert diff is not None
    assert diff.changes == ["metadata.labels"]
    assert outputs["metadata"]["labels"] == {"a": "b"}


def test_a_refusal_by_admission_is_shown_in_the_preview(api: tuple[Api, str]) -> None:
    answers, url = api
    answers.get = (200, STORED)
    answers.patch = refusal(403, 'configmaps "a" is forbidden: exceeded quota: jobs')
    with pytest.raises(ProviderError, match=r"ConfigMap default/a would be refused: .*exceeded quota"):
        stack(url).preview(CONFIG_MAP, "a", CHANGED)


def test_values_that_the_api_server_finds_equal_are_no_change(api: tuple[Api, str]) -> None:
    answers, url = api
    answers.get = (200, STORED)
    diff, _ = stack(url).preview(CONFIG_MAP, "a", CHANGED)
    assert diff is not None
    assert diff.changes == [], "the dry run returned what is there"


def test_a_conflict_names_field_owner_and_remedy(api: tuple[Api, str]) -> None:
    answers, url = api
    answers.get = (200, STORED)
    cause = {"reason": "FieldManagerConflict", "field": ".data.a", "message": 'conflict with "kubectl"'}
    answers.patch = refusal(409, "Apply failed", causes=[cause])
    with pytest.raises(ProviderError, match=r'\.data\.a: conflict with "kubectl".*patchForce'):
        stack(url).preview(CONFIG_MAP, "a", CHANGED)


def test_an_immutable_field_that_the_api_server_names_is_a_replacement(api: tuple[Api, str]) -> None:
    answers, url = api
    answers.get = (200, STORED)
    answers.patch = refusal(
        422, "invalid", causes=[{"field": "spec.x", "message": "Invalid value: field is immutable"}]
    )
    driver = stack(url)
    news = driver.check(CONFIG_MAP, "a", CHANGED)
    diff = driver.provider.diff(driver.target(CONFIG_MAP, "a"), STORED, STORED, news, [])
    assert diff.replaces == ["spec.x"]
    assert diff.delete_before_replace


def test_objects_of_a_deleted_definition_count_as_deleted(api: tuple[Api, str]) -> None:
    driver = stack(api[1])
    thing = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "default"}}
    driver.states["t"] = State("default/t", thing, thing)
    driver.destroy("kubernetes:core/v1:Thing", "t")


def test_an_empty_kubeconfig_is_refused_with_a_message() -> None:
    provider = Kubernetes()
    provider.configure({"kubeconfig": "{}"})
    with pytest.raises(ProviderError, match="kubeconfig cannot be used"):
        provider.read(Driver(provider).target(CONFIG_MAP, "a"), {}, {})


@pytest.mark.processes
def test_helm_ends_with_its_provider_even_after_a_kill() -> None:
    code = (
        "import subprocess, time; from runner_platform_sandbox.providers.kubernetes.helm import tethered; "
        "child = subprocess.Popen(tethered(['/bin/sleep', '60'])); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as provider:
        assert provider.stdout is not None
        helm = psutil.Process(int(provider.stdout.readline()))
        provider.kill()
    gone, _ = psutil.wait_procs([helm], timeout=10)
    assert gone, "a Helm that nobody watches would go on changing the cluster"
