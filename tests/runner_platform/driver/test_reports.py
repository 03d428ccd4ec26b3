"""What a preview and a drift write for GitLab: findings as the engine told them, counts, summaries, and nothing that is not known."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from pulumi.runtime import proto

from runner_platform.check.findings import Finding
from runner_platform.check.shown import Shown
from runner_platform.driver import drift_access, drift_report, policy_findings, preview_report
from runner_platform.driver.drift import Difference, Drift, Kind
from runner_platform.driver.events import Progress
from runner_platform.driver.policy_findings import Rules
from runner_platform.errors import FailedError
from runner_platform.reports import files, junit
from tests.support.stack_states import project, write_state

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.driver.session import Session

ROLE = "urn:pulumi:dev::runner-platform::runnerplatform:index:Runner$aws:iam/role:Role::job"
BUCKET = "urn:pulumi:dev::runner-platform::aws:s3/bucket:Bucket::cache"
RULES = Rules(
    names=[("T02", "trusts-no-bare-account"), ("B01", "bucket-is-private")],
    severities={"trusts-no-bare-account": proto.POLICY_SEVERITY_CRITICAL},
)
VIOLATION = {
    "policy": "trusts-no-bare-account",
    "level": "mandatory",
    "urn": ROLE,
    "message": "T02: a trust names roles\nstatement 0 trusts @everybody\nAdd ArnEquals.",
}


def step(operation: str, urn: str = BUCKET, *, reasons: list[str] | None = None) -> dict[str, Any]:
    kind = urn.split("::")[2].rpartition("$")[2]
    return {
        "operation": operation,
        "urn": urn,
        "type": kind,
        "account": "cicd",
        "properties": ["tags"],
        "reasons": reasons or [],
    }


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A preview that has ended, of a stack that the rules judge."""
    found = project(tmp_path)
    write_state(found, [], [{"type": "creating", "resource": {"urn": BUCKET}}])
    monkeypatch.setattr(policy_findings, "rules_of", lambda _: RULES)
    subprocess.run(["git", "init", "-q", str(found.folder)], check=True)
    said: list[str] = []
    return cast("Session", SimpleNamespace(project=found, progress=Progress(), say=said.append, said=said))


def suites(document: str) -> dict[str, list[str]]:
    """Names of the cases that failed, by suite."""
    return {
        str(suite.get("name")): [str(case.get("name")) for case in suite if case.find("failure") is not None]
        for suite in ET.fromstring(document)  # noqa: S314  # our own
    }


def test_what_the_engine_told_becomes_a_finding_with_the_packs_severity() -> None:
    advice = {**VIOLATION, "level": "advisory", "policy": "other", "message": "B01: about\nDEFERRED until it exists"}
    strict, soft = policy_findings.of_events("dev", [VIOLATION, advice], RULES)
    assert (strict.rule, strict.level, strict.severity, strict.urn) == ("T02", "mandatory", "critical", ROLE)
    assert strict.message == "statement 0 trusts @everybody\nAdd ArnEquals."
    assert strict.fails
    assert (soft.rule, soft.severity, soft.deferred, soft.fails) == ("B01", "medium", True, False)


def test_a_finding_is_shown_where_the_program_makes_the_resource() -> None:
    made = Shown(urn=ROLE, type="aws:iam/role:Role", name="job", inputs={}, source="components/runner_identity.py:70")
    (found,) = policy_findings.of_events("dev", [VIOLATION], RULES, [made])
    assert (found.urn, found.made_at) == (ROLE, "components/runner_identity.py:70")


def test_a_preview_writes_counts_changes_findings_and_what_to_do_next(session: Session, tmp_path: Path) -> None:
    session.progress.steps += [
        step("update", ROLE),
        *(step(each, reasons=["bucket"]) for each in ("create-replacement", "replace", "delete-replaced")),
    ]
    written = preview_report.files(session, plan=tmp_path / "plans" / "dev.json")
    assert json.loads(written["terraform.json"] or "") == {"create": 1, "update": 1, "delete": 1}
    assert json.loads(written["codequality.json"] or "") == []
    assert suites(written["junit.xml"] or "") == {"preview of test": [], "policies of test": []}
    assert "bucket-is-private" in (written["junit.xml"] or ""), "a rule that found nothing has passed"
    summary = written["summary.md"] or ""
    assert "`test`: 1 to replace, 1 to update" in summary
    assert "its objects are lost" in summary
    assert "- creating `Bucket cache`" in summary, "what a killed run left"
    assert f"up --stack test --plan {tmp_path}/plans/dev.json" in summary
    assert "values are left out" in (written["changes.md"] or "")


def test_a_preview_that_a_policy_refuses_shows_the_findings_and_claims_nothing_else(session: Session) -> None:
    session.progress.violations.append(VIOLATION)
    session.progress.errors += ["Role job: AccessDenied: no", "preview failed"]
    written = preview_report.files(session, failure="preview of test failed:\n  preview failed")
    assert written["terraform.json"] is None, "counts of half a preview would be wrong"
    (entry,) = json.loads(written["codequality.json"] or "")
    assert (entry["check_name"], entry["severity"]) == ("T02 trusts-no-bare-account", "critical")
    failed = suites(written["junit.xml"] or "")
    assert failed == {
        "preview of test": ["the engine plans it"],
        "policies of test": ["T02 trusts-no-bare-account: job"],
    }
    assert "bucket-is-private" not in (written["junit.xml"] or ""), "nobody knows whether it was asked"
    summary = written["summary.md"] or ""
    assert "preview failed, no changes until then" in summary
    assert "**Policies: 1 refuse, 0 advise or wait**" in summary
    assert "`statement 0 trusts @everybody`" in summary
    assert "AccessDenied" in summary
    assert "up --stack" not in summary


