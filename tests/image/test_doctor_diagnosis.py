"""Doctor's judgement: the cause that each finding and each SDK's own words lead to, and what a person reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from image.doctor import diagnosis, report
from image.doctor.config import Config, Profile
from image.doctor.diagnosis import ADVICE, AUDIENCE, Case, Finding, cause, findings, of_text
from image.doctor.probes import Answer, answer_of
from image.doctor.surroundings import Surroundings
from image.doctor.web_token import Token

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
    return Config(file=Path("/config"), profiles={"base": base, "dev": profile()})


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


def seen(surroundings: Surroundings | None = None, **changes: Any) -> list[str]:
    keys: dict[str, Any] = {
        "config": config(),
        "token": token(),
        "now": NOW,
        "surroundings": surroundings or Surroundings(),
    }
    return [finding.cause for finding in findings(Case(**(keys | changes)))]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: f"{each['cause']}-{each['sdk']}")
def test_the_words_of_every_sdk_lead_to_the_same_cause(refusal: dict[str, str]) -> None:
    assert of_text(f"{refusal['kind']}: {refusal['error']}") == refusal["cause"]


def test_each_cause_has_advice_and_each_usual_one_is_known() -> None:
    assert set(TEN_CAUSES) | set(BAD_INPUT) <= set(ADVICE)
    assert {name for _, name in diagnosis._TEXTS} | set(diagnosis._PROVEN) <= set(ADVICE), (
        "a cause without advice is a riddle"
    )


def test_the_audience_is_the_one_that_trusts_name() -> None:
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
        ({"surroundings": Surroundings(sts="https://sts", sts_trouble="refused")}, ["sts-unreachable"]),
        ({"surroundings": Surroundings(clock_ahead=-600)}, ["clock"]),
        ({"surroundings": Surroundings(clock_ahead=30)}, []),
        ({"surroundings": Surroundings(metadata="http://169.254.169.254")}, ["metadata"]),
        ({"surroundings": Surroundings(overriding=("AWS_ROLE_ARN",))}, ["overridden"]),
        ({"surroundings": Surroundings(home_trouble="/: Read-only file system")}, ["read-only-home"]),
        ({"surroundings": Surroundings(regionless=("dev",))}, ["no-region"]),
        ({"troubles": [Finding(cause="no-token", text="there is none")], "token": None}, ["no-token"]),
    ],
)
def test_what_is_around_a_job_is_told_before_anybody_is_asked(changes: dict[str, Any], expected: list[str]) -> None:
    assert seen(**changes) == expected


@pytest.mark.parametrize("runner_class", ["small", "review"])
@pytest.mark.parametrize("stack", ["", "-dev"])
def test_class_and_stack_are_read_off_the_base_role(runner_class: str, stack: str) -> None:
    read = config(f"{runner_class}{stack}")
    assert (read.runner_class, read.stack) == (runner_class, stack.removeprefix("-"))


def test_the_role_and_account_of_the_answer_decide_and_not_the_session_s_name() -> None:
    assert cause(Answer(arn=SESSION), profile(), []) == ""
    assert cause(Answer(arn=SESSION.replace("/runner-small", "/any")), profile(), []) == ""
    for other in (
        SESSION.replace("333333333333", "444444444444"),
        SESSION.replace("delegated-role-open", "delegated-role"),
        SESSION.replace("delegated-role-open", "delegated-role-open-dev"),
        SESSION.replace("arn:aws:", "arn:aws-cn:"),
        "arn:aws:iam::333333333333:user/somebody",
    ):
        assert cause(Answer(arn=other), profile(), []) == "another-role", other


def test_another_identity_is_put_down_to_what_could_have_brought_it() -> None:
    node = Answer(arn="arn:aws:sts::222222222222:assumed-role/node/i-1")
    assert cause(node, profile(), [Finding(cause="metadata", text="")]) == "metadata"
    assert cause(node, profile(), [Finding(cause="overridden", text="", fatal=False)]) == "overridden"


def test_a_profile_without_a_role_is_nobody_s() -> None:
    assert cause(Answer(arn=SESSION), profile(role_arn=""), []) == "another-role"


def test_what_is_proven_goes_before_what_an_sdk_says() -> None:
    refusal = Answer(error="Region is missing", kind="RegionMissing")
    assert cause(refusal, profile(), []) == "no-region"
    assert cause(refusal, profile(), [Finding(cause="no-token", text="")]) == "no-token"
    assert cause(refusal, None, []) == "profile-missing", "JavaScript says that the region is missing"
    elsewhere = Finding(cause="class-without-account", text="", profile="prod")
    assert cause(refusal, None, [elsewhere], name="prod") == "class-without-account"
    assert cause(refusal, None, [elsewhere], name="nowhere") == "profile-missing"
    harmless = Finding(cause="metadata", text="")
    assert cause(refusal, profile(), [harmless]) == "no-region", "a metadata service refuses nobody"


@pytest.mark.parametrize(
    ("output", "errors", "expected"),
    [
        ('{"arn": "a", "account": "1", "expires": null}\n', "", Answer(arn="a")),
        ('noise\n{"error": "e", "kind": "k"}\n', "", Answer(error="e", kind="k")),
        ("", "Traceback\nlast words\n", Answer(error="last words", kind="Unknown")),
        ("", "", Answer(error="the probe said nothing", kind="Unknown")),
        ("[1]\n", "", Answer(error="the probe said nothing", kind="Unknown")),
    ],
)
def test_a_probe_s_last_line_is_its_answer(output: str, errors: str, expected: Answer) -> None:
    assert answer_of(output, errors) == expected


@pytest.mark.parametrize(
    ("expires", "left"),
    [
        ("2027-01-15T08:30:00Z", 1800),
        ("2027-01-15T08:30:00+00:00", 1800),
        ("2027-01-15T09:30:00+01:00", 1800),
        ("2027-01-15T08:30:00", 1800),
        ("", None),
        ("soon", None),
    ],
)
def test_what_is_left_of_a_session_is_told_in_every_sdk_s_notation(expires: str, left: int | None) -> None:
    assert report.seconds_left(expires, NOW) == left


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


def made(rows: list[report.Row], *found: Finding) -> report.Report:
    names = ("runner_class", "stack", "service_account", "pipeline", "job", "audit", "config")
    return report.Report(**dict.fromkeys(names, "x"), rows=rows, findings=found)


def test_the_verdict_needs_rows_all_of_them_and_no_fatal_finding() -> None:
    assert made([row()]).ok
    assert made([row()], Finding(cause="overridden", text="", fatal=False)).ok
    assert not made([]).ok, "nothing asked is nothing proven"
    assert not made([row(), row(ok=False)]).ok
    assert not made([row()], Finding(cause="metadata", text="")).ok


def test_the_table_shows_each_profile_once_and_names_the_way_that_went_wrong() -> None:
    refused = row(
        sdk="go", got=report.REFUSED, ok=False, cause="trust-refused", error="not authorized", session_seconds=None
    )
    text = made([row(), row(way="named"), refused, row(sdk="go", way="named")]).text()
    assert text.splitlines()[1].split() == ["profile", "account", "role", "cli", "go"]
    assert "dev      333333333333  delegated-role-open  ok 59 min  REFUSED (env)" in text
    assert "dev by go (env): trust-refused: not authorized" in text
    assert ADVICE["trust-refused"] in text


def test_the_document_has_the_keys_that_machines_read() -> None:
    document = made([row()], Finding(cause="clock", text="off")).document()
    assert {"class", "service_account", "pipeline", "job", "rows", "ok"} <= set(document)
    keys = {"profile", "sdk", "way", "expected", "got", "session_seconds", "ok", "cause"}
    assert keys <= set(document["rows"][0])
    assert document["findings"][0]["advice"] == ADVICE["clock"]
    json.dumps(document)


def test_the_audit_line_ties_the_session_to_pipeline_and_job() -> None:
    environment = {"CI_PIPELINE_ID": "11", "CI_JOB_ID": "22", "CI_PROJECT_PATH": "shop/web", "CI_JOB_TOKEN": "secret"}
    line = report.audit_line(environment, "system:serviceaccount:jobs-small:job", "runner-x", "runner-small", NOW)
    assert line == (
        "audit: session=runner-small subject=system:serviceaccount:jobs-small:job pod=runner-x CI_PROJECT_PATH=shop/web "
        "CI_PIPELINE_ID=11 CI_JOB_ID=22 time=2027-01-15T08:00:00Z"
    )
