"""Drift as people and GitLab see it: the issue, the reports, the access matrix of the live stack."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

from access.resource import deployed
from runner_platform.driver import drift
from runner_platform.driver.drift import Drift, DriftedResource, Effect
from runner_platform.reports.findings import Finding
from tests.support.junit import failed_cases

ROLE = "urn:pulumi:dev::runner-platform::runnerplatform:index:Runner$aws:iam/role:Role::job"
BUCKET = "urn:pulumi:dev::runner-platform::aws:s3/bucket:Bucket::cache"
RULES = [("T02", "trusts-no-bare-account"), ("B01", "bucket-is-private")]
FINDING = Finding(
    rule="T02", name="trusts-no-bare-account", level="mandatory", severity="critical", urn=ROLE, message="opens @all"
)
COSMETIC = DriftedResource(urn=ROLE, name="Role job", account="dev", kind=Effect.COSMETIC, properties=["tags"])
WEAKENS = DriftedResource(
    urn="urn:r",
    name="Role x",
    account="dev",
    kind=Effect.WEAKENS,
    properties=["assumeRolePolicy"],
    reasons=["T01 a|b\nmend"],
)
GONE = DriftedResource(urn=BUCKET, name="Bucket cache", account="cicd", kind=Effect.GONE, properties=[])


def reports(*resources: DriftedResource) -> dict[str, str]:
    return drift.report_files("dev", Drift(resources=list(resources)))


def test_live_values_replace_recorded_ones_and_a_lost_resource_is_left_out() -> None:
    recorded = {"manifest": 1, "resources": [{"urn": "a", "inputs": {"x": 1}}, {"urn": "b"}, {"urn": "c", "id": "c"}]}
    live = drift.with_live_values(recorded, {"a": {"inputs": {"x": 2}, "outputs": {}}, "b": None})
    assert live == {
        "manifest": 1,
        "resources": [{"urn": "a", "inputs": {"x": 2}, "outputs": {}}, {"urn": "c", "id": "c"}],
    }


def test_the_issue_lists_the_worst_first_and_says_how_to_undo_it() -> None:
    text = drift.markdown("dev", [COSMETIC, GONE, WEAKENS])
    assert "1 weaken the platform, 1 are gone, 1 differ and open nothing" in text
    assert text.index("Weakens the platform") < text.index("### Gone") < text.index("Differs, and opens")
    assert "a\\|b mend" in text, "a reason cannot end its cell"
    assert "runner-platform refresh --stack dev" in text
    assert drift.markdown("dev", []).strip().endswith("**dev: no drift**")


def test_junit_skips_cosmetic_drift_and_fails_for_the_rest() -> None:
    suite = ET.fromstring(reports(COSMETIC, GONE, WEAKENS)["junit.xml"]).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "2", "1")
    assert len(suite.findall("testcase/failure")) == 2
    clean = ET.fromstring(reports()["junit.xml"]).find("testsuite")  # noqa: S314 - same
    assert clean is not None
    assert len(clean) == 1


def test_drift_writes_every_report_and_the_changes_that_set_it_right() -> None:
    opened = replace(COSMETIC, kind=Effect.WEAKENS, properties=["assumeRolePolicy"], reasons=["T02 opens\nmend it"])
    runner = DriftedResource(
        urn="", name="runner of class big", account="", kind=Effect.WEAKENS, properties=[], reasons=["locked is off"]
    )
    affected = replace(opened, urn=f"{ROLE}-2", properties=[], account="")
    result = Drift(resources=[opened, GONE, runner, affected], findings=[FINDING], rules=RULES)
    files = drift.report_files("dev", result)
    assert json.loads(files["terraform.json"]) == {"create": 1, "update": 2, "delete": 0}, "what `up` would have to do"
    assert [entry["check_name"] for entry in json.loads(files["codequality.json"])] == ["T02 trusts-no-bare-account"]
    failed = failed_cases(files["junit.xml"])
    assert len(failed["drift of dev"]) == 4
    assert failed["policies of dev"] == ["T02 trusts-no-bare-account: job"]
    summary = files["summary.md"]
    assert "`dev`: 3 weaken the platform, 1 are gone, 0 differ" in summary
    assert summary.index("**Weakens the platform**") < summary.index("**Gone**")
    assert "- `Role job` in `dev`: `assumeRolePolicy`" in summary
    assert "runner-platform refresh --stack dev" in summary
    assert "gitlab:index/userRunner:UserRunner" in files["changes.md"]
    assert not result.fine


def test_without_drift_the_reports_say_so_and_every_rule_has_passed() -> None:
    result = Drift(resources=[], rules=RULES)
    files = drift.report_files("dev", result)
    assert result.fine
    assert Drift(resources=[COSMETIC]).fine
    assert json.loads(files["terraform.json"]) == {"create": 0, "update": 0, "delete": 0}
    assert failed_cases(files["junit.xml"]) == {"drift of dev": [], "policies of dev": []}
    assert "no drift" in files["summary.md"]


def test_a_summary_of_much_drift_leads_to_the_whole_list() -> None:
    many = [replace(COSMETIC, urn=f"{ROLE}-{number}") for number in range(40)]
    assert "- and 10 more in `drift.md`" in reports(*many)["summary.md"]


def test_a_live_stack_looks_like_a_mock_run_that_registers_it() -> None:
    provider = "urn:pulumi:dev::runner-platform::pulumi:providers:aws::cicd"
    trust = {"type": "aws:iam/role:Role", "urn": ROLE, "provider": f"{provider}::id", "inputs": {"trust": "was"}}
    live = {
        "resources": [
            {"type": "pulumi:providers:aws", "urn": provider, "inputs": {"profile": "platform-cicd"}},
            {**trust, "outputs": {"trust": "now", "arn": "arn"}},
        ]
    }
    cicd, role = deployed(live)
    assert cicd.name == "cicd"
    assert (role.urn, role.inputs) == (ROLE, {"trust": "now"})
    assert role.provider == cicd.urn
