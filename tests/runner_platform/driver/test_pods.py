"""The pod of a run as its own token names it, and what Kubernetes' answers prove of another run's."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from config import load
from runner_platform.driver import owners, pods
from runner_platform.driver.pods import Pod
from runner_platform.driver.project import Project
from runner_platform.errors import FailedError
from runner_platform.kube.client import ApiRefusalError, Cluster
from tests.support.stack_states import project

if TYPE_CHECKING:
    from pathlib import Path

POD = Pod(
    issuer="https://oidc.eks.eu-central-1.amazonaws.com/id/0A",
    namespace="jobs-deploy",
    name="runner-abc-project-5-concurrent-0-xyz",
    uid="1b4e28ba",
)


def token(claims: Any) -> str:
    parts = ({"alg": "RS256"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts]
    return ".".join([*encoded, "signature"])


CLAIMS = {
    "iss": POD.issuer,
    "kubernetes.io": {"namespace": POD.namespace, "pod": {"name": POD.name, "uid": POD.uid}},
}


def test_a_run_knows_its_pod_by_the_token_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token(CLAIMS) + "\n")
    assert pods.this_pod((str(tmp_path / "none"), str(tmp_path / "token"))) == POD


@pytest.mark.parametrize(
    "text",
    ["", "a.b", "a.!.c", token([]), token({"iss": POD.issuer}), token({**CLAIMS, "kubernetes.io": {"namespace": "x"}})],
    ids=["empty", "no token", "no base64", "no claims", "no Kubernetes", "not bound to a pod"],
)
def test_what_names_no_pod_is_no_pod(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    assert pods.this_pod((str(tmp_path / "token"),)) is None


def test_a_record_keeps_its_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = project(tmp_path)
    monkeypatch.setattr(owners, "this_pod", lambda: POD)
    owners.write(stack, owners.this_run("up"))
    assert [each.pod for each in owners.read(stack)] == [POD]
    stack.store.write(f".runner-platform/owners/{stack.name}/test/list.json", b"[]")
    stack.store.write(f".runner-platform/owners/{stack.name}/test/odd.json", b'{"pod": {"name": "x"}}')
    assert len(owners.read(stack)) == 1, "what cannot be understood is left out"


class Answers(Cluster):
    """A cluster that answers one request."""

    def __init__(self, answer: dict[str, Any] | FailedError, issuer: str = POD.issuer) -> None:
        self.name, self.issuer, self.answer, self.paths = "runner-platform-dev", issuer, answer, list[str]()

    def get(self, path: str) -> dict[str, Any]:
        self.paths.append(path)
        if isinstance(self.answer, FailedError):
            raise self.answer
        return self.answer


def found(uid: str = POD.uid, phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"uid": uid}, "status": {"phase": phase}}


def refusal(status: int, message: str) -> ApiRefusalError:
    return ApiRefusalError(f"cluster runner-platform-dev: {message}", status)


DEV = Project(stack="dev", folder=load.ROOT)
GONE = refusal(404, f'pods "{POD.name}" not found')


def asked(monkeypatch: pytest.MonkeyPatch, cluster: Any, pod: Pod = POD) -> pods.Evidence | None:
    monkeypatch.setattr(Cluster, "of", lambda _: cluster)
    return pods.asked(DEV, pod)


@pytest.mark.parametrize(
    ("answer", "alive", "said"),
    [
        (GONE, False, "there is no pod jobs-deploy/runner-abc-project-5-concurrent-0-xyz"),
        (found(uid="another"), False, "is another one"),
        (found(phase="Succeeded"), False, "has ended"),
        (found(phase="Failed"), False, "has ended"),
        (found(), True, "is Running"),
        (found(phase="Pending"), True, "is Pending"),
    ],
)
def test_the_api_server_says_whether_exactly_this_pod_lives(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | FailedError, alive: bool, said: str
) -> None:
    cluster = Answers(answer)
    evidence = asked(monkeypatch, cluster)
    assert evidence is not None
    assert evidence.alive is alive
    assert said in evidence.why
    assert cluster.paths == [f"/api/v1/namespaces/jobs-deploy/pods/{POD.name}"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(403, f'pods "{POD.name}" is forbidden'),
        refusal(401, "Unauthorized"),
        refusal(404, "404 page not found"),
        refusal(503, "unavailable"),
        FailedError("the API server cannot be reached"),
        found(phase="Unknown"),
    ],
    ids=["may not look", "no credentials", "a proxy's 404", "overloaded", "no answer", "a node that does not answer"],
)
def test_any_other_answer_proves_nothing(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | FailedError) -> None:
    assert asked(monkeypatch, Answers(answer)) is None


def test_another_cluster_is_not_asked_about_a_pod_that_it_cannot_know(monkeypatch: pytest.MonkeyPatch) -> None:
    for issuer in ("https://oidc.eks.eu-central-1.amazonaws.com/id/0B", ""):
        cluster = Answers(GONE, issuer)
        assert asked(monkeypatch, cluster) is None
        assert cluster.paths == []
    nameless = Pod(issuer="", namespace="n", name="p", uid="u")
    assert asked(monkeypatch, Answers(GONE, ""), nameless) is None


def test_a_stack_without_a_cluster_or_without_credentials_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert asked(monkeypatch, None) is None

    def refuse(_: Any) -> None:
        raise FailedError("AWS cannot be asked as profile platform-cicd")

    monkeypatch.setattr(Cluster, "of", refuse)
    assert pods.asked(DEV, POD) is None
    assert pods.asked(Project(stack="foundation", folder=load.ROOT / "foundation"), POD) is None
    assert pods.asked(project(tmp_path), POD) is None, "another project has no cluster of the platform"
