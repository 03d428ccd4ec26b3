"""What passes through the real GitLab Runner: repository, cache, artifacts and exit codes, with the identity of the class alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

PIPELINE = """
stages: [build, use]
default: {tags: [small-dev]}
build:
  stage: build
  cache: {key: deps, paths: [deps/]}
  artifacts: {paths: [who.txt]}
  script:
    - mkdir -p deps && echo kept > deps/cached
    - AWS_PROFILE=dev aws sts get-caller-identity --query Arn --output text > who.txt
use:
  stage: use
  cache: {key: deps, paths: [deps/], policy: pull}
  script:
    - echo "the artifact says $(cat who.txt), the cache says $(cat deps/cached)"
    - git log --format="the commit says %s"
    - '! env | grep -E "^AWS_(ROLE_ARN|WEB_IDENTITY_TOKEN_FILE)="'
fails: {stage: use, needs: [], script: [exit 7]}
"""


def lines(output: str, job: str) -> str:
    """The log of a job in the output of a run."""
    parts = [line.partition(" | ") for line in output.splitlines()]
    return "\n".join(text for name, _, text in parts if name.strip() == job)


def left_behind(sandbox: Sandbox) -> list[str]:
    """Command lines of runner managers and process nodes of the sandbox."""
    commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    root = str(sandbox.root)
    return [command for command in commands if root in command and re.search(r"gitlab-runner|process-node", command)]


def test_cache_artifacts_repository_and_exit_codes_pass_through_the_runner(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text(PIPELINE)
    done = sandbox.command("run", str(tmp_path), "--stack", "dev")
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    log = lines(output, "use")
    identity = r"arn:aws:sts::\d+:assumed-role/delegated-role-open-dev/runner-small-dev"
    assert re.search(f"the artifact says {identity}, the cache says kept", log), output
    assert "the commit says Snapshot of" in log
    assert "success after" in log, "no variable gives a role behind the profiles' back"
    assert re.search(r"^fails +small .* failed +\d+ +7$", output, re.MULTILINE), "the table has the exit code"
    assert left_behind(sandbox) == []
