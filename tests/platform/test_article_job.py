"""The Terraform job of SennCloud's article, as docs/use/deploying.md shows it: runs on `deploy`, refused on `small`.

OpenTofu is real, and so are its S3 backend and the library that finds credentials. The AWS provider is a stand-in with the same library,
because the real one cannot be had here: it reads the provider block and answers who the job is.
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
    """A project's checkout with the one file."""
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
        "the trail ties the session to the class"
    )


def test_the_same_job_is_refused_on_the_tag_small(sandbox: Sandbox, tmp_path: Path) -> None:
    job = Job(sandbox, "prod", "small", tmp_path)
    done = job.tofu(checkout(tmp_path, documented("main.tf")), "init", "-input=false")
    assert done.returncode == 1
    assert "failed to get shared config profile, admin" in done.stderr.replace("\n", " ")


def test_bringing_the_profile_along_does_not_help(sandbox: Sandbox, tmp_path: Path) -> None:
    job = Job(sandbox, "prod", "small", tmp_path)
    project = checkout(tmp_path, documented("main.tf"))
    own = tmp_path / "own-config"
    role = job.settings.names.role_arn(ADMIN, "delegated-role")
    brought = f"\n[profile admin]\nrole_arn = {role}\nsource_profile = base\nregion = eu-central-1\n"
    own.write_text((tmp_path / "config" if job.variables else own).read_text() + brought)
    done = job.tofu(project, "init", "-input=false", more={"AWS_CONFIG_FILE": str(own)})
    assert done.returncode == 1
    assert "is not authorized to perform: sts:AssumeRole" in done.stderr.replace("\n", " "), done.stderr


@pytest.mark.parametrize("wrong", ["backend", "provider"])
def test_a_profile_of_another_account_stops_at_the_allowed_ids(sandbox: Sandbox, tmp_path: Path, wrong: str) -> None:
    job = Job(sandbox, "prod", "deploy", tmp_path)
    head, provider, rest = documented("main.tf").partition('provider "aws"')
    if wrong == "backend":
        head = head.replace('"admin"', '"prod"')
    else:
        rest = rest.replace('"admin"', '"prod"')
    project = checkout(tmp_path, head + provider + rest)
    done = job.tofu(project, "init", "-input=false")
    if wrong == "provider":
        assert done.returncode == 0, done.stderr
        done = job.tofu(project, "plan", "-input=false")
    assert done.returncode == 1
    assert PROD in done.stderr, "it names the account that it is in"
    assert "not allowed" in done.stderr.lower()
