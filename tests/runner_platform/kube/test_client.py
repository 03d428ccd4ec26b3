"""The API server as `prove` reaches it: credentials renewed, busy servers asked again, and words for what cannot be reached."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest

from config import load
from runner_platform.errors import FailedError
from runner_platform.kube import client as module
from runner_platform.kube import token
from runner_platform.kube.client import ApiRefusalError, Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = load.of_stack("dev")
FOREVER = "2999-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)


class Served:
    """What a server was sent, and what it answers, one answer after the other; the last for ever."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.tokens: list[str] = []
        self.url = ""


@contextmanager
def serving(*answers: tuple[int, Any]) -> Iterator[Served]:
    served = Served(*answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.tokens.append(self.headers["Authorization"])
            status, body = served.answers.pop(0) if len(served.answers) > 1 else served.answers[0]
            text = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reached(served: Served, *, ends: str = FOREVER) -> Cluster:
    numbers = iter(range(10))
    return Cluster(
        "c", served.url, None, lambda: {"status": {"token": f"t{next(numbers)}", "expirationTimestamp": ends}}
    )


def test_a_token_is_used_until_shortly_before_it_ends() -> None:
    with serving((200, {"a": 1})) as served:
        kept = reached(served)
        assert kept.get("/x") == kept.get("/x") == {"a": 1}
        renewed = reached(served, ends="2020-01-01T00:00:00+00:00")
        renewed.get("/x")
        renewed.get("/x")
    assert served.tokens == [f"Bearer t{number}" for number in (0, 0, 0, 1)]


def test_a_token_that_is_refused_is_replaced_and_a_busy_server_asked_again() -> None:
    with serving((401, {}), (429, {}), (503, {}), (200, {})) as served:
        assert reached(served).get("/x") == {}
    assert served.tokens == [f"Bearer t{number}" for number in (0, 1, 1, 1)]


@pytest.mark.parametrize("status", [401, 429])
def test_patience_ends(status: int) -> None:
    with serving((status, {"message": "go away"})) as served, pytest.raises(ApiRefusalError, match="go away"):
        reached(served).get("/x")
    assert len(served.tokens) == module.TRIES


def test_a_refusal_is_told_in_the_server_s_words() -> None:
    with serving((403, {"message": "pods is forbidden"})) as served, pytest.raises(ApiRefusalError) as refusal:
        reached(served).get("/x")
    assert (str(refusal.value), refusal.value.status) == ("cluster c: pods is forbidden", 403)
    with serving((500, "<html>oops")) as served, pytest.raises(ApiRefusalError, match="500 <html>oops"):
        reached(served).get("/x")


def test_a_server_that_is_not_there_is_named() -> None:
    with serving((200, {})) as served:
        gone = reached(served)
    with pytest.raises(FailedError, match=r"the API server of c, http://127.0.0.1:\d+, cannot be reached"):
        gone.get("/x")


def test_a_credential_that_cannot_be_had_is_told() -> None:
    def refuse() -> dict[str, Any]:
        raise token.TokenError("the AWS CLI is not on PATH")

    with pytest.raises(FailedError, match="the AWS CLI is not on PATH"):
        Cluster("c", "http://127.0.0.1:1", None, refuse).get("/x")


class FakeSession:
    """boto3's session, with one answer of EKS."""

    answer: Any = None

    def __init__(self, profile_name: str, region_name: str) -> None:
        assert (profile_name, region_name) == ("platform-cicd", "eu-central-1")

    def client(self, service: str) -> FakeSession:
        assert service == "eks"
        return self

    def describe_cluster(self, name: str) -> dict[str, Any]:
        assert name == "runner-platform-dev"
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"cluster": self.answer}


def eks(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Cluster | None:
    monkeypatch.setattr(FakeSession, "answer", answer)
    monkeypatch.setattr(module.boto3, "Session", FakeSession)
    return Cluster.of(SETTINGS)


def refusal(code: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": "m"}}, "DescribeCluster")


def test_a_cluster_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert eks(monkeypatch, refusal("ResourceNotFoundException")) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal("AccessDeniedException"), "AWS refuses to show cluster runner-platform-dev to profile platform-cicd"),
        (botocore.exceptions.ProfileNotFound(profile="platform-cicd"), "runner-platform profiles --platform deployer"),
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
            "`runner-platform sandbox start`",
        ),
        ({"status": "CREATING"}, "cluster runner-platform-dev is CREATING; wait until it is ACTIVE"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, answer: Any, words: str) -> None:
    with pytest.raises(FailedError, match=words):
        eks(monkeypatch, answer)


def test_an_authority_that_is_no_certificate_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    data = base64.b64encode(b"not a certificate").decode()
    with pytest.raises(FailedError, match="an authority for cluster runner-platform-dev that is no certificate"):
        eks(monkeypatch, {"status": "ACTIVE", "endpoint": "https://x", "certificateAuthority": {"data": data}})
