"""The exec plugin waits until the cluster knows the token and its access policy has taken effect, and no longer."""

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
    """Refuses a token, and then everything that it asks for, some times each."""

    unknown = 0
    """How often the token is not known yet."""
    powerless = 0
    """How often it may not do anything yet."""
    review_status = 201
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        self.server.asked.append("version")
        self.server.unknown -= 1
        self._answer(200 if self.server.unknown < 0 else 401, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["kind"] == "SelfSubjectAccessReview"
        self.server.asked.append("review")
        self.server.powerless -= 1
        self._answer(self.server.review_status, {"status": {"allowed": self.server.powerless < 0}})

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
    made = ApiServer(("127.0.0.1", 0), Handler)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    described = {"spec": {"cluster": {"server": f"http://127.0.0.1:{made.server_address[1]}"}}}
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", json.dumps(described))
    monkeypatch.setattr(token, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(token, "get_token", lambda *_: {"status": {"token": "t"}})
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def accepted(**options: float) -> str:
    return str(token.accepted_token("c", "r", "p", **options)["status"]["token"])


def test_a_token_is_given_when_it_is_known_and_its_policy_has_taken_effect(server: ApiServer) -> None:
    server.unknown, server.powerless = 2, 3
    assert accepted() == "t"
    assert server.asked == ["version"] * 3 + ["review"] * 4


def test_a_policy_that_never_takes_effect_is_left_to_the_servers_own_words(server: ApiServer) -> None:
    server.powerless = 10**9
    assert accepted(wait=0.05) == "t", "what is refused then is said where it matters"


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_that_answers_no_review_is_not_waited_for(server: ApiServer, status: int) -> None:
    server.review_status, server.powerless = status, 10**9
    assert accepted() == "t"
    assert server.asked.count("review") == 1


def test_a_token_that_is_never_known_is_refused_with_the_command_that_shows_who_is(server: ApiServer) -> None:
    server.unknown = 10**9
    with pytest.raises(token.TokenError, match="list-access-entries"):
        accepted(wait=0.05)
