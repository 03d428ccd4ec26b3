"""Kubeconfigs, credentials, paths, and patience of the client; against a small server on loopback."""

from __future__ import annotations

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from runner_platform_sandbox.kubernetes.client import KubeClient, Resource
from runner_platform_sandbox.kubernetes.errors import (
    ApiError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnknownKindError,
    UnreachableError,
    error_for,
)
from runner_platform_sandbox.kubernetes.kubeconfig import ExecToken, KubeconfigError, read_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PODS = {"kind": "Pod", "name": "pods", "namespaced": True, "verbs": ["get", "list"]}
NODES = {"kind": "Node", "name": "nodes", "namespaced": False, "verbs": ["get"]}
STATUS = {"kind": "Pod", "name": "pods/status", "namespaced": True, "verbs": ["patch"]}


class Server:
    """Answers from a script: for each path a list of (status, body); the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any]]] = {"/api/v1": [(200, {"resources": [PODS, NODES, STATUS]})]}
        self.requests: list[tuple[str, str, str | None, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                outer.requests.append((self.command, self.path, self.headers.get("Authorization"), body))
                answers = outer.answers.get(self.path.partition("?")[0], [(404, {"message": "no"})])
                status, content = answers.pop(0) if len(answers) > 1 else answers[0]
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running_server = Server()
    yield running_server
    running_server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[KubeClient]:
    with KubeClient(server.url) as kube_client:
        yield kube_client


@pytest.mark.parametrize(("method", "breaks", "sent"), [("GET", 1, 2), ("GET", 9, 2), ("POST", 1, 1)])
def test_a_handshake_that_breaks_is_tried_again_once_for_a_read_only(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch, method: str, breaks: int, sent: int
) -> None:
    request, attempts = client.transport._session.request, list[str]()

    def send(*arguments: Any, **options: Any) -> Any:
        attempts.append(method)
        if len(attempts) <= breaks:
            raise requests.exceptions.SSLError("tlsv1 alert decode error")
        return request(*arguments, **options)

    monkeypatch.setattr(client.transport._session, "request", send)
    if sent > breaks:
        assert client.transport.request(method, "/api/v1")["resources"]
    else:
        with pytest.raises(UnreachableError, match="decode error"):
            client.transport.request(method, "/api/v1")
    assert len(attempts) == sent


def kubeconfig(user: dict[str, Any], **cluster: Any) -> str:
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1/", **cluster}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
            "current-context": "x",
        }
    )


@pytest.mark.parametrize(
    ("name", "namespace", "subresource", "path"),
    [
        ("p", "n", "", "/api/v1/namespaces/n/pods/p"),
        ("p", "n", "status", "/api/v1/namespaces/n/pods/p/status"),
        (None, "n", "", "/api/v1/namespaces/n/pods"),
        (None, None, "", "/api/v1/pods"),
    ],
)
def test_paths_follow_the_api(name: str | None, namespace: str | None, subresource: str, path: str) -> None:
    pods = Resource(api_version="v1", kind="Pod", plural="pods", namespaced=True, verbs=frozenset())
    assert pods.path(name, namespace, subresource) == path


def test_an_object_that_lacks_its_namespace_is_refused_before_it_is_sent() -> None:
    pools = Resource(api_version="apps/v1", kind="Deployment", plural="deployments", namespaced=True, verbs=frozenset())
    assert pools.path(None) == "/apis/apps/v1/deployments"
    with pytest.raises(ValueError, match=r"set metadata\.namespace"):
        pools.path("d")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, ExpiredError),
        (422, InvalidError),
        (500, ApiError),
    ],
)
def test_each_refusal_has_its_class_and_names_the_request(status: int, kind: type[ApiError]) -> None:
    error = error_for(status, {"message": "no", "reason": "Because"}, "GET /x")
    assert type(error) is kind
    assert str(error) == f"GET /x: {status} Because: no"


def test_a_kind_that_appears_later_is_found_without_a_new_client(server: Server, client: KubeClient) -> None:
    assert client.path("v1", "Node", "i") == "/api/v1/nodes/i"
    with pytest.raises(UnknownKindError, match=r"serves no NodePool in karpenter\.sh/v1"):
        client.resource("karpenter.sh/v1", "NodePool")
    pool = {"kind": "NodePool", "name": "nodepools", "namespaced": False, "verbs": ["get"]}
    server.answers["/apis/karpenter.sh/v1"] = [(200, {"resources": [pool]})]
    assert client.path("karpenter.sh/v1", "NodePool", "small") == "/apis/karpenter.sh/v1/nodepools/small"


def test_a_server_that_names_a_time_to_wait_is_asked_again(server: Server, client: KubeClient) -> None:
    later = {"message": "storage is (re)initializing", "details": {"retryAfterSeconds": 0}}
    server.answers["/api/v1/pods"] = [
        (429, later),
        (429, later),
        (200, {"items": [{}], "metadata": {"resourceVersion": "7"}}),
    ]
    assert client.list_with_version("v1", "Pod") == ([{"apiVersion": "v1", "kind": "Pod"}], "7")


def test_a_refusal_that_names_no_time_is_not_repeated(server: Server, client: KubeClient) -> None:
    server.answers["/x"] = [(429, {"message": "disruption budget"})]
    with pytest.raises(ApiError, match="disruption budget"):
        client.request("POST", "/x", body={})
    assert len(server.requests) == 1


def test_a_refused_token_is_renewed_once(server: Server) -> None:
    class Token:
        value = "old"

        def __call__(self) -> str:
            return self.value

        def invalidate(self) -> None:
            self.value = "new"

    server.answers["/x"] = [(401, {"message": "no"}), (200, {"ok": True})]
    with KubeClient(server.url, token=Token()) as client:
        assert client.request("GET", "/x") == {"ok": True}
        server.answers["/x"] = [(401, {"message": "no"})]
        with pytest.raises(UnauthorizedError):
            client.request("GET", "/x")
    assert [request[2] for request in server.requests] == ["Bearer old", "Bearer new", "Bearer new", "Bearer new"]


def test_apply_takes_ownership_of_the_given_fields(server: Server, client: KubeClient) -> None:
    server.answers["/api/v1/namespaces/n/pods/p"] = [(200, {"made": True})]
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}
    assert client.apply(body, dry_run=True, field_manager="me") == {"made": True}
    method, path, _, sent = server.requests[-1]
    assert (method, sent) == ("PATCH", body)
    assert path.endswith("?fieldManager=me&force=true&dryRun=All")


def test_deleting_a_missing_object_is_no_error(server: Server, client: KubeClient) -> None:
    assert client.delete("v1", "Pod", "p", "n") is False
    server.answers["/api/v1/namespaces/n/pods/p"] = [(200, {})]
    assert client.delete("v1", "Pod", "p", "n", propagation="Foreground", grace_seconds=0, uid="u") is True
    sent = server.requests[-1][3]
    assert sent == {"propagationPolicy": "Foreground", "gracePeriodSeconds": 0, "preconditions": {"uid": "u"}}


def test_a_watch_yields_changes_and_raises_when_the_server_forgot(server: Server, client: KubeClient) -> None:
    events = [
        {"type": "ADDED", "object": {"metadata": {"name": "a"}}},
        {"type": "ERROR", "object": {"code": 410, "message": "too old", "reason": "Expired"}},
    ]
    server.answers["/api/v1/pods"] = [(200, "\n".join(json.dumps(event) for event in events).encode() + b"\n")]
    with client.watch("v1", "Pod", resource_version="1") as watch:
        changes = iter(watch)
        assert next(changes) == ("ADDED", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
        with pytest.raises(ExpiredError, match="too old"):
            next(changes)


def test_an_unreachable_address_is_named() -> None:
    with KubeClient("http://127.0.0.1:9") as client:
        assert client.ready() is False
        with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:9/version"):
            client.version()


def test_a_kubeconfig_gives_address_namespace_and_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    connection = read_kubeconfig(kubeconfig({"tokenFile": "token"}), folder=tmp_path)
    assert (connection.server, connection.namespace) == ("https://127.0.0.1:1", "n")
    assert connection.token is not None
    assert connection.token() == "from-a-file"
    plain = read_kubeconfig(kubeconfig({"token": "plain"}))
    assert plain.token is not None
    assert plain.token() == "plain"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "a: [", "clusters: []\ncontexts: []\ncurrent-context: x", kubeconfig({}).replace("server", "srv")],
)
def test_a_kubeconfig_that_lacks_something_is_refused(text: str) -> None:
    with pytest.raises(KubeconfigError, match="not usable"):
        read_kubeconfig(text)


def test_an_authority_that_is_no_certificate_is_refused() -> None:
    broken = base64.b64encode(b"nonsense").decode()
    connection = read_kubeconfig(kubeconfig({}, **{"certificate-authority-data": broken}))
    with pytest.raises(KubeconfigError, match="not valid PEM"):
        connection.ssl_context()


def command(script: str) -> dict[str, Any]:
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", script],
        "env": [{"name": "CLUSTER", "value": "prod"}],
    }


@pytest.mark.parametrize("provides_cluster_info", [True, False])
def test_an_exec_command_gets_the_cluster_if_the_kubeconfig_says_so(provides_cluster_info: bool) -> None:
    script = (
        "import os, json\n"
        "asked = json.loads(os.environ['KUBERNETES_EXEC_INFO'])['spec'].get('cluster', {})\n"
        "print(json.dumps({'status': {'token': asked.get('server', 'none')}}))"
    )
    token = ExecToken({**command(script), "provideClusterInfo": provides_cluster_info}, {"server": "https://here"})
    assert token() == ("https://here" if provides_cluster_info else "none")


def test_an_exec_command_runs_with_its_variables_and_again_only_after_a_refusal(tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    script = (
        "import os, json\n"
        f"open({str(counter)!r}, 'a').write('x')\n"
        "assert json.loads(os.environ['KUBERNETES_EXEC_INFO'])['kind'] == 'ExecCredential'\n"
        "print(json.dumps({'status': {'token': os.environ['CLUSTER'], 'expirationTimestamp': '2999-01-01T00:00:00Z'}}))"
    )
    token = ExecToken(command(script))
    assert (token(), token()) == ("prod", "prod")
    assert counter.read_text() == "x"
    token.invalidate()
    assert token() == "prod"
    assert counter.read_text() == "xx"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys; sys.exit('no entry for this role')", "ended with 1: no entry for this role"),
        ("print('hello')", "did not print an ExecCredential"),
        ("print('{}')", "did not print an ExecCredential"),
    ],
)
def test_a_failing_exec_command_is_named_with_its_output(script: str, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        ExecToken(command(script))()


def test_a_missing_exec_command_is_named() -> None:
    with pytest.raises(KubeconfigError, match="runner-platform-is-not-here"):
        ExecToken({**command(""), "command": "runner-platform-is-not-here"})()
