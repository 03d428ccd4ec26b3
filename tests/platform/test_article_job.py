"""The Terraform job of SennCloud's article, as docs/use/deploying.md shows it: it runs on `deploy` and is refused on `small`.

OpenTofu, its S3 backend and its credentials library are real. The real AWS provider is not available, so a stand-in with the same library
reads the provider block and returns the identity of the job.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.deploying import Job, documented

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

ADMIN, PROD = "111111111111", "444444444444"


def checkout(folder: Path, text: str) -> Path:
    """Write a project's checkout with one file."""
    project = folder / "project"
    project.mkdir()
    (project / "main.tf").write_text(text, encoding="utf-8")
    return project


def test_the_job_runs_on_the_tag_deploy(sandbox: Sandbox, tmp_path: Path) -> None:
    job = Job(sandbox, "prod", "deploy", tmp_path)
    project = checkout(tmp_path, documented("main.tf"))
    done = job.tofu(project, "init", "-input=false")
    assert done.returncode == 0, done.stderr
    done = job.tofu(project, "apply", "-input=false", "-auto-approve")
    assert done.returncode == 0, done.stderr
    outputs = json.loads(job.tofu(project, "output", "-json").stdout)
    assert outputs["account"]["value"] == ADMIN
    assert outputs["role"]["value"] == f"arn:aws:sts::{ADMIN}:assumed-role/delegated-role/runner-deploy", (
        "CloudTrail shows the class in the session name"
    )


def test_the_same_job_is_refused_on_the_tag_small(sandbox: Sandbox, tmp_path: Path) -> None:
    job = Job(sandbox, "prod", "small", tmp_path)
    done = job.tofu(checkout(tmp_path, documented("main.tf")), "init", "-input=false")
    assert done.returncode == 1
    assert "failed to get shared config profile, admin" in done.stderr.replace("\n", " ")


def test_a_profile_of_the_job_s_own_does_not_help(sandbox: Sandbox, tmp_path: Path) -> None:
    job = Job(sandbox, "prod", "small", tmp_path)
    project = checkout(tmp_path, documented("main.tf"))
    own_config = tmp_path / "own-config"
    role = job.settings.names.role_arn(ADMIN, "delegated-role")
    added = f"\n[profile admin]\nrole_arn = {role}\nsource_profile = base\nregion = eu-central-1\n"
    own_config.write_text((tmp_path / "config" if job.variables else own_config).read_text() + added)
    done = job.tofu(project, "init", "-input=false", more={"AWS_CONFIG_FILE": str(own_config)})
    assert done.returncode == 1
    assert "is not authorized to perform: sts:AssumeRole" in done.stderr.replace("\n", " "), done.stderr


@pytest.mark.parametrize("wrong", ["backend", "provider"])
def test_a_profile_of_another_account_stops_at_the_allowed_ids(sandbox: Sandbox, tmp_path: Path, wrong: str) -> None:
    job = Job(sandbox, "prod", "deploy", tmp_path)
    backend, provider, body = documented("main.tf").partition('provider "aws"')
    if wrong == "backend":
        backend = backend.replace('"admin"', '"prod"')
    else:
        body = body.replace('"admin"', '"prod"')
    project = checkout(tmp_path, backend + provider + body)
    done = job.tofu(project, "init", "-input=false")
    if wrong == "provider":
        assert done.returncode == 0, done.stderr
        done = job.tofu(project, "plan", "-input=false")
    assert done.returncode == 1
    assert PROD in done.stderr, "the message names the account of the profile"
    assert "not allowed" in done.stderr.lower()
