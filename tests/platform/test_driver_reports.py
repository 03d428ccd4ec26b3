"""Reports of the driver on the real stack: of a good preview, of a refused preview, of a stopped run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from runner_platform.driver import remaining_changes
from tests.support.copied_program import copied

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox
ALL = {
    "access.json",
    "access.md",
    "changes.md",
    "codequality.json",
    "junit.xml",
    "summary.md",
    "terraform.json",
}


def previewed(sandbox: Sandbox, reports: Path, *more: str) -> Completed:
    command = [sys.executable, "-m", "runner_platform", "preview", "--stack", "dev", "--reports", str(reports), *more]
    return sandbox.run(command, sandbox.variables)


def failed(junit: Path) -> dict[str, int]:
    """Number of failed cases by suite."""
    suites = ET.parse(junit).getroot()  # noqa: S314  # written by this project
    return {str(suite.get("name")): len(suite.findall("testcase/failure")) for suite in suites}


def test_a_preview_of_a_deployed_stack_writes_every_report(sandbox: Sandbox, tmp_path: Path) -> None:
    done = previewed(sandbox, tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "dev"
    assert {file.name for file in folder.iterdir()} == ALL
    assert json.loads((folder / "terraform.json").read_text()) == {"create": 0, "update": 0, "delete": 0}
    assert json.loads((folder / "codequality.json").read_text()) == []
    assert failed(folder / "junit.xml") == {"preview of dev": 0, "policies of dev": 0}
    assert "`dev`: no changes" in (folder / "summary.md").read_text()
    cells = json.loads((folder / "access.json").read_text())
    assert any(entry["answer"] == "ALLOWED" for entry in cells)
    assert "as the settings declare it" in (folder / "access.md").read_text()


def test_a_preview_that_a_policy_refuses_writes_its_findings_and_no_counts(sandbox: Sandbox, tmp_path: Path) -> None:
    program = copied(tmp_path)
    trust = program / "components" / "documents" / "trust.py"
    opened = trust.read_text().replace('"ArnEquals": {"aws:PrincipalArn": sorted(role_arns)},', "")
    assert opened != trust.read_text(), "the seed fell on stone: the document is written otherwise now"
    trust.write_text(opened)
    done = previewed(sandbox, tmp_path / "reports", "--folder", str(program))
    assert done.returncode == 1, done.stderr
    folder = tmp_path / "reports" / "dev"
    assert not (folder / "terraform.json").exists()
    severities = {
        entry["check_name"]: entry["severity"] for entry in json.loads((folder / "codequality.json").read_text())
    }
    assert severities["T02 iam-role-trusts-no-bare-account"] == "critical"
    assert "T10 iam-role-reach-matches-the-matrix" in severities, "a rule of the whole stack"
    counts = failed(folder / "junit.xml")
    assert counts["preview of dev"] == 1
    assert counts["policies of dev"] == len(json.loads((folder / "codequality.json").read_text()))
    summary = (folder / "summary.md").read_text()
    assert "preview failed" in summary
    assert "mandatory T02 `iam-role-trusts-no-bare-account`: `Role delegated-dev-open-role`" in summary


def test_an_interrupted_run_on_a_complete_stack_leaves_no_changes(sandbox: Sandbox) -> None:
    """A mock run and the engine must name resources alike, or all of them would seem to remain."""
    script = (
        "from runner_platform.driver import project, remaining_changes as changes; "
        "from runner_platform.driver.engine_progress import Progress; dev = project.find('dev'); "
        "print([len(changes.lines(dev, operation, Progress())) for operation in ('up', 'destroy')])"
    )
    done = sandbox.run([sys.executable, "-c", script], sandbox.variables)
    assert done.stdout.strip() == f"[0, {remaining_changes.MOST + 1}]", done.stderr
