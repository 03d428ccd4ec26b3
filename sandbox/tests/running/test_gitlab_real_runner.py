"""GitLab Runner itself as a client of the sandbox's GitLab, without a cluster: it takes a job, reports, and gives it back as failed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.catalogue import GITLAB_RUNNER
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support.gitlab_project import served

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sandbox


def test_the_real_runner_takes_a_job_and_reports_its_end(tmp_path: Path) -> None:
    program = Tools.find(Paths.from_environment()).gitlab_runner
    with served(tmp_path) as gitlab:
        pipeline = gitlab.pipeline("a: {tags: [small], image: alpine, script: [echo], retry: 1}\n")
        runner = gitlab.runner("small")
        command = [program, "run-single", "--url", gitlab.url, "--token", runner.token, "--max-builds", "1"]
        cluster = [
            "--executor",
            "kubernetes",
            "--kubernetes-host",
            "http://127.0.0.1:1",
            "--kubernetes-image",
            "alpine",
        ]
        done = subprocess.run(
            [*command, *cluster],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        again, first = pipeline.jobs.list(include_retried=True, get_all=True)
        assert (first.status, first.failure_reason) == ("failed", "runner_system_failure"), done.stderr
        assert again.status == "pending", "the file's `retry` starts it again"
        trace = gitlab.project.jobs.get(first.id).trace()
        assert f"Running with gitlab-runner {GITLAB_RUNNER.version}".encode() in trace
        assert b"setting up build pod" in trace
    assert "Submitting job to coordinator...ok" in done.stderr
    assert "coordinator... " not in "".join(line for line in done.stderr.splitlines() if "WARNING" in line), done.stderr
