"""The reports of a preview: findings from the engine's events, counts, summaries, and no claims after a failure."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from pulumi.runtime import proto

from access.resource import Resource
from runner_platform.driver import preview_report
from runner_platform.driver.engine_progress import Progress
from runner_platform.driver.preview_report import Rules
from runner_platform.errors import FailedError
from runner_platform.reports import change, files, junit
from tests.support.junit import failed_cases
from tests.support.stack_states import project, write_state

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.driver.run import Run

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
    return {
        "operation": operation,
        "urn": urn,
        "type": urn.split("::")[2].rpartition("$")[2],
        "account": "cicd",
        "properties": ["tags"],
        "reasons": reasons or [],
    }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A preview that has ended, of a stack with a policy pack."""
    stack = project(tmp_path)
    write_state(stack, [], [{"type": "creating", "resource": {"urn": BUCKET}}])
    monkeypatch.setattr(preview_report, "read_rules", lambda _: RULES)
    subprocess.run(["git", "init", "-q", str(stack.folder)], check=True)
    sentences: list[str] = []
    return cast("Run", SimpleNamespace(project=stack, progress=Progress(), say=sentences.append, sentences=sentences))


def test_a_violation_becomes_a_finding_with_the_packs_severity() -> None:
    advice = {**VIOLATION, "level": "advisory", "policy": "other", "message": "B01: about\nDEFERRED until it exists"}
    mandatory, advisory = preview_report.findings_of("dev", [VIOLATION, advice], RULES)
    assert (mandatory.rule, mandatory.level, mandatory.severity, mandatory.urn) == (
        "T02",
        "mandatory",
        "critical",
        ROLE,
    )
    assert mandatory.message == "statement 0 trusts @everybody\nAdd ArnEquals."
    assert mandatory.fails
    assert (advisory.rule, advisory.severity, advisory.deferred, advisory.fails) == ("B01", "medium", True, False)


def test_a_finding_points_to_the_source_that_makes_the_resource() -> None:
    role = Resource(
        urn=ROLE, type="aws:iam/role:Role", name="job", inputs={}, source="components/runner_identity.py:70"
    )
    (finding,) = preview_report.findings_of("dev", [VIOLATION], RULES, [role])
    assert (finding.urn, finding.made_at) == (ROLE, "components/runner_identity.py:70")


def test_a_preview_writes_counts_changes_findings_and_the_next_command(run: Run, tmp_path: Path) -> None:
    run.progress.steps += [
        step("update", ROLE),
        *(step(operation, reasons=["bucket"]) for operation in ("create-replacement", "replace", "delete-replaced")),
    ]
    reports = preview_report.contents(run, plan=tmp_path / "plans" / "dev.json")
    assert json.loads(reports["terraform.json"] or "") == {"create": 1, "update": 1, "delete": 1}
    assert json.loads(reports["codequality.json"] or "") == []
    assert failed_cases(reports["junit.xml"] or "") == {"preview of test": [], "policies of test": []}
    assert "bucket-is-private" in (reports["junit.xml"] or ""), "a rule without findings has passed"
    summary = reports["summary.md"] or ""
    assert "`test`: 1 to replace, 1 to update" in summary
    assert "its objects are lost" in summary
    assert "- creating `Bucket cache`" in summary, "what a killed run left"
    assert f"up --stack test --plan {tmp_path}/plans/dev.json" in summary
    assert "values are left out" in (reports["changes.md"] or "")


def test_a_preview_that_a_policy_refuses_shows_the_findings_and_claims_nothing_else(run: Run) -> None:
    run.progress.violations.append(VIOLATION)
    run.progress.errors += ["Role job: AccessDenied: no", "preview failed"]
    reports = preview_report.contents(run, failure="preview of test failed:\n  preview failed")
    assert reports["terraform.json"] is None, "counts of half a preview would be wrong"
    (entry,) = json.loads(reports["codequality.json"] or "")
    assert (entry["check_name"], entry["severity"]) == ("T02 trusts-no-bare-account", "critical")
    assert failed_cases(reports["junit.xml"] or "") == {
        "preview of test": ["the engine plans it"],
        "policies of test": ["T02 trusts-no-bare-account: job"],
    }
    assert "bucket-is-private" not in (reports["junit.xml"] or ""), "the rule may not have run"
    summary = reports["summary.md"] or ""
    assert "preview failed, no changes until then" in summary
    assert "**Policies: 1 refuse, 0 advise or wait**" in summary
    assert "`statement 0 trusts @everybody`" in summary
    assert "AccessDenied" in summary
    assert "up --stack" not in summary


def test_an_error_while_writing_reports_does_not_hide_the_previews_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    preview_report.write(run, tmp_path / "file", failure="it failed")
    (sentence,) = cast("Any", run).sentences
    assert sentence.startswith("reports are not complete: ")
    with pytest.raises(FailedError, match="cannot be written"):
        preview_report.write(run, tmp_path / "file")


def test_a_summary_names_the_first_findings_and_counts_the_others(run: Run) -> None:
    run.progress.violations += [{**VIOLATION, "urn": f"{ROLE}-{number}"} for number in range(40)]
    summary = preview_report.contents(run, failure="no")["summary.md"] or ""
    assert summary.count("T02") == preview_report.MOST
    assert "- and 10 more" in summary


def test_a_replacement_in_three_steps_is_one_change_with_its_reasons() -> None:
    cluster = {**step("create-replacement", "urn:pulumi:dev::p::aws:eks/cluster:Cluster::c"), "reasons": ["name"]}
    steps = [{**cluster, "operation": operation} for operation in ("create-replacement", "replace", "delete-replaced")]
    steps += [step("update", ROLE), step("discard")]
    replaced, updated = preview_report.changes_of(steps)
    assert (replaced.kind, replaced.reasons, replaced.name) == (change.Kind.REPLACE, ("name",), "c")
    assert (updated.kind, updated.account) == (change.Kind.UPDATE, "cicd")


def test_an_older_report_is_removed_if_the_next_run_has_none(tmp_path: Path) -> None:
    files.write(tmp_path, "dev", {"terraform.json": "{}", "summary.md": "old"})
    files.write(tmp_path, "dev", {"terraform.json": None, "summary.md": "new", "gone.md": None})
    assert [file.name for file in (tmp_path / "dev").iterdir()] == ["summary.md"]
    assert (tmp_path / "dev" / "summary.md").read_text() == "new"


def test_suites_are_joined_without_the_characters_that_xml_cannot_hold() -> None:
    first = junit.document(
        "first", [junit.Case(name="a\0", failure="no\x1b", kind="x", details="more"), junit.Case(name="b")]
    )
    second = junit.document("second", [junit.Case(name="c", skipped="later")])
    assert failed_cases(junit.joined(first, second)) == {"first": ["a"], "second": []}
    assert 'tests="2" failures="1" skipped="0"' in first
    assert 'tests="1" failures="0" skipped="1"' in second
