"""Jobs of the sandbox's GitLab: the real GitLab Runner takes them, and their scripts run with the identity of their class."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import gitlab
import psutil
import pytest

from config import load
from config.capabilities import Level
from runner_platform_sandbox import state
from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.job_execution import executing
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

STACK = "dev"
SETTINGS = load.of_stack(STACK)
PROJECT = "senncloud/deployments"
STAMP = re.compile(r"^\S+Z \d\d[OE][ +]", re.MULTILINE)
"""Time and stream before each line of the log."""
IDENTITY = """
.who:
  script:
    - echo "job is $(aws sts get-caller-identity --query Arn --output text)"
    - |
      for account in cicd dev prod admin; do
        arn=$(AWS_PROFILE=$account aws sts get-caller-identity --query Arn --output text 2> /dev/null) || arn=refused
        echo "$account is $arn"
      done
    - '! env | grep -E "^AWS_(ROLE_ARN|WEB_IDENTITY_TOKEN_FILE)="'
"""
FILES = """
stages: [build, use]
default: {tags: [small-dev]}
build:
  stage: build
  cache: {key: deps, paths: [deps/]}
  artifacts: {paths: [built.txt]}
  script: [mkdir -p deps, echo kept > deps/cached, git log --format=%s > built.txt]
use:
  stage: use
  cache: {key: deps, paths: [deps/], policy: pull}
  script: ['echo "artifact: $(cat built.txt); cache: $(cat deps/cached)"']
fails: {stage: use, needs: [], script: [exit 7]}
"""


class Ended(NamedTuple):
    """A job after its end."""

    status: str
    text: str
    """Its log."""


def run(sandbox: Sandbox, folder: Path, pipeline: str, classes: list[str]) -> dict[str, Ended]:
    """Run a pipeline on the protected branch and return its jobs by name."""
    current = state.read(sandbox.paths)
    assert current is not None
    client = gitlab.Gitlab(f"http://127.0.0.1:{current.ports.gitlab}", private_token=GITLAB_TOKEN)
    project: Any = client.projects.get(PROJECT)
    if "main" not in [branch.name for branch in project.protectedbranches.list(get_all=True)]:
        project.protectedbranches.create({"name": "main"})
    push(folder, pipeline, project.http_url_to_repo)
    made = project.pipelines.create({"ref": "main"})
    with executing(sandbox.paths, STACK, classes, print):
        until(lambda: ended(project.pipelines.get(made.id)), "the pipeline to end", 300)
    jobs = [project.jobs.get(job.id) for job in made.jobs.list(get_all=True)]
    return {job.name: Ended(job.status, STAMP.sub("", job.trace().decode())) for job in jobs}


def ended(pipeline: Any) -> bool:
    return pipeline.status in {"success", "failed", "canceled"}


def push(folder: Path, pipeline: str, url: str) -> None:
    """Push a repository with this pipeline file alone."""
    (folder / ".gitlab-ci.yml").write_text(pipeline)
    person = {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    variables = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **person}
    remote = url.replace("://", f"://oauth2:{GITLAB_TOKEN}@")
    for command in (
        "init --quiet --initial-branch main",
        "add .gitlab-ci.yml",
        "commit --quiet --message first",
        f"push --quiet --force {remote} main",
    ):
        done = subprocess.run(
            ["git", *command.split()], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def left_behind(sandbox: Sandbox) -> list[str]:
    """Command lines of runner managers and process nodes of the sandbox."""
    commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    root = str(sandbox.root)
    return [command for command in commands if root in command and re.search(r"gitlab-runner|process-node", command)]


def test_a_job_of_each_class_is_let_in_where_the_settings_say(sandbox: Sandbox, tmp_path: Path) -> None:
    names = list(SETTINGS.runners)
    text = IDENTITY + "".join(f"{name}: {{extends: .who, tags: [{SETTINGS.runner_tag(name)}]}}\n" for name in names)
    jobs = run(sandbox, tmp_path, text, names)
    for name, runner in SETTINGS.runners.items():
        role = SETTINGS.names.delegated_role(Level.PROTECTED if runner.level is Level.PROTECTED else Level.OPEN)
        status, log = jobs[name]
        assert status == "success", log
        assert re.search(rf"^job is arn:.*:assumed-role/runner-{name}-{STACK}/", log, re.MULTILINE), log
        for account in ("cicd", "dev", "prod", "admin"):
            answer = f"arn:.*:assumed-role/{role}/" if account in SETTINGS.accounts_of(name) else "refused"
            assert re.search(rf"^{account} is {answer}", log, re.MULTILINE), (account, log)
    assert left_behind(sandbox) == []


def test_cache_artifacts_repository_and_exit_codes_pass_through_the_runner(sandbox: Sandbox, tmp_path: Path) -> None:
    jobs = run(sandbox, tmp_path, FILES, ["small"])
    assert jobs["build"].status == "success", jobs["build"].text
    assert "artifact: first; cache: kept" in jobs["use"].text
    assert jobs["fails"].status == "failed"
    assert "command terminated with exit code 7" in jobs["fails"].text
    assert left_behind(sandbox) == []
