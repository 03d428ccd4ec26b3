"""The components of application teams with the real tools: as a job of a class, in the sandbox's accounts."""

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
    pytest.mark.skipif(shutil.which("jq") is None, reason="the runner image brings jq, this machine has none"),
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
    made = {}
    for target, runner_class in CLASSES.items():
        folder = tmp_path / target
        folder.mkdir()
        made[target] = Job(sandbox, "prod", runner_class, folder)
    return made


def ran(job: Job, name: str, template: str, **inputs: Any) -> subprocess.CompletedProcess[str]:
    """A job of a component, as the class's job runs it."""
    wanted = component(template).jobs(**inputs)[name]
    known = {
        **job.variables,
        "CI_COMMIT_SHORT_SHA": "0a1b2c3d",
        "CI_COMMIT_SHA": "0a1b2c3d" * 5,
        "CI_JOB_ID": f"{job.folder.parent.name}-{name.replace(':', '-')}",
        "CI_PROJECT_DIR": str(job.folder),
        "CI_COMMIT_BRANCH": "main",
        "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_REF_PROTECTED": "true",
    }
    return run(commands(wanted), job.folder, variables_of(wanted, known), seconds=300)


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
        done = ran(job, f"ecs:{target}", "ecs")
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
    done = ran(jobs["dev"], "ecs:prod", "ecs")
    assert done.returncode != 0
    assert "prod" in done.stderr, "the class has no such profile"


def test_opentofu_plans_and_applies_exactly_that_in_both_accounts(jobs: dict[str, Job]) -> None:
    for target, job in jobs.items():
        module = job.folder / "infrastructure" / target
        module.mkdir(parents=True)
        text = ROOT.format(bucket=job.state_bucket(target), key=job.state_key("templates"), release="1")
        (module / "main.tf").write_text(text)
        planned = ran(job, f"tofu:plan:{target}", "opentofu")
        assert planned.returncode == 0, planned.stdout + planned.stderr
        assert json.loads((module / "counts.json").read_text()) == {"create": 1, "update": 0, "delete": 0}
        (module / "main.tf").write_text(text.replace('"1"', '"2"'))
        applied = ran(job, f"tofu:{target}", "opentofu")
        assert applied.returncode == 0, applied.stdout + applied.stderr
        assert "1 added, 0 changed, 0 destroyed" in applied.stdout, "the saved plan, whatever the files say now"
        again = ran(job, f"tofu:plan:{target}", "opentofu")
        assert json.loads((module / "counts.json").read_text()) == {"create": 0, "update": 1, "delete": 0}, again.stdout


@pytest.mark.parametrize("target", CLASSES)
def test_a_teams_own_commands_act_in_the_account_that_is_meant(jobs: dict[str, Job], target: str) -> None:
    script = ['echo "$TARGET as $(aws sts get-caller-identity --query Arn --output text)"']
    done = ran(jobs[target], f"deploy:{target}", "deploy", script=script)
    assert done.returncode == 0, done.stderr
    account = {"dev": "333333333333", "prod": "444444444444"}[target]
    assert f"{target} as arn:aws:sts::{account}:assumed-role/delegated-role" in done.stdout
    other = {"dev_account": "444444444444", "prod_account": "333333333333"}
    assert ran(jobs[target], f"deploy:{target}", "deploy", script=script, **other).returncode == 1