def test_reports_that_cannot_be_made_do_not_hide_why_the_preview_failed(session: Session, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    preview_report.write(session, tmp_path / "file", failure="it failed")
    (said,) = cast("Any", session).said
    assert said.startswith("reports are not complete: ")
    with pytest.raises(FailedError, match="cannot be written"):
        preview_report.write(session, tmp_path / "file")


def test_a_summary_names_the_first_findings_and_counts_the_rest(session: Session) -> None:
    session.progress.violations += [{**VIOLATION, "urn": f"{ROLE}-{number}"} for number in range(40)]
    summary = preview_report.files(session, failure="no")["summary.md"] or ""
    assert summary.count("T02") == preview_report.MOST
    assert "- and 10 more" in summary


def test_what_an_earlier_run_left_is_taken_away_where_this_one_cannot_say_it(tmp_path: Path) -> None:
    files.write(tmp_path, "dev", {"terraform.json": "{}", "summary.md": "old"})
    files.write(tmp_path, "dev", {"terraform.json": None, "summary.md": "new", "gone.md": None})
    assert [each.name for each in (tmp_path / "dev").iterdir()] == ["summary.md"]
    assert (tmp_path / "dev" / "summary.md").read_text() == "new"


def test_suites_are_put_together_and_what_xml_cannot_hold_is_left_out() -> None:
    one = junit.document(
        "one", [junit.Case(name="a\0", failure="no\x1b", kind="x", details="more"), junit.Case(name="b")]
    )
    other = junit.document("other", [junit.Case(name="c", skipped="later")])
    assert suites(junit.joined(one, other)) == {"one": ["a"], "other": []}
    assert 'tests="2" failures="1" skipped="0"' in one
    assert 'tests="1" failures="0" skipped="1"' in other


DIFFERS = Difference(urn=ROLE, name="Role job", account="dev", kind=Kind.COSMETIC, properties=["tags"])
FINDING = Finding(
    rule="T02", name="trusts-no-bare-account", level="mandatory", severity="critical", urn=ROLE, message="opens @all"
)


def test_drift_writes_every_report_and_tells_what_sets_it_right() -> None:
    opened = replace(DIFFERS, kind=Kind.WEAKENS, properties=["assumeRolePolicy"], reasons=["T02 opens\nmend it"])
    gone = Difference(urn=BUCKET, name="Bucket cache", account="cicd", kind=Kind.GONE, properties=[])
    runner = Difference(
        urn="", name="runner of class big", account="", kind=Kind.WEAKENS, properties=[], reasons=["locked is off"]
    )
    told = replace(opened, urn=f"{ROLE}-2", properties=[], account="")
    drift = Drift(differences=[opened, gone, runner, told], findings=[FINDING], rules=RULES.names)
    written = drift_report.files("dev", drift)
    assert json.loads(written["terraform.json"]) == {"create": 1, "update": 2, "delete": 0}, (
        "what `up` would have to do"
    )
    assert [each["check_name"] for each in json.loads(written["codequality.json"])] == ["T02 trusts-no-bare-account"]
    failed = suites(written["junit.xml"])
    assert len(failed["drift of dev"]) == 4
    assert failed["policies of dev"] == ["T02 trusts-no-bare-account: job"]
    summary = written["summary.md"]
    assert "`dev`: 3 weaken the platform, 1 are gone, 0 differ" in summary
    assert summary.index("**Weakens the platform**") < summary.index("**Gone**")
    assert "- `Role job` in `dev`: `assumeRolePolicy`" in summary
    assert "runner-platform refresh --stack dev" in summary
    assert "gitlab:index/userRunner:UserRunner" in written["changes.md"]
    assert not drift.fine


def test_without_drift_the_reports_say_so_and_rules_have_passed() -> None:
    drift = Drift(differences=[], rules=RULES.names)
    written = drift_report.files("dev", drift)
    assert drift.fine
    assert Drift(differences=[DIFFERS]).fine, "cosmetic"
    assert json.loads(written["terraform.json"]) == {"create": 0, "update": 0, "delete": 0}
    assert suites(written["junit.xml"]) == {"drift of dev": [], "policies of dev": []}
    assert "no drift" in written["summary.md"]


def test_a_summary_of_much_drift_leads_to_the_whole_list() -> None:
    many = [replace(DIFFERS, urn=f"{ROLE}-{number}") for number in range(40)]
    assert "- and 10 more in `drift.md`" in drift_report.files("dev", Drift(differences=many))["summary.md"]


def test_a_live_stack_is_shown_to_the_reasoner_as_its_program_would_register_it() -> None:
    provider = "urn:pulumi:dev::runner-platform::pulumi:providers:aws::cicd"
    trust = {"type": "aws:iam/role:Role", "urn": ROLE, "provider": f"{provider}::id", "inputs": {"trust": "was"}}
    live = {
        "resources": [
            {"type": "pulumi:providers:aws", "urn": provider, "inputs": {"profile": "platform-cicd"}},
            {**trust, "outputs": {"trust": "now", "arn": "arn"}},
        ]
    }
    bound, role = drift_access.of_deployment(live).registrations
    assert bound.name == "cicd"
    assert (role.urn, role.inputs) == (ROLE, {"trust": "now"})
    assert role.provider.rpartition("::")[0] == bound.urn
