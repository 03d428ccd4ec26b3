"""Classes tried by `doctor` as a Job: the Job's pod, what is read back, and words for what goes wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from config import load
from runner_platform.prove import deployed, jobs, judge, plan
from runner_platform.prove.model import REFUSED, Attempt, Cell
from tests.support.api_server import FakeApiServer

SETTINGS = load.of_stack("prod")
ACCOUNTS = load.of_foundation().accounts
JOBS = "/apis/batch/v1/namespaces/jobs-small/jobs"
PODS = "/api/v1/namespaces/jobs-small/pods"
LOG = f"{PODS}/prove-1-x/log"
AT_ONCE = jobs.Patience(seconds=0.02, pause=0.001)


def attempts(runner_class: str, *, everything: bool = False) -> list[Attempt]:
    found = plan.attempts(SETTINGS, ACCOUNTS, plan.Scope.of(everything=everything))
    return [each for each in found if each.runner_class == runner_class]


def row(attempt: Attempt, **changes: Any) -> dict[str, Any]:
    asked = {"profile": attempt.profile, "sdk": attempt.sdk.value, "way": attempt.way.value}
    return {**asked, "expected": "not read", "got": attempt.expected, "ok": True, "cause": "", **changes}


def said(runner_class: str) -> dict[str, Any]:
    return {"class": runner_class, "rows": [row(each) for each in attempts(runner_class) if each.expected != REFUSED]}


def read(runner_class: str, document: dict[str, Any], *, everything: bool = False) -> list[Cell]:
    own = attempts(runner_class, everything=everything)
    return jobs.read(own, document, judge.known_roles(own))


def server(log: str = "", phase: str = "Succeeded", **status: Any) -> FakeApiServer:
    made = FakeApiServer()
    pod = {"metadata": {"name": "prove-1-x"}, "status": {"phase": phase, **status}}
    made.objects |= {JOBS: {"metadata": {"name": "prove-1"}}, f"{JOBS}/prove-1": {}, PODS: {"items": [pod]}, LOG: log}
    made.objects["/api/v1/namespaces/jobs-small/events"] = {"items": [{"message": "forbidden: exceeded quota"}]}
    return made


def run(api: FakeApiServer) -> dict[str, Any]:
    return jobs.doctor(api, deployed.of_class(api, "small", "eu-central-1"), AT_ONCE)


def test_the_job_s_pod_is_the_class_s_own_with_container_build_alone() -> None:
    api = server()
    found = deployed.of_class(api, "small", "eu-central-1")
    spec = jobs.manifest(found)["spec"]["template"]["spec"]
    assert [each["name"] for each in spec["containers"]] == ["build"]
    build = spec["containers"][0]
    original = next(each for each in found.pod["spec"]["containers"] if each["name"] == "build")
    for key in ("image", "env", "volumeMounts", "securityContext"):
        assert build[key] == original[key], key
    assert build["command"] == ["doctor", "--json"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("job", False)
    assert [each["name"] for each in spec["volumes"]] == ["runner-platform-aws"]
    assert spec["nodeSelector"]["runner-platform/class"] == "small"
    assert build["resources"]["requests"]["cpu"] == "100m", "who a job is does not depend on its size"


def test_a_job_is_run_once_read_and_deleted() -> None:
    api = server(f"some entry point says hello\n{json.dumps(said('small'))}\n")
    assert run(api)["class"] == "small"
    methods = [(method, path.partition("?")[0]) for method, path, _ in api.sent if path.startswith("/apis/batch")]
    assert methods == [("POST", JOBS), ("DELETE", f"{JOBS}/prove-1")]
    made = next(body for method, path, body in api.sent if (method, path) == ("POST", JOBS))
    assert made["spec"]["backoffLimit"] == 0, "a doctor that finds something wrong ends with 1, and is not asked again"
    assert made["spec"]["ttlSecondsAfterFinished"], "what nobody could delete goes by itself"


def test_a_doctor_that_found_something_wrong_is_read_all_the_same() -> None:
    assert run(server(json.dumps(said("small")), phase="Failed"))["rows"]


@pytest.mark.parametrize(
    ("api", "words"),
    [
        (server("Segmentation fault"), "printed no JSON document: Segmentation fault"),
        (server(""), "printed no JSON document: nothing"),
        (
            server(
                phase="Pending",
                containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}],
            ),
            "does not start: ImagePullBackOff: no such image",
        ),
        (server(phase="Pending"), r"did not end within 0 s: forbidden: exceeded quota"),
    ],
)
def test_a_job_that_says_nothing_is_told_by_its_reason_and_deleted(api: FakeApiServer, words: str) -> None:
    with pytest.raises(jobs.DoctorError, match=words):
        run(api)
    assert ("DELETE", f"{JOBS}/prove-1") in {(method, path) for method, path, _ in api.sent}


def test_a_pod_that_waits_for_a_node_says_so_where_there_is_no_event() -> None:
    waiting = {"status": "False", "message": "0/3 nodes are available"}
    api = server(phase="Pending", conditions=[waiting])
    api.objects["/api/v1/namespaces/jobs-small/events"] = {"items": []}
    with pytest.raises(jobs.DoctorError, match="0/3 nodes are available"):
        run(api)


def test_a_job_that_nobody_waits_for_any_more_is_deleted_at_once() -> None:
    api = server(phase="Pending")
    patience = jobs.Patience(seconds=60, pause=60)
    patience.ended.set()
    with pytest.raises(jobs.DoctorError, match="nobody waits for Job prove-1 in jobs-small any more"):
        jobs.doctor(api, deployed.of_class(api, "small", "eu-central-1"), patience)
    assert ("DELETE", f"{JOBS}/prove-1") in {(method, path) for method, path, _ in api.sent}


def test_rows_become_cells_and_what_the_settings_promise_decides() -> None:
    found = read("small", said("small"))
    assert {cell.attempt.profile for cell in found} == {"default", "base", "cicd", "dev"}
    assert all(cell.ok for cell in found)


def test_a_session_s_arn_is_as_good_as_its_role_s() -> None:
    document = said("small")
    dev = next(each for each in document["rows"] if each["profile"] == "dev")
    dev["got"] = "arn:aws:sts::333333333333:assumed-role/delegated-role-open/runner-small"
    assert all(cell.ok for cell in read("small", document))


@pytest.mark.parametrize(
    ("got", "shown"),
    [
        ("arn:aws:iam::444444444444:role/cicd/delegated-role", "arn:aws:iam::444444444444:role/cicd/delegated-role"),
        (REFUSED, REFUSED),
        ("", "BROKEN: sts-unreachable"),
    ],
)
def test_a_row_that_is_not_as_promised_is_wrong_whatever_doctor_thinks_of_it(got: str, shown: str) -> None:
    document = said("small")
    dev = next(each for each in document["rows"] if each["profile"] == "dev")
    dev |= {"got": got, "ok": True, "cause": "sts-unreachable"}
    (wrong,) = [cell for cell in read("small", document) if not cell.ok]
    assert (wrong.attempt.profile, wrong.got) == ("dev", shown)


def test_a_profile_that_a_class_must_not_have_is_a_wrong_cell() -> None:
    document = said("small")
    extra = next(each for each in attempts("small") if each.profile == "prod")
    role = "arn:aws:iam::444444444444:role/cicd/delegated-role"
    document["rows"].append(row(extra, got=role))
    (wrong,) = [cell for cell in read("small", document) if not cell.ok]
    assert (wrong.attempt.profile, wrong.attempt.expected, wrong.got) == ("prod", REFUSED, role)


def test_a_missing_row_is_broken_and_a_missing_family_is_left_out() -> None:
    document = said("small")
    document["rows"] = [each for each in document["rows"] if each["profile"] != "dev"]
    (wrong,) = [cell for cell in read("small", document) if not cell.ok]
    assert "has no such row" in wrong.got
    families = {cell.attempt.sdk for cell in read("small", said("small"), everything=True)}
    assert families == {"boto3"}, "an image without Node.js has no JavaScript to disagree"


def test_a_doctor_without_rows_breaks_every_cell_with_what_it_found() -> None:
    found = read("small", {"rows": [], "findings": [{"text": "there is no token"}]})
    assert {cell.got for cell in found} == {"BROKEN: doctor could try no profile: there is no token"}


def test_a_class_that_is_not_deployed_does_not_keep_the_others_from_being_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "doctor", lambda _cluster, found, _patience: said(found.namespace.removeprefix("jobs-")))
    api = FakeApiServer()
    classes = {
        ("prod", name): deployed.of_class(api, name, "eu-central-1") for name in SETTINGS.runners if name != "big"
    }
    own = list(plan.attempts(SETTINGS, ACCOUNTS, plan.Scope.of(everything=False)))
    problems = {("prod", "big"): "configmap aws-config in jobs-big is not there"}
    found = jobs.cells(api, classes, problems, own, judge.known_roles(own), lambda _text: None)
    wrong = {(cell.attempt.runner_class, cell.got) for cell in found if not cell.ok}
    assert wrong == {("big", "BROKEN: configmap aws-config in jobs-big is not there")}
    assert {cell.attempt.runner_class for cell in found} == set(SETTINGS.runners)
