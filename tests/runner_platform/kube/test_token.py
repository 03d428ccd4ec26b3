"""The exec plugin waits until the cluster accepts the token and its access policy is in effect, and no longer."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.kube import token

if TYPE_CHECKING:
    from collections.abc import Iterator


class ApiServer(ThreadingHTTPServer):
    """Answers 401 some times, then denies the access review some times."""

    unauthorized = 0
    """Remaining answers with 401."""
    denied = 0
    """Remaining reviews that are denied."""
    review_status = 201
    requests: list[str]


class Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        self.server.requests.append("version")
        self.server.unauthorized -= 1
        self._answer(200 if self.server.unauthorized < 0 else 401, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["kind"] == "SelfSubjectAccessReview"
        self.server.requests.append("review")
        self.server.denied -= 1
        self._answer(self.server.review_status, {"status": {"allowed": self.server.denied < 0}})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    api = ApiServer(("127.0.0.1", 0), Handler)
    api.requests = []
    thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    exec_info = {"spec": {"cluster": {"server": f"http://127.0.0.1:{api.server_address[1]}"}}}
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", json.dumps(exec_info))
    monkeypatch.setattr(token, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(token, "get_token", lambda *_: {"status": {"token": "t"}})
    yield api
    api.shutdown()
    api.server_close()
    thread.join()


def accepted_token(**options: float) -> str:
    return str(token.accepted_token("c", "r", "p", **options)["status"]["token"])


def test_the_plugin_waits_for_the_entry_and_then_for_its_policy(server: ApiServer) -> None:
    server.unauthorized, server.denied = 2, 3
    assert accepted_token() == "t"
    assert server.requests == ["version"] * 3 + ["review"] * 4


def test_without_a_policy_the_token_is_returned_after_the_wait(server: ApiServer) -> None:
    server.denied = 10**9
    assert accepted_token(wait=0.05) == "t", "the API server names what it refuses"


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_without_reviews_is_asked_once(server: ApiServer, status: int) -> None:
    server.review_status, server.denied = status, 10**9
    assert accepted_token() == "t"
    assert server.requests.count("review") == 1


def test_a_token_that_is_never_accepted_is_an_error_with_a_next_step(server: ApiServer) -> None:
    server.unauthorized = 10**9
    with pytest.raises(token.TokenError, match="list-access-entries"):
        accepted_token(wait=0.05)
