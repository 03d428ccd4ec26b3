"""The CI/CD components of application teams with the real tools, as jobs of a class in the sandbox's accounts."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ci_components import commands, component, run, variables_of
from tests.support.deploying import Job

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(shutil.which("jq") is None, reason="this machine lacks jq, which the runner image has"),
]
CLASSES = {"dev": "small", "prod": "deploy"}
ROOT = """
terraform {{
  backend "s3" {{
    bucket       = "{bucket}"
    key          = "{key}"
    region       = "eu-central-1"
    use_lockfile = true
  }}
}}

resource "terraform_data" "release" {{
  input = "{release}"
}}
"""


@pytest.fixture
def jobs(sandbox: Sandbox, tmp_path: Path) -> dict[str, Job]:
    """A job of an open class for dev, and one of the protected class for prod."""
    by_target = {}
    for target, runner_class in CLASSES.items():
        folder = tmp_path / target
        folder.mkdir()
        by_target[target] = Job(sandbox, "prod", runner_class, folder)
    return by_target


def run_job(job: Job, name: str, template: str, **inputs: Any) -> subprocess.CompletedProcess[str]:
    """Run a job of a component with the identity of a class's job."""
    definition = component(template).jobs(**inputs)[name]
    variables = {
        **job.variables,
        "CI_COMMIT_SHORT_SHA": "0a1b2c3d",
        "CI_COMMIT_SHA": "0a1b2c3d" * 5,
        "CI_JOB_ID": f"{job.folder.parent.name}-{name.replace(':', '-')}",
        "CI_PROJECT_DIR": str(job.folder),
        "CI_COMMIT_BRANCH": "main",
        "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_REF_PROTECTED": "true",
    }
    return run(commands(definition), job.folder, variables_of(definition, variables), seconds=300)


@pytest.mark.parametrize("target", CLASSES)
def test_a_service_on_ecs_gets_its_new_image(jobs: dict[str, Job], target: str) -> None:
    job = jobs[target]
    ecs = job.as_root(target)("ecs")
    ecs.create_cluster(clusterName="shop")
    ecs.register_task_definition(
        family="web", containerDefinitions=[{"name": "web", "image": "old:1", "memory": 64, "essential": True}]
    )
    ecs.create_service(cluster="shop", serviceName="web", taskDefinition="web", desiredCount=0)
    try:
        done = run_job(job, f"ecs:{target}", "ecs")
        assert done.returncode == 0, done.stdout + done.stderr
        current = ecs.describe_services(cluster="shop", services=["web"])["services"][0]["taskDefinition"]
        image = ecs.describe_task_definition(taskDefinition=current)["taskDefinition"]["containerDefinitions"][0][
            "image"
        ]
        level = "open" if target == "dev" else "protected"
        assert image == f"222222222222.dkr.ecr.eu-central-1.amazonaws.com/{level}/shop/web:0a1b2c3d"
    finally:
        ecs.delete_service(cluster="shop", service="web", force=True)
        ecs.delete_cluster(cluster="shop")


def test_an_open_class_does_not_deploy_to_production(jobs: dict[str, Job]) -> None:
    done = run_job(jobs["dev"], "ecs:prod", "ecs")
    assert done.returncode != 0
    assert "prod" in done.stderr, "the class has no profile prod"


def test_opentofu_applies_exactly_its_saved_plan_in_both_accounts(jobs: dict[str, Job]) -> None:
    for target, job in jobs.items():
        module = job.folder / "infrastructure" / target
        module.mkdir(parents=True)
        text = ROOT.format(bucket=job.state_bucket(target), key=job.state_key("templates"), release="1")
        (module / "main.tf").write_text(text)
        planned = run_job(job, f"tofu:plan:{target}", "opentofu")
        assert planned.returncode == 0, planned.stdout + planned.stderr
        assert json.loads((module / "counts.json").read_text()) == {"create": 1, "update": 0, "delete": 0}
        (module / "main.tf").write_text(text.replace('"1"', '"2"'))
        applied = run_job(job, f"tofu:{target}", "opentofu")
        assert applied.returncode == 0, applied.stdout + applied.stderr
        assert "1 added, 0 changed, 0 destroyed" in applied.stdout, "the saved plan, although the files have changed"
        again = run_job(job, f"tofu:plan:{target}", "opentofu")
        assert json.loads((module / "counts.json").read_text()) == {"create": 0, "update": 1, "delete": 0}, again.stdout


@pytest.mark.parametrize("target", CLASSES)
def test_a_teams_own_commands_run_in_the_right_account(jobs: dict[str, Job], target: str) -> None:
    script = ['echo "$TARGET as $(aws sts get-caller-identity --query Arn --output text)"']
    done = run_job(jobs[target], f"deploy:{target}", "deploy", script=script)
    assert done.returncode == 0, done.stderr
    account = {"dev": "333333333333", "prod": "444444444444"}[target]
    assert f"{target} as arn:aws:sts::{account}:assumed-role/delegated-role" in done.stdout
    swapped = {"dev_account": "444444444444", "prod_account": "333333333333"}
    assert run_job(jobs[target], f"deploy:{target}", "deploy", script=script, **swapped).returncode == 1
