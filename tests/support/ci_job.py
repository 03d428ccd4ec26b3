"""A job of a GitLab pipeline on this machine: a clone, GitLab's variables, and tools that record how they are called."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.ci_components import commands, run, variables_of
from tests.support.small_repository import git

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.gitlab.ci import pipeline

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="the runner image brings jq, this machine has none")
TOKEN = "header.claims.signature"
RECORDER = """#!/bin/sh
printf '%s' "${{0##*/}}" >> '{log}'
for each in "$@"; do printf ' %s' "$each" >> '{log}'; done
echo >> '{log}'
env > '{log}'."${{0##*/}}"
{answers}
"""


class Job:
    """A job's folder: a clone of a small project with its target branch, and recording tools on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "called"
        self.tools = folder / "tools"
        self.origin = folder / "origin"
        self.clone = folder / "clone"
        self.tools.mkdir(parents=True)
        self.environment = folder / "environment"
        (self.environment / "bin").mkdir(parents=True)
        self.origin.mkdir()
        git(self.origin, "init", "-q", "-b", "main")
        (self.origin / "uv.lock").write_text("locked\n")
        (self.environment / "uv.lock").write_text("locked\n")
        (self.origin / "sandbox/tools").mkdir(parents=True)
        (self.origin / "sandbox/tools/bootstrap.sh").write_text(
            "mkdir -p .venv/bin && cp ../tools/* .venv/bin/ && echo set up\n"
        )
        git(self.origin, "add", "-A")
        git(self.origin, "commit", "-q", "-m", "first")
        git(self.folder, "clone", "-q", str(self.origin), str(self.clone))
        git(self.clone, "checkout", "-q", "-b", "feature")
        git(self.clone, "commit", "-q", "--allow-empty", "-m", "change")

    def tool(self, name: str, answers: str = "") -> None:
        """A tool that records its arguments and its environment, and then does what `answers` says."""
        file = self.tools / name
        file.write_text(RECORDER.format(log=self.log, answers=answers))
        file.chmod(0o755)

    @property
    def called(self) -> list[str]:
        """Calls of recording tools, one line each."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def environment_of(self, tool: str) -> dict[str, str]:
        """The environment of a tool's last call."""
        lines = (self.folder / f"called.{tool}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def variables(self, **more: str) -> dict[str, str]:
        """GitLab's predefined variables."""
        known = {
            "CI": "true",
            "CI_COMMIT_SHA": git(self.clone, "rev-parse", "HEAD"),
            "CI_COMMIT_SHORT_SHA": git(self.clone, "rev-parse", "--short=8", "HEAD"),
            "CI_JOB_ID": self.folder.name,
            "CI_PROJECT_ID": "1",
            "CI_PROJECT_DIR": str(self.clone),
            "CI_PROJECT_URL": "https://gitlab.com/senncloud/runner-platform",
            "CI_SERVER_URL": "https://gitlab.com",
            "CI_MERGE_REQUEST_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_PROJECT_URL": f"file://{self.origin}",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "RUNNER_PLATFORM_ID_TOKEN": TOKEN,
            "PATH": f"{self.tools}:{os.defpath}",
            "HOME": str(self.folder),
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        return {**known, **more}

    def run(self, job: pipeline.Job, shell: str = "sh", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a job's before_script and script."""
        return run(commands(job), self.clone, variables_of(job, self.variables(**variables)), shell)

    def begun(self, job: pipeline.Job) -> subprocess.Popen[bytes]:
        """Begin a job's before_script and script, and do not wait."""
        return subprocess.Popen(
            ["sh", "-e", "-c", commands(job)], cwd=self.clone, env=variables_of(job, self.variables())
        )

    def cancel(self, shell: subprocess.Popen[bytes], running: Path, seconds: float = 30) -> None:
        """As soon as the file `running` is there, signal the shell's only child, as a runner does with a cancelled job's."""
        end = time.monotonic() + seconds
        while not running.exists() and time.monotonic() < end:
            time.sleep(0.02)
        listed = ["ps", "-o", "pid=", "--ppid", str(shell.pid)]
        (child,) = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
        os.kill(int(child), signal.SIGTERM)
