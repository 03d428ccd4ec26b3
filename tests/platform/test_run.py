"""`runner-platform sandbox run`: pipelines by GitLab Runner itself, with the identities of the deployed stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.real_node.programs import obstacle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

APP = """
stages: [build, deploy]
build:
  stage: build
  tags: [small-dev]
  script:
    - mkdir out
    - echo "VERSION=1.2.3" > build.env && echo "the result" > out/file
  artifacts: {paths: [out/], reports: {dotenv: build.env}}
check:
  stage: build
  needs: []
  tags: [small-dev]
  script: [exit 7]
  allow_failure: {exit_codes: 7}
deploy:
  stage: deploy
  tags: [deploy-dev]
  id_tokens: {TOKEN: {aud: $CI_SERVER_URL}}
  script:
    - echo "$(cat out/file) of $VERSION"
    - echo "token $TOKEN"
"""


def test_the_newcomers_pipeline_shows_what_each_class_may(sandbox: Sandbox) -> None:
    done = sandbox.command("run", "--stack", "prod")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for line in (
        "small  | account dev lets this class in as delegated-role-open/runner-small",
        "small  | account prod refuses this class",
        "deploy | account prod lets this class in as delegated-role/runner-deploy",
        "deploy | account dev refuses this class",
        "review | account cicd refuses this class",
    ):
        assert line in lines
    assert any(line.startswith("small  | state in dev: written by job") for line in lines)
    assert lines[-1].endswith("succeeded")


def test_a_folder_runs_with_artifacts_variables_and_a_masked_token(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text(APP)
    done = sandbox.command("run", str(tmp_path), "--protected")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "deploy | the result of 1.2.3" in lines
    assert "deploy | token [MASKED]" in lines
    rows = {line.split()[0]: line for line in lines[-5:]}
    assert "failed (allowed)" in rows["check"]
    assert rows["check"].split()[-1] == "7"
    assert "success" in rows["deploy"]


def test_a_job_runs_in_a_real_pod_where_the_machine_can(sandbox: Sandbox) -> None:
    reason = obstacle(sandbox.paths)
    if reason:
        pytest.skip(reason)
    done = sandbox.command("run", "--real-pods", "--job", "deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "jobs run in real pods" in done.stdout + done.stderr
    assert "deploy | account cicd lets this class in as delegated-role-dev/runner-deploy-dev" in lines
    assert "deploy | account prod refuses this class" in lines
