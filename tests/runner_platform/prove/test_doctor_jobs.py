"""Classes tried by `doctor` in Jobs: the Job's pod, the results of its report, and messages about failures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from config import load
from runner_platform.prove import attempts, deployed, doctor_jobs
from runner_platform.prove.attempts import REFUSED, Attempt
from runner_platform.prove.results import Result, roles_in
from runner_platform.prove.targets import Targets
from tests.support.api_server import ApiServerStandIn

SETTINGS = load.of_stack("prod")
ACCOUNTS = load.of_foundation().accounts
JOBS = "/apis/batch/v1/namespaces/jobs-small/jobs"
PODS = "/api/v1/namespaces/jobs-small/pods"
LOG = f"{PODS}/prove-1-x/log"
AT_ONCE = doctor_jobs.Patience(seconds=0.02, pause=0.001)


def class_attempts(runner_class: str, *, everything: bool = False) -> list[Attempt]:
    planned = attempts.of_classes(SETTINGS, ACCOUNTS, attempts.Scope.of(everything=everything))
    return [attempt for attempt in planned if attempt.runner_class == runner_class]


def row(attempt: Attempt, **changes: Any) -> dict[str, Any]:
    question = {"profile": attempt.profile, "sdk": attempt.sdk.value, "way": attempt.way.value}
    return {**question, "expected": "not read", "got": attempt.expected, "ok": True, "cause": "", **changes}


def report_of(runner_class: str) -> dict[str, Any]:
    rows = [row(attempt) for attempt in class_attempts(runner_class) if attempt.expected != REFUSED]
    return {"class": runner_class, "rows": rows}


def read(runner_class: str, report: dict[str, Any], *, everything: bool = False) -> list[Result]:
    planned = class_attempts(runner_class, everything=everything)
    return doctor_jobs.read(planned, report, roles_in(planned))


def server(log: str = "", phase: str = "Succeeded", **status: Any) -> ApiServerStandIn:
    api = ApiServerStandIn()
    pod = {"metadata": {"name": "prove-1-x"}, "status": {"phase": phase, **status}}
    api.objects |= {JOBS: {"metadata": {"name": "prove-1"}}, f"{JOBS}/prove-1": {}, PODS: {"items": [pod]}, LOG: log}
    api.objects["/api/v1/namespaces/jobs-small/events"] = {"items": [{"message": "forbidden: exceeded quota"}]}
    return api


def run(api: ApiServerStandIn) -> dict[str, Any]:
    return doctor_jobs.run_doctor(api, deployed.read_class(api, "small", "eu-central-1"), AT_ONCE)


def was_deleted(api: ApiServerStandIn) -> bool:
    return ("DELETE", f"{JOBS}/prove-1") in {(method, path) for method, path, _ in api.sent}


def test_the_job_s_pod_is_the_class_s_pod_with_container_build_alone() -> None:
    api = server()
    small = deployed.read_class(api, "small", "eu-central-1")
    template = doctor_jobs.manifest(small)["spec"]["template"]
    spec = template["spec"]
    assert template["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert [container["name"] for container in spec["containers"]] == ["build"]
    build = spec["containers"][0]
    original = next(container for container in small.pod["spec"]["containers"] if container["name"] == "build")
    for key in ("image", "imagePullPolicy", "env", "volumeMounts", "securityContext"):
        assert build[key] == original[key], key
    assert build["command"] == ["doctor", "--json"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("job", False)
    assert {volume["name"] for volume in spec["volumes"]} == {mount["name"] for mount in build["volumeMounts"]}
    assert spec["nodeSelector"]["runner-platform/class"] == "small"
    assert build["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "1Gi"},
        "limits": {"memory": "256Mi", "ephemeral-storage": "1Gi"},
    }, "a job's identity does not depend on its size"


def test_a_job_is_run_once_then_read_then_deleted() -> None:
    api = server(f"some entry point says hello\n{json.dumps(report_of('small'))}\n")
    assert run(api)["class"] == "small"
    methods = [(method, path.partition("?")[0]) for method, path, _ in api.sent if path.startswith("/apis/batch")]
    assert methods == [("POST", JOBS), ("DELETE", f"{JOBS}/prove-1")]
    job = next(body for method, path, body in api.sent if (method, path) == ("POST", JOBS))
    assert job["spec"]["backoffLimit"] == 0, "doctor ends with 1 if something is wrong, and is not run again"
    assert job["spec"]["ttlSecondsAfterFinished"], "Kubernetes deletes the Job if this program cannot"


def test_the_report_of_a_failed_pod_is_read_too() -> None:
    assert run(server(json.dumps(report_of("small")), phase="Failed"))["rows"]


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
def test_a_job_without_a_report_is_explained_and_deleted(api: ApiServerStandIn, words: str) -> None:
    with pytest.raises(doctor_jobs.DoctorError, match=words):
        run(api)
    assert was_deleted(api)


def test_a_pod_without_a_node_is_explained_by_its_condition() -> None:
    waiting = {"status": "False", "message": "0/3 nodes are available"}
    api = server(phase="Pending", conditions=[waiting])
    api.objects["/api/v1/namespaces/jobs-small/events"] = {"items": []}
    with pytest.raises(doctor_jobs.DoctorError, match="0/3 nodes are available"):
        run(api)


def test_an_interrupted_proof_deletes_its_job_at_once() -> None:
    api = server(phase="Pending")
    patience = doctor_jobs.Patience(seconds=60, pause=60)
    patience.cancelled.set()
    with pytest.raises(doctor_jobs.DoctorError, match="interrupted before Job prove-1 in jobs-small ended"):
        doctor_jobs.run_doctor(api, deployed.read_class(api, "small", "eu-central-1"), patience)
    assert was_deleted(api)


def test_the_settings_decide_about_the_rows_of_a_report() -> None:
    results = read("small", report_of("small"))
    assert {result.attempt.profile for result in results} == {"default", "base", "cicd", "dev"}
    assert all(result.ok for result in results)


def row_of(report: dict[str, Any], profile: str) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in report["rows"] if row["profile"] == profile)
    return row


def test_the_arn_of_a_session_counts_as_its_role() -> None:
    report = report_of("small")
    row_of(report, "dev")["got"] = "arn:aws:sts::333333333333:assumed-role/delegated-role-open/runner-small"
    assert all(result.ok for result in read("small", report))


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ("arn:aws:iam::444444444444:role/cicd/delegated-role", "arn:aws:iam::444444444444:role/cicd/delegated-role"),
        (REFUSED, REFUSED),
        ("", "BROKEN: sts-unreachable"),
    ],
)
def test_an_unexpected_row_is_wrong_even_if_doctor_calls_it_ok(got: str, expected: str) -> None:
    report = report_of("small")
    row_of(report, "dev").update(got=got, ok=True, cause="sts-unreachable")
    (wrong,) = [result for result in read("small", report) if not result.ok]
    assert (wrong.attempt.profile, wrong.got) == ("dev", expected)


def test_a_profile_that_a_class_must_not_have_is_wrong() -> None:
    report = report_of("small")
    prod = next(attempt for attempt in class_attempts("small") if attempt.profile == "prod")
    role = "arn:aws:iam::444444444444:role/cicd/delegated-role"
    report["rows"].append(row(prod, got=role))
    (wrong,) = [result for result in read("small", report) if not result.ok]
    assert (wrong.attempt.profile, wrong.attempt.expected, wrong.got) == ("prod", REFUSED, role)


def test_a_missing_row_is_broken_and_a_missing_family_is_left_out() -> None:
    report = report_of("small")
    report["rows"] = [row for row in report["rows"] if row["profile"] != "dev"]
    (wrong,) = [result for result in read("small", report) if not result.ok]
    assert "has no such row" in wrong.got
    families = {result.attempt.sdk for result in read("small", report_of("small"), everything=True)}
    assert families == {"boto3"}, "an image without Node.js cannot try the JavaScript SDK"


def test_a_report_without_rows_breaks_every_result_with_its_findings() -> None:
    results = read("small", {"rows": [], "findings": [{"text": "there is no token"}]})
    assert {result.got for result in results} == {"BROKEN: doctor could try no profile: there is no token"}


def test_a_missing_class_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor_jobs,
        "run_doctor",
        lambda _cluster, deployed_class, _patience: report_of(deployed_class.namespace.removeprefix("jobs-")),
    )
    api = ApiServerStandIn()
    classes = {
        ("prod", name): deployed.read_class(api, name, "eu-central-1") for name in SETTINGS.runners if name != "big"
    }
    planned = list(attempts.of_classes(SETTINGS, ACCOUNTS, attempts.Scope.of(everything=False)))
    problems = {("prod", "big"): "configmap aws-config in jobs-big is missing"}
    targets = Targets(settings=SETTINGS, clusters={"prod": api}, pods=classes, problems=problems)
    results = doctor_jobs.results(targets, planned, roles_in(planned), lambda _text: None)
    wrong = {(result.attempt.runner_class, result.got) for result in results if not result.ok}
    assert wrong == {("big", "BROKEN: configmap aws-config in jobs-big is missing")}
    assert {result.attempt.runner_class for result in results} == set(SETTINGS.runners)
