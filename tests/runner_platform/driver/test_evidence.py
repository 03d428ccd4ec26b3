"""Evidence about a run on another machine: its own token, Kubernetes' answer about its pod, GitLab's about its job."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from config import load
from runner_platform.driver import evidence, locks
from runner_platform.driver.evidence import JobStatus, Pod, PodEvidence
from runner_platform.driver.project import Project
from runner_platform.errors import FailedError
from runner_platform.kube.client import ApiRefusalError, Cluster
from tests.support.stack_states import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POD = Pod(
    issuer="https://oidc.eks.eu-central-1.amazonaws.com/id/0A",
    namespace="jobs-deploy",
    name="runner-abc-project-5-concurrent-0-xyz",
    uid="1b4e28ba",
)


def token(claims: Any) -> str:
    parts = ({"alg": "RS256"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "signature"])


CLAIMS = {
    "iss": POD.issuer,
    "kubernetes.io": {"namespace": POD.namespace, "pod": {"name": POD.name, "uid": POD.uid}},
}


def test_a_run_knows_its_pod_by_the_token_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token(CLAIMS) + "\n")
    assert evidence.this_pod((str(tmp_path / "none"), str(tmp_path / "token"))) == POD


@pytest.mark.parametrize(
    "text",
    ["", "a.b", "a.!.c", token([]), token({"iss": POD.issuer}), token({**CLAIMS, "kubernetes.io": {"namespace": "x"}})],
    ids=["empty", "no token", "no base64", "no claims", "no Kubernetes", "not bound to a pod"],
)
def test_a_token_without_a_pod_names_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    assert evidence.this_pod((str(tmp_path / "token"),)) is None


def test_a_record_keeps_its_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = project(tmp_path)
    monkeypatch.setattr(evidence, "this_pod", lambda: POD)
    locks.write_record(stack, locks.new_record("up"))
    assert [record.pod for record in locks.read_records(stack)] == [POD]
    stack.store.write(f".runner-platform/owners/{stack.name}/test/list.json", b"[]")
    stack.store.write(f".runner-platform/owners/{stack.name}/test/odd.json", b'{"pod": {"name": "x"}}')
    assert len(locks.read_records(stack)) == 1, "records in an unknown form are left out"


class Answers(Cluster):
    """A cluster that answers one request."""

    def __init__(self, answer: dict[str, Any] | FailedError, issuer: str = POD.issuer) -> None:
        self.name, self.issuer, self.answer, self.paths = "runner-platform-dev", issuer, answer, list[str]()

    def get(self, path: str) -> dict[str, Any]:
        self.paths.append(path)
        if isinstance(self.answer, FailedError):
            raise self.answer
        return self.answer


def pod(uid: str = POD.uid, phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"uid": uid}, "status": {"phase": phase}}


def refusal(status: int, message: str) -> ApiRefusalError:
    return ApiRefusalError(f"cluster runner-platform-dev: {message}", status)


DEV = Project(stack="dev", folder=load.ROOT)
GONE = refusal(404, f'pods "{POD.name}" not found')


def ask(monkeypatch: pytest.MonkeyPatch, cluster: Any, pod: Pod = POD) -> PodEvidence | None:
    monkeypatch.setattr(Cluster, "of", lambda _: cluster)
    return evidence.ask_kubernetes(DEV, pod)


@pytest.mark.parametrize(
    ("answer", "alive", "sentence"),
    [
        (GONE, False, "there is no pod jobs-deploy/runner-abc-project-5-concurrent-0-xyz"),
        (pod(uid="another"), False, "is another one"),
        (pod(phase="Succeeded"), False, "has ended"),
        (pod(phase="Failed"), False, "has ended"),
        (pod(), True, "is Running"),
        (pod(phase="Pending"), True, "is Pending"),
    ],
)
def test_the_api_server_says_whether_exactly_this_pod_lives(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | FailedError, alive: bool, sentence: str
) -> None:
    cluster = Answers(answer)
    answer_about_pod = ask(monkeypatch, cluster)
    assert answer_about_pod is not None
    assert answer_about_pod.alive is alive
    assert sentence in answer_about_pod.why
    assert cluster.paths == [f"/api/v1/namespaces/jobs-deploy/pods/{POD.name}"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(403, f'pods "{POD.name}" is forbidden'),
        refusal(401, "Unauthorized"),
        refusal(404, "404 page not found"),
        refusal(503, "unavailable"),
        FailedError("the API server cannot be reached"),
        pod(phase="Unknown"),
    ],
    ids=["may not look", "no credentials", "a proxy's 404", "overloaded", "no answer", "a node that does not answer"],
)
def test_every_other_answer_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | FailedError
) -> None:
    assert ask(monkeypatch, Answers(answer)) is None


def test_another_cluster_is_not_asked_about_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    for issuer in ("https://oidc.eks.eu-central-1.amazonaws.com/id/0B", ""):
        cluster = Answers(GONE, issuer)
        assert ask(monkeypatch, cluster) is None
        assert cluster.paths == []
    nameless = Pod(issuer="", namespace="n", name="p", uid="u")
    assert ask(monkeypatch, Answers(GONE, ""), nameless) is None


def test_a_stack_without_a_cluster_or_without_credentials_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert ask(monkeypatch, None) is None

    def refuse(_: Any) -> None:
        raise FailedError("AWS cannot be asked as profile platform-cicd")

    monkeypatch.setattr(Cluster, "of", refuse)
    assert evidence.ask_kubernetes(DEV, POD) is None
    assert evidence.ask_kubernetes(Project(stack="foundation", folder=load.ROOT / "foundation"), POD) is None
    assert evidence.ask_kubernetes(project(tmp_path), POD) is None, "another project has no cluster of the platform"


class Jobs(BaseHTTPRequestHandler):
    """GitLab's endpoint for one job."""

    answers: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        answer = self.answers.get(self.path) if self.headers["PRIVATE-TOKEN"] == "read" else None
        body = json.dumps(answer or {"message": "404 Not found"}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in ("GITLAB_BASE_URL", "CI_SERVER_URL", "GITLAB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(evidence.READ_TOKEN, "read")
    yield f"http://127.0.0.1:{server.server_address[1]}/group/project/-/jobs/4711"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": "running", "finished_at": None}, JobStatus(name="running", finished=None)),
        ({"status": "canceling", "finished_at": "2026-11-21T10:00:00Z"}, JobStatus(name="canceling", finished=None)),
        (
            {"status": "failed", "finished_at": "2026-11-21T11:00:00.000+01:00"},
            JobStatus(name="failed", finished=datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ),
        (None, None),
    ],
)
def test_the_jobs_page_says_which_gitlab_to_ask(
    jobs: str, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | None, expected: JobStatus | None
) -> None:
    monkeypatch.setattr(Jobs, "answers", {"/api/v4/projects/5/jobs/4711": answer})
    assert evidence.ask_gitlab("5", "4711", jobs) == expected
    monkeypatch.setenv(evidence.READ_TOKEN, "wrong")
    assert evidence.ask_gitlab("5", "4711", jobs) is None, "no answer is no proof"
