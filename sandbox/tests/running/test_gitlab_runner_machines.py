"""The real GitLab Runner reads the whole configuration of each kind of machine class: no unknown key, no warning."""

from __future__ import annotations

import json
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from components.documents.machines.config import config_toml
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support import job_server
from tests.support.machine_classes import AUTOSCALER, DOCKER, PROTECTED, machine_class
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sandbox

OPEN = {"docker": DOCKER, "docker-autoscaler": AUTOSCALER}
CLASSES = OPEN | {f"{name}, protected": {**values, **PROTECTED} for name, values in OPEN.items()}
NO_FLEETING = "docker-autoscaler takes no job here"
"""What the sandbox's runner says in the place of a first request of this executor (`sandbox/tools/gitlab-runner/main.go`)."""


def written(folder: Path, values: dict[str, Any], url: str) -> Path:
    """Write the configuration of a class, with a token as the host program adds it."""
    document = tomllib.loads(config_toml(machine_class(values)))
    document["runners"][0] |= {"url": url, "token": "glrt-0123456789abcdefghij"}
    file = folder / "config.toml"
    file.write_text(tomli_w.dumps(document))
    return file


@pytest.mark.parametrize("values", CLASSES.values(), ids=CLASSES)
def test_lint_knows_every_key(values: dict[str, Any], tmp_path: Path) -> None:
    program = Tools.find(Paths.from_environment()).gitlab_runner
    command = [program, "lint", "--config", written(tmp_path, values, "https://gitlab.example.com")]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("values", CLASSES.values(), ids=CLASSES)
def test_a_manager_starts_without_a_warning(values: dict[str, Any], tmp_path: Path) -> None:
    program, log = Tools.find(Paths.from_environment()).gitlab_runner, tmp_path / "log"
    with job_server.serving() as gitlab, log.open("wb") as output:
        command = [program, "run", "--config", written(tmp_path, values, gitlab.url)]
        with subprocess.Popen(command, env={"HOME": str(tmp_path)}, stdout=output, stderr=output) as manager:
            try:
                asks = ("POST", "/jobs/request")
                until(lambda: asks in gitlab.requests or NO_FLEETING in log.read_text(), "the runner to ask for a job")
            finally:
                manager.kill()
    entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    warnings = [entry for entry in entries if entry["level"] != "info" and NO_FLEETING not in entry.get("error", "")]
    assert entries
    assert not warnings
