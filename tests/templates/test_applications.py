"""Every script line of the components for application teams, with GitLab's variables and recording tools."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ci_components import after, component, run
from tests.support.ci_job import Job, needs_jq

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / f"{time.monotonic_ns()}")


AWS = """case "$1 $2" in
  "sts get-caller-identity") echo {account} ;;
  "ecs describe-services") case "$*" in *PRIMARY*) echo {running} ;; *) echo {current} ;; esac ;;
  "ecs describe-task-definition") cat '{definition}' ;;
  "ecs register-task-definition") cp revision.json '{definition}.new'; echo arn:web:2 ;;
  *) echo "{{}}" ;;
esac"""
DEFINITION = {
    "taskDefinition": {
        "family": "web",
        "taskDefinitionArn": "arn:web:1",
        "revision": 1,
        "status": "ACTIVE",
        "requiresAttributes": [{"name": "x"}],
        "compatibilities": ["FARGATE"],
        "registeredAt": "2026-01-01",
        "registeredBy": "arn:x",
        "cpu": "256",
        "containerDefinitions": [
            {"name": "web", "image": "old", "environment": []},
            {"name": "proxy", "image": "kept"},
        ],
    },
    "tags": [{"key": "project", "value": "shop"}],
}


def ecs(job: Job, name: str, account: str, *, current: str = "arn:web:1", running: str = "arn:web:2") -> Any:
    definition = job.folder / "definition.json"
    definition.write_text(json.dumps(DEFINITION))
    job.tool("aws", AWS.format(account=account, current=current, running=running, definition=definition))
    return job.run(component("ecs").jobs()[f"ecs:{name}"])


@needs_jq
@pytest.mark.parametrize(
    ("name", "account", "level"), [("dev", "333333333333", "open"), ("prod", "444444444444", "protected")]
)
def test_a_service_gets_a_revision_with_only_the_image_changed(job: Job, name: str, account: str, level: str) -> None:
    done = ecs(job, name, account)
    assert done.returncode == 0, done.stderr
    registered = json.loads((job.folder / "definition.json.new").read_text())
    image = f"222222222222.dkr.ecr.eu-central-1.amazonaws.com/{level}/shop/web:{job.variables()['CI_COMMIT_SHORT_SHA']}"
    assert registered == {
        "family": "web",
        "cpu": "256",
        "containerDefinitions": [
            {"name": "web", "image": image, "environment": []},
            {"name": "proxy", "image": "kept"},
        ],
        "tags": [{"key": "project", "value": "shop"}],
    }
    assert job.environment_of("aws")["AWS_PROFILE"] == name
    assert "aws ecs update-service --cluster shop --service web --task-definition arn:web:2" in job.called


@needs_jq
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"account": "111111111111"}, "profile dev opens account 111111111111, and it should be 333333333333"),
        ({"current": "None"}, "has no active service web in cluster shop"),
        ({"running": "arn:web:1"}, "ECS has rolled back"),
    ],
)
def test_a_deployment_to_ecs_fails_if_account_service_or_revision_is_wrong(
    job: Job, changes: dict[str, str], message: str
) -> None:
    done = ecs(job, "dev", **{"account": "333333333333", **changes})
    assert done.returncode == 1
    assert message in done.stderr


@needs_jq
def test_a_missing_container_is_an_error(job: Job) -> None:
    job.tool(
        "aws", AWS.format(account="333333333333", current="arn:web:1", running="arn:web:2", definition=job.folder / "d")
    )
    (job.folder / "d").write_text(json.dumps(DEFINITION))
    done = job.run(component("ecs").jobs(container="absent")["ecs:dev"])
    assert done.returncode != 0
    assert "there is no container absent" in done.stderr


@pytest.mark.parametrize(("name", "account"), [("dev", "333333333333"), ("prod", "444444444444")])
def test_commands_of_a_team_run_only_in_the_intended_account(job: Job, name: str, account: str) -> None:
    job.tool("aws", f"echo {account}")
    done = job.run(component("deploy").jobs()[f"deploy:{name}"])
    assert done.returncode == 0, done.stderr
    assert job.called[-1] == f"aws s3 sync --delete site/ s3://shop-site-{name}/"
    assert job.environment_of("aws")["AWS_PROFILE"] == name
    job.tool("aws", "echo 999999999999")
    assert job.run(component("deploy").jobs()[f"deploy:{name}"]).returncode == 1
    assert job.called[-1].startswith("aws sts"), "nothing is deployed into another account"


PLAN = {
    "resource_changes": [
        {"change": {"actions": ["create"]}},
        {"change": {"actions": ["delete", "create"]}},
        {"change": {"actions": ["update"]}},
        {"change": {"actions": ["no-op"]}},
    ]
}


@needs_jq
def test_opentofu_applies_the_plan_that_was_reviewed(job: Job) -> None:
    for folder in ("dev", "prod"):
        (job.clone / "infrastructure" / folder).mkdir(parents=True)
    (job.folder / "shown.json").write_text(json.dumps(PLAN))
    job.tool("tofu", f'case "$1" in show) cat {job.folder}/shown.json ;; esac')
    jobs = component("opentofu").jobs()
    for name in ("tofu:plan:dev", "tofu:dev", "tofu:plan:prod", "tofu:prod"):
        done = job.run(jobs[name])
        assert done.returncode == 0, done.stderr
        assert run(after(jobs[name]), job.clone, job.variables()).returncode == 0
    counts = json.loads((job.clone / "infrastructure/dev/counts.json").read_text())
    assert counts == {"create": 2, "update": 1, "delete": 1}
    assert not (job.clone / "infrastructure/dev/saved.json").exists(), "the saved plan has every value in clear text"
    assert job.called[:3] == [
        "tofu init -lockfile=readonly",
        "tofu plan -lock-timeout=5m -out=saved.tfplan",
        "tofu show -json saved.tfplan",
    ]
    assert job.called[4] == "tofu apply -lock-timeout=5m saved.tfplan"
    assert job.environment_of("tofu")["AWS_PROFILE"] == "prod"
    assert job.environment_of("tofu")["PWD"].endswith("infrastructure/prod")


def test_a_failed_apply_fails_the_job_and_after_script_ends(job: Job) -> None:
    (job.clone / "infrastructure/dev").mkdir(parents=True)
    job.tool("tofu", 'case "$1" in apply) exit 1 ;; esac')
    definition = component("opentofu").jobs()["tofu:dev"]
    assert job.run(definition).returncode == 1
    assert run(after(definition), job.clone, job.variables()).returncode == 0


def test_after_a_cancel_the_pod_stays_until_the_apply_has_finished(job: Job) -> None:
    (job.clone / "infrastructure/dev").mkdir(parents=True)
    job.tool(
        "tofu",
        'case "$1" in apply) trap "sleep 1; exit 1" TERM; touch running; while :; do sleep 0.1; done ;; esac',
    )
    definition = component("opentofu").jobs()["tofu:dev"]
    with job.begun(definition) as shell:
        job.cancel(shell, job.clone / "infrastructure/dev/running")
        began = time.monotonic()
        done = run(after(definition), job.clone, job.variables())
        assert done.returncode == 0
        assert time.monotonic() - began > 0.5, "after_script waits for the apply"
        assert shell.wait(10) == 1


@pytest.mark.parametrize("level", ["open", "protected"])
def test_an_image_is_pushed_to_its_levels_repository_under_its_commit(job: Job, level: str) -> None:
    job.tool(
        "executor", 'while [ $# -gt 0 ]; do if [ "$1" = --digest-file ]; then printf sha256:abc > "$2"; fi; shift; done'
    )
    done = job.run(component("image").jobs()[f"image:{level}"])
    assert done.returncode == 0, done.stderr
    commit = job.variables()["CI_COMMIT_SHORT_SHA"]
    destination = f"222222222222.dkr.ecr.eu-central-1.amazonaws.com/{level}/shop/web:{commit}"
    assert f"--context dir://{job.clone}/. --dockerfile Dockerfile --destination {destination}" in job.called[0]
    assert "--push-ignore-immutable-tag-errors" in job.called[0]
    assert done.stdout == f"image: {destination}@sha256:abc\n"
    assert job.environment_of("executor")["AWS_PROFILE"] == "cicd"
