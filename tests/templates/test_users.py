"""A merge request's job in a clone of another user: the runner's helper clones as root, and the runner image runs as user 1000."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from components.documents.config_toml import JOB_USER
from tests.support.ci_components import commands, component, variables_of
from tests.support.ci_job import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.gitlab.ci import pipeline

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can clone as one user and run the job as another"),
]


@pytest.fixture
def job() -> Iterator[Job]:
    """A job whose clone belongs to root and can be written by everybody, as the helper leaves it with umask 0000."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o755)
        pipeline_job = Job(Path(folder) / "job")
        pipeline_job.tool("runner-platform")
        subprocess.run(["chmod", "-R", "a+rwX", pipeline_job.folder], check=True)
        # Over HTTPS, Git does not ask who owns the remote repository.
        subprocess.run(["chown", "-R", str(JOB_USER), pipeline_job.origin], check=True)
        yield pipeline_job


def run_as_job_user(job: Job, definition: pipeline.Job) -> subprocess.CompletedProcess[str]:
    variables = variables_of(definition, job.variables(STACK="dev"))
    return subprocess.run(
        ["sh", "-e", "-c", commands(definition)],
        cwd=job.clone,
        env=variables,
        user=JOB_USER,
        group=JOB_USER,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["check", "changes", "note"])
def test_jobs_of_a_merge_request_work_in_a_clone_of_root(job: Job, name: str) -> None:
    definition = component("platform").jobs(environment=str(job.environment), folder=str(job.folder))[name]
    done = run_as_job_user(job, definition)
    assert done.returncode == 0, done.stderr
    assert job.called, "the job reached its command"


def test_without_the_template_s_variables_git_refuses_the_clone_of_root(job: Job) -> None:
    definition = component("platform").jobs(environment=str(job.environment))["check"]
    definition = replace(definition, variables=())
    done = run_as_job_user(job, definition)
    assert done.returncode != 0
    assert "dubious ownership" in done.stderr, "what every merge request's job said in a real pod"
