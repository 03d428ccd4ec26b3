"""Findings in GitLab's formats: every entry valid, since GitLab stops at the first invalid one, and no two equal."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from config import load
from runner_platform.check.mock_run import run_program
from runner_platform.reports.findings import CODE_QUALITY, JUNIT, Finding, files
from tests.support.program import findings_of, load_sdks, mock_run, raw

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.thorough

URN = "urn:pulumi:prod::runner-platform::aws:iam/role:Role::job"
RULES = [("T01", "iam-role-x"), ("T02", "iam-role-y"), ("T10", "iam-role-z")]


def finding(**changes: Any) -> Finding:
    plain: dict[str, Any] = {
        "rule": "T01",
        "name": "iam-role-x",
        "level": "mandatory",
        "severity": "high",
        "urn": URN,
        "message": "statement 0 trusts everybody\nName the account.",
    }
    return Finding(**{**plain, **changes})


FINDINGS = [
    finding(file="components/cluster.py", line=12),
    finding(message="statement 1 trusts everybody"),
    finding(rule="T10", name="iam-role-z", urn="", undecided=True, message="UNDECIDED: \x1b[31mthe matrix <&>"),
    finding(rule="T10", name="iam-role-z", deferred=True, level="advisory", message="DEFERRED: assumeRolePolicy"),
    finding(level="advisory", severity="low", message="advice"),
]


def test_every_entry_of_code_quality_is_valid_and_has_a_fingerprint_of_its_own() -> None:
    entries = json.loads(files("prod", FINDINGS, RULES)[CODE_QUALITY])
    assert len({entry["fingerprint"] for entry in entries}) == len(FINDINGS), "equal fingerprints collapse into one"
    for entry in entries:
        assert {"description", "fingerprint", "severity", "location", "check_name"} <= set(entry)
        assert entry["severity"] in {"blocker", "critical", "major", "minor", "info"}
        assert not entry["location"]["path"].startswith(("/", "./")), "relative, as GitLab wants it"
        assert entry["location"]["lines"]["begin"] >= 1
    assert entries[0]["location"] == {"path": "components/cluster.py", "lines": {"begin": 12}}
    assert entries[1]["location"]["path"] == "Pulumi.prod.yaml", "without a known place, the settings file of the stack"
    assert [entry["severity"] for entry in entries] == ["major", "major", "blocker", "info", "info"]
    foundation = json.loads(files("foundation", FINDINGS[1:2], RULES)[CODE_QUALITY])
    assert foundation[0]["location"]["path"] == "foundation/Pulumi.foundation.yaml"


def test_fingerprints_stay_the_same_from_run_to_run() -> None:
    assert files("prod", FINDINGS, RULES) == files("prod", list(FINDINGS), RULES), "GitLab compares branches by them"


def test_a_fingerprint_does_not_move_with_the_line() -> None:
    moved = finding(file="Pulumi.prod.yaml", line=9, setting="runners.job", made_at="components/cluster.py:13")
    entry, before = (json.loads(files("prod", [result], RULES)[CODE_QUALITY])[0] for result in (moved, FINDINGS[0]))
    assert entry["fingerprint"] == before["fingerprint"], "a line above would make an old finding new"
    assert entry["location"] == {"path": "Pulumi.prod.yaml", "lines": {"begin": 9}}
    assert entry["description"].endswith(" (made at components/cluster.py:13)")


def test_junit_shows_failed_passed_and_deferred_rules() -> None:
    suite = ET.fromstring(files("prod", FINDINGS, RULES)[JUNIT]).find("testsuite")  # noqa: S314  # our own text
    assert suite is not None
    assert suite.attrib == {"name": "policies of prod", "tests": "6", "failures": "3", "skipped": "2"}
    names = [case.attrib["name"] for case in suite]
    assert len(set(names)) == len(names), "no test case appears twice"
    assert "T02 iam-role-y" in names, "a rule without findings has passed"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.attrib["message"] == "statement 0 trusts everybody"
    assert "\x1b" not in files("prod", FINDINGS, RULES)[JUNIT], "no control characters in XML"


def test_mandatory_and_undecided_findings_fail_a_check() -> None:
    assert [result.fails for result in FINDINGS] == [True, True, True, False, False]
    assert finding(level="advisory", undecided=True).fails, "an undecided finding fails at every level"


def test_a_mock_run_knows_where_the_program_makes_its_resources() -> None:
    load_sdks()
    resources = run_program("foundation", raw("foundation")).resources
    sources = [resource.source.rpartition(":") for resource in resources]
    places = [(file, int(line)) for file, _, line in sources if file]
    assert len(places) > len(resources) / 2
    for file, line in places:
        assert 0 < line <= len((load.ROOT / file).read_text().splitlines())


@pytest.mark.parametrize("level", ["disabled", "advisory"])
def test_a_pack_of_another_checkout_evaluates_its_own_rules(tmp_path: Path, level: str) -> None:
    target = tmp_path / "target"
    for folder in ("policies", "access", "config", "components/documents"):
        shutil.copytree(load.ROOT / folder, target / folder)
    (target / "components" / "__init__.py").write_text("")
    (target / "policies" / "rules" / "__init__.py").write_text(
        "from policies.rule import resource_rule\n"
        "@resource_rule('X01', 'only-on-the-target-branch', ['aws:iam/role:Role'], demands='d', stops='s', remedy='r.', source='s')\n"
        "def of_the_target(role):\n    yield 'seen by the target branch'\n"
        "RULES = [of_the_target]\n"
    )
    (target / "policies" / "config.json").write_text(json.dumps({"all": level}))
    findings = _evaluated(target / "policies")
    assert {result.rule for result in findings} == {"X01"}, "the rules of the branch under review are not evaluated"
    assert all(result.level == "mandatory" for result in findings), "a configuration cannot lower the level of a rule"


def _evaluated(policies: Path) -> list[Finding]:
    return findings_of("foundation", mock_run("foundation").resources, policies)
