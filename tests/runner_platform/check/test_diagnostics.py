"""The place of a finding: the line of the settings key that decides it, else the component."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from config import foundation, load, settings
from config.foundation import FoundationAccount, FoundationGitLab, FoundationPlatform
from config.runners import MODELS
from policies.rules import RULES
from runner_platform.check.diagnostics import Places, lines_of
from tests.support.program import mock_run

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

MARKS = {"runner": "*", "account": "*", "entry": "*", "level": "open"}
PATHS = {rule.name: rule.settings for rule in RULES}
BY_ID = {rule.id: rule.name for rule in RULES}
FILE = """\
# a comment: runners
config:
  runner-platform:runners:
    small: {level: open, cpu: "1",
      memory: 2Gi}
    "deploy":
      level: protected
  other-project:runners: {small: {}}
"""


def test_every_key_of_a_stack_file_has_the_line_that_it_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "ROOT", tmp_path)
    (tmp_path / "Pulumi.x.yaml").write_text(FILE)
    assert lines_of("Pulumi.x.yaml", "runner-platform") == {
        "runners": 3,
        "runners.small": 4,
        "runners.small.level": 4,
        "runners.small.cpu": 4,
        "runners.small.memory": 5,
        "runners.deploy": 6,
        "runners.deploy.level": 7,
    }


@pytest.mark.parametrize("text", [None, "", "[]", "config: [", "config: 7", "config: {runner-platform:runners: 7}"])
def test_an_unreadable_or_empty_file_has_no_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.setattr(load, "ROOT", tmp_path)
    if text is not None:
        (tmp_path / "Pulumi.x.yaml").write_text(text)
    assert set(lines_of("Pulumi.x.yaml", "runner-platform")) <= {"runners"}


def test_every_path_that_a_rule_names_is_one_of_the_settings() -> None:
    assert any(PATHS.values())
    for path in (path for paths in PATHS.values() for path in paths):
        top, *keys_below = path.format(**MARKS).split(".")
        models: list[type[BaseModel]] = [
            model
            for model in (
                {**settings.OBJECTS, **settings.MAPPINGS}.get(top),
                {"accounts": FoundationAccount, "gitlab": FoundationGitLab, "platform": FoundationPlatform}.get(top),
            )
            if model is not None
        ]
        models += MODELS.values() if top == "runners" else ()
        assert models, f"{path}: no such key"
        keys = [key for key in keys_below if key != "*"][:1]
        assert all(any(key in model.model_fields for model in models) for key in keys), f"{path}: no such field"


@pytest.mark.parametrize(
    ("stack", "rule", "resource", "setting"),
    [
        ("dev", "R02", "small-runner-release", "runners.small"),
        ("dev", "R01", "medium-runner-release", "runners.medium.builder"),
        ("dev", "R01", "small-runner-release", "runners.small"),
        ("dev", "R08", "deploy-object-1-runner", "runners.deploy"),
        ("dev", "E07", "deploy-runner-jobs", "runners.deploy"),
        ("dev", "T13", "review-runner-aws-config", "runners.review.accounts"),
        ("dev", "T10", "small-identity-job", "runners.small"),
        ("dev", "T10", "delegated-cicd-protected-role", "accounts.cicd.protected"),
        ("dev", "P02", "delegated-dev-open-ecs", "accounts.dev.open"),
        ("dev", "E01", "cluster-cluster", "cluster.access.public_cidrs"),
        ("dev", "E04", "cluster-access-deployer", "cluster.administrators"),
        ("dev", "R07", "small-runner-release", "chart.version"),
        ("dev", "H01", "cicd", "accounts.cicd"),
        ("foundation", "T10", "access-dev-deployer-role", "accounts.dev"),
        ("foundation", "T07", "access-dev-deployer-role", "platform.project"),
        ("foundation", "T06", "access-dev-gitlab", "gitlab.url"),
    ],
)
def test_a_finding_is_shown_at_the_settings_that_decide_it(stack: str, rule: str, resource: str, setting: str) -> None:
    resources = mock_run(stack).resources
    (urn,) = {
        candidate.urn
        for candidate in resources
        if candidate.name == resource and not candidate.type.startswith("runnerplatform:")
    }
    place = Places(stack, resources, PATHS).of(BY_ID[rule], urn)
    assert place.setting == setting
    line = (load.ROOT / place.file).read_text().splitlines()[place.line - 1]
    assert f"{setting.rpartition('.')[2]}:" in line, f"{place.file}:{place.line} is {line!r}"


@pytest.mark.parametrize(
    ("rule", "resource"),
    [("T02", "delegated-dev-open-role"), ("E06", "managers-pool"), ("P02", "small-identity-job-delegated-roles")],
)
def test_a_finding_without_a_setting_is_shown_at_the_component(rule: str, resource: str) -> None:
    resources = [replace(registered, source="components/some.py:12") for registered in mock_run("dev").resources]
    (urn,) = [candidate.urn for candidate in resources if candidate.name == resource]
    place = Places("dev", resources, PATHS).of(BY_ID[rule], urn)
    assert (place.file, place.line, place.setting) == ("components/some.py", 12, "")


def test_a_finding_on_the_whole_stack_is_shown_at_a_path_without_placeholders() -> None:
    places = Places("dev", [], {"first": ["runners.{runner}", "chart.version"], "second": ["runners.{runner}"]})
    assert places.of("first", "").setting == "chart.version"
    assert places.of("second", "").file == ""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the project, so that a test may change it."""
    for folder in ("access", "runner_platform", "components", "config", "foundation", "policies"):
        shutil.copytree(load.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__main__.py", "Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.prod.yaml"):
        shutil.copy(load.ROOT / file, tmp_path)
    return tmp_path


@pytest.mark.processes
def test_check_shows_a_wrong_setting_at_its_line(copy: Path) -> None:
    file = copy / "Pulumi.dev.yaml"
    text = file.read_text()
    file.write_text(text.replace("203.0.113.0/24", "203.0.0.0/8"))
    assert file.read_text() != text
    done = subprocess.run(
        [sys.executable, "-m", "runner_platform", "check", "--stack", "dev", "--reports", str(copy / "reports")],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (entry,) = json.loads((copy / "reports" / "dev" / "codequality.json").read_text())
    line = entry["location"]["lines"]["begin"]
    assert entry["location"]["path"] == "Pulumi.dev.yaml"
    assert "203.0.0.0/8" in file.read_text().splitlines()[line - 1]
    assert entry["description"].endswith("(made at components/cluster.py:" + entry["description"].rpartition(":")[2])
    assert f"cluster.access.public_cidrs, Pulumi.dev.yaml:{line}; components/cluster.py:" in done.stdout
    assert f'file="{entry["location"]["path"]}"' in (copy / "reports" / "dev" / "junit.xml").read_text()
    assert foundation.STACK not in {report.name for report in (copy / "reports").iterdir()}
