"""Doctor's diagnosis: the cause of every problem and of every message of an SDK, and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from image.doctor import diagnosis, report
from image.doctor.aws_config import Config, Profile
from image.doctor.aws_files import AwsFile
from image.doctor.container import Container
from image.doctor.diagnosis import ADVICE, AUDIENCE, Case, Finding, cause_in, cause_of, findings
from image.doctor.probes import Answer, answer_of
from image.doctor.selectors import Selector
from image.doctor.web_token import Token

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSALS: list[dict[str, str]] = json.loads((Path(__file__).parents[1] / "data/sdk-refusals.json").read_text())[
    "refusals"
]
NOW = 1_800_000_000.0
TEN_CAUSES = (
    *(
        "wrong-class",
        "no-token",
        "expired-token",
        "audience",
        "clock",
        "sts-unreachable",
        "metadata",
        "profile-missing",
    ),
    *("trust-refused", "scp"),
)
BAD_INPUT = (
    "profile-missing",
    "class-without-account",
    "wrong-class",
    "read-only-home",
    "no-region",
    "malformed-token",
)
TARGET = "arn:aws:iam::333333333333:role/cicd/delegated-role-open"
SESSION = "arn:aws:sts::333333333333:assumed-role/delegated-role-open/runner-small"


def profile(name: str = "dev", role_arn: str = TARGET, **changes: Any) -> Profile:
    keys = {"source": "base", "token_file": "", "region": "eu-central-1", "session": "runner-small", "process": ""}
    return Profile(name=name, role_arn=role_arn, **(keys | changes))


def config(runner_class: str = "small") -> Config:
    base = profile("base", f"arn:aws:iam::222222222222:role/cicd/runner-{runner_class}", source="", token_file="/t")
    file = Path("/config")
    return Config(file=file, profiles={"base": base, "dev": profile()}, content=AwsFile(file=file))


def token(**changes: Any) -> Token:
    claims: dict[str, Any] = {
        "subject": "system:serviceaccount:jobs-small:job",
        "audiences": (AUDIENCE,),
        "issued": NOW - 60,
        "expires": NOW + 3540,
        "pod": "runner-x",
        "pod_uid": "uid",
    }
    return Token(**(claims | changes))


def causes(container: Container | None = None, **changes: Any) -> list[str]:
    keys: dict[str, Any] = {
        "config": config(),
        "token": token(),
        "now": NOW,
        "container": container or Container(),
    }
    return [finding.cause for finding in findings(Case(**(keys | changes)))]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal['cause']}-{refusal['sdk']}")
def test_a_refusal_has_the_same_cause_in_the_words_of_every_sdk(refusal: dict[str, str]) -> None:
    assert cause_in(f"{refusal['kind']}: {refusal['error']}") == refusal["cause"]


def test_every_cause_has_advice() -> None:
    assert set(TEN_CAUSES) | set(BAD_INPUT) <= set(ADVICE)
    assert {name for _, name in diagnosis._TEXTS} | set(diagnosis._SUFFICIENT) <= set(ADVICE), "a cause needs advice"


def test_the_expected_audience_is_that_of_the_trusts() -> None:
    assert AUDIENCE == WEB_IDENTITY_AUDIENCE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"token": token(expires=NOW - 1)}, ["expired-token"]),
        ({"token": token(issued=NOW + 600)}, ["clock"]),
        ({"token": token(issued=NOW + 60)}, []),
        ({"token": token(audiences=("https://kubernetes.default.svc",))}, ["audience"]),
        ({"token": token(audiences=())}, ["audience"]),
        ({"config": config("deploy")}, ["wrong-class"]),
        ({"token": token(subject="system:serviceaccount:runner-small:manager")}, ["wrong-class"]),
        ({"token": token(subject="")}, ["wrong-class"]),
        ({"token": None}, []),
        ({"config": None}, []),
        ({"container": Container(sts="https://sts", sts_problem="refused")}, ["sts-unreachable"]),
        ({"container": Container(clock_ahead=-600)}, ["clock"]),
        ({"container": Container(clock_ahead=30)}, []),
        ({"container": Container(metadata="http://169.254.169.254")}, ["metadata"]),
        ({"container": Container(home_problem="/: Read-only file system")}, ["read-only-home"]),
        ({"container": Container(profiles_without_region=("dev",))}, ["no-region"]),
        ({"problems": [Finding(cause="no-token", text="no file")], "token": None}, ["no-token"]),
    ],
)
def test_problems_of_token_and_container_are_found_without_an_sdk(changes: dict[str, Any], expected: list[str]) -> None:
    assert causes(**changes) == expected


@pytest.mark.parametrize("runner_class", ["small", "review"])
@pytest.mark.parametrize("stack", ["", "-dev"])
def test_class_and_stack_are_read_from_the_base_role(runner_class: str, stack: str) -> None:
    job_config = config(f"{runner_class}{stack}")
    assert (job_config.runner_class, job_config.stack) == (runner_class, stack.removeprefix("-"))


def test_a_session_is_recognised_by_role_and_account_and_not_by_name() -> None:
    assert cause_of(Answer(arn=SESSION), profile(), []) == ""
    assert cause_of(Answer(arn=SESSION.replace("/runner-small", "/any")), profile(), []) == ""
    for arn in (
        SESSION.replace("333333333333", "444444444444"),
        SESSION.replace("delegated-role-open", "delegated-role"),
        SESSION.replace("delegated-role-open", "delegated-role-open-dev"),
        SESSION.replace("arn:aws:", "arn:aws-cn:"),
        "arn:aws:iam::333333333333:user/somebody",
    ):
        assert cause_of(Answer(arn=arn), profile(), []) == "another-role", arn


def test_another_role_is_explained_by_a_finding() -> None:
    node = Answer(arn="arn:aws:sts::222222222222:assumed-role/node/i-1")
    assert cause_of(node, profile(), [Finding(cause="metadata", text="")]) == "metadata"
    assert cause_of(node, profile(), [Finding(cause="overridden", text="", fatal=False)]) == "overridden"


def test_a_profile_without_a_role_has_no_expected_session() -> None:
    assert cause_of(Answer(arn=SESSION), profile(role_arn=""), []) == "another-role"


def test_a_finding_goes_before_the_message_of_an_sdk() -> None:
    refusal = Answer(error="Region is missing", kind="RegionMissing")
    assert cause_of(refusal, profile(), []) == "no-region"
    assert cause_of(refusal, profile(), [Finding(cause="no-token", text="")]) == "no-token"
    assert cause_of(refusal, None, []) == "profile-missing", "JavaScript says that the region is missing"
    missing_profile = Finding(cause="class-without-account", text="", profile="prod")
    assert cause_of(refusal, None, [missing_profile], name="prod") == "class-without-account"
    assert cause_of(refusal, None, [missing_profile], name="nowhere") == "profile-missing"
    harmless = Finding(cause="metadata", text="")
    assert cause_of(refusal, profile(), [harmless]) == "no-region", "a metadata service is no reason for a refusal"


@pytest.mark.parametrize(
    ("output", "errors", "expected"),
    [
        ('{"arn": "a", "account": "1", "expires": null}\n', "", Answer(arn="a")),
        ('noise\n{"error": "e", "kind": "k"}\n', "", Answer(error="e", kind="k")),
        ("", "Traceback\nlast words\n", Answer(error="last words", kind="Unknown")),
        ("", "", Answer(error="the probe printed nothing", kind="Unknown")),
        ("[1]\n", "", Answer(error="the probe printed nothing", kind="Unknown")),
    ],
)
def test_the_last_line_of_a_probe_is_its_answer(output: str, errors: str, expected: Answer) -> None:
    assert answer_of(output, errors) == expected


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        ("2027-01-15T08:30:00Z", 1800),
        ("2027-01-15T08:30:00+00:00", 1800),
        ("2027-01-15T09:30:00+01:00", 1800),
        ("2027-01-15T08:30:00", 1800),
        ("", None),
        ("soon", None),
    ],
)
def test_the_end_of_a_session_is_read_in_the_notation_of_every_sdk(expires: str, seconds: int | None) -> None:
    assert report.seconds_left(expires, NOW) == seconds


def row(**changes: Any) -> report.Row:
    keys: dict[str, Any] = {
        "profile": "dev",
        "sdk": "cli",
        "way": "env",
        "expected": TARGET,
        "got": TARGET,
        "session_seconds": 3599,
        "ok": True,
        "cause": "",
        "error": "",
    }
    return report.Row(**(keys | changes))


def report_with(
    rows: list[report.Row],
    *problems: Finding,
    standing: Sequence[report.Row] = (),
    selectors: Sequence[Selector] = (),
) -> report.Report:
    names = ("runner_class", "stack", "service_account", "pipeline", "job", "audit", "config")
    return report.Report(
        **dict.fromkeys(names, "x"),
        container="pod",
        as_it_stands=standing,
        selectors=selectors,
        rows=rows,
        findings=problems,
    )


def test_a_right_report_has_rows_all_right_and_no_fatal_finding() -> None:
    assert report_with([row()]).ok
    assert report_with([row()], Finding(cause="overridden", text="", fatal=False)).ok
    assert not report_with([]).ok, "without an attempt there is no proof"
    assert not report_with([row(), row(ok=False)]).ok
    assert not report_with([row()], Finding(cause="metadata", text="")).ok
    assert not report_with([row()], standing=[row(ok=False)]).ok, "another identity as the job stands is wrong"


def test_the_first_row_is_the_job_as_it_stands() -> None:
    other = "arn:aws:sts::222222222222:assumed-role/runner-small/runner-small"
    standing = [
        row(profile=report.AS_IT_STANDS, way="job"),
        row(profile=report.AS_IT_STANDS, way="job", sdk="go", got=other, ok=False, cause="overridden", error=""),
    ]
    named = Selector(name="AWS_PROFILE", where="dev")
    text = report_with([row(), row(sdk="go")], standing=standing, selectors=[named]).text().splitlines()
    assert " ".join(text[2].split()) == "as it stands 333333333333 delegated-role-open ok 59 min WRONG: runner-small"
    assert "note: AWS_PROFILE (dev): taken by boto3, cli, javascript, go" in text


def test_the_table_has_a_line_for_each_profile_and_marks_failures() -> None:
    refused = row(
        sdk="go", got=report.REFUSED, ok=False, cause="trust-refused", error="not authorized", session_seconds=None
    )
    text = report_with([row(), row(way="named"), refused, row(sdk="go", way="named")]).text()
    assert text.splitlines()[1].split() == ["profile", "account", "role", "cli", "go"]
    assert "dev      333333333333  delegated-role-open  ok 59 min  REFUSED (env)" in text
    assert "dev by go (env): trust-refused: not authorized" in text
    assert ADVICE["trust-refused"] in text


def test_the_json_document_has_the_documented_keys() -> None:
    document = report_with([row()], Finding(cause="clock", text="off")).document()
    assert {"class", "service_account", "container", "pipeline", "job", "rows", "ok"} <= set(document)
    keys = {"profile", "sdk", "way", "expected", "got", "session_seconds", "ok", "cause"}
    assert keys <= set(document["rows"][0])
    assert document["findings"][0]["advice"] == ADVICE["clock"]
    json.dumps(document)


def test_the_audit_line_connects_the_session_with_pipeline_and_job() -> None:
    environment = {"CI_PIPELINE_ID": "11", "CI_JOB_ID": "22", "CI_PROJECT_PATH": "shop/web", "CI_JOB_TOKEN": "secret"}
    line = report.audit_line(environment, "system:serviceaccount:jobs-small:job", "runner-x", "runner-small", NOW)
    assert line == (
        "audit: session=runner-small subject=system:serviceaccount:jobs-small:job pod=runner-x CI_PROJECT_PATH=shop/web "
        "CI_PIPELINE_ID=11 CI_JOB_ID=22 time=2027-01-15T08:00:00Z"
    )
