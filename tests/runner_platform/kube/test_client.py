"""The client of an API server: it renews credentials, retries on busy servers, and explains what it cannot reach."""

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
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)


class Recorder:
    """Answers of a server in order (the last one for ever), and the tokens that it received."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.tokens: list[str] = []
        self.url = ""


@contextmanager
def serving(*answers: tuple[int, Any]) -> Iterator[Recorder]:
    recorder = Recorder(*answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            recorder.tokens.append(self.headers["Authorization"])
            status, body = recorder.answers.pop(0) if len(recorder.answers) > 1 else recorder.answers[0]
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
    recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client_of(recorder: Recorder, *, expiry: str = FOREVER) -> Cluster:
    numbers = iter(range(10))
    return Cluster(
        "c", recorder.url, None, lambda: {"status": {"token": f"t{next(numbers)}", "expirationTimestamp": expiry}}
    )


def test_a_token_is_used_until_shortly_before_it_expires() -> None:
    with serving((200, {"a": 1})) as recorder:
        first = client_of(recorder)
        assert first.get("/x") == first.get("/x") == {"a": 1}
        expired = client_of(recorder, expiry="2020-01-01T00:00:00+00:00")
        expired.get("/x")
        expired.get("/x")
    assert recorder.tokens == [f"Bearer t{number}" for number in (0, 0, 0, 1)]


def test_a_refused_token_is_replaced_and_a_busy_server_is_asked_again() -> None:
    with serving((401, {}), (429, {}), (503, {}), (200, {})) as recorder:
        assert client_of(recorder).get("/x") == {}
    assert recorder.tokens == [f"Bearer t{number}" for number in (0, 1, 1, 1)]


@pytest.mark.parametrize("status", [401, 429])
def test_retries_end(status: int) -> None:
    with serving((status, {"message": "go away"})) as recorder, pytest.raises(ApiRefusalError, match="go away"):
        client_of(recorder).get("/x")
    assert len(recorder.tokens) == module.TRIES


def test_a_refusal_quotes_the_server() -> None:
    with serving((403, {"message": "pods is forbidden"})) as recorder, pytest.raises(ApiRefusalError) as refusal:
        client_of(recorder).get("/x")
    assert (str(refusal.value), refusal.value.status) == ("cluster c: pods is forbidden", 403)
    with serving((500, "<html>oops")) as recorder, pytest.raises(ApiRefusalError, match="500 <html>oops"):
        client_of(recorder).get("/x")


def test_an_unreachable_server_is_named() -> None:
    with serving((200, {})) as recorder:
        client = client_of(recorder)
    with pytest.raises(FailedError, match=r"the API server http://127.0.0.1:\d+ of cluster c does not answer"):
        client.get("/x")


def test_a_missing_aws_cli_is_named() -> None:
    def refuse() -> dict[str, Any]:
        raise token.TokenError("the AWS CLI is not on PATH")

    with pytest.raises(FailedError, match="the AWS CLI is not on PATH"):
        Cluster("c", "http://127.0.0.1:1", None, refuse).get("/x")


class EksSession:
    """A boto3 session with one answer of EKS."""

    answer: Any = None

    def __init__(self, profile_name: str, region_name: str) -> None:
        assert (profile_name, region_name) == ("platform-cicd", "eu-central-1")

    def client(self, service: str) -> EksSession:
        assert service == "eks"
        return self

    def describe_cluster(self, name: str) -> dict[str, Any]:
        assert name == "runner-platform-dev"
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"cluster": self.answer}


def cluster_of_dev(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Cluster | None:
    monkeypatch.setattr(EksSession, "answer", answer)
    monkeypatch.setattr(module.boto3, "Session", EksSession)
    return Cluster.of(SETTINGS)


def client_error(code: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": "m"}}, "DescribeCluster")


def test_a_missing_cluster_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_of_dev(monkeypatch, client_error("ResourceNotFoundException")) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            client_error("AccessDeniedException"),
            "AWS refused profile platform-cicd the description of cluster runner-platform-dev",
        ),
        (botocore.exceptions.ProfileNotFound(profile="platform-cicd"), "runner-platform profiles --platform deployer"),
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
            "`runner-platform sandbox start`",
        ),
        ({"status": "CREATING"}, "cluster runner-platform-dev is CREATING; wait until it is ACTIVE"),
    ],
)
def test_an_unusable_cluster_is_explained(monkeypatch: pytest.MonkeyPatch, answer: Any, words: str) -> None:
    with pytest.raises(FailedError, match=words):
        cluster_of_dev(monkeypatch, answer)


def test_a_broken_certificate_authority_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = base64.b64encode(b"not a certificate").decode()
    with pytest.raises(
        FailedError, match="cluster runner-platform-dev with a certificate authority that is not a certificate"
    ):
        cluster_of_dev(
            monkeypatch, {"status": "ACTIVE", "endpoint": "https://x", "certificateAuthority": {"data": data}}
        )
