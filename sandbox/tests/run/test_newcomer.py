"""The newcomer's pipeline: made from the settings of each stack, and read as GitLab reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config import load
from runner_platform_sandbox import organization
from runner_platform_sandbox.gitlab.ci.context import Context
from runner_platform_sandbox.gitlab.ci.reader import read_pipeline
from runner_platform_sandbox.run.newcomer import pipeline_text
from sandbox.tests.support.pipeline_files import MemoryFiles

if TYPE_CHECKING:
    from runner_platform_sandbox.gitlab.ci.pipeline import Job

STACKS = ["dev", "prod"]


def jobs(stack: str) -> dict[str, Job]:
    text = pipeline_text(load.of_stack(stack), organization.read().accounts)
    pipeline = read_pipeline(text, context=Context(ref="main", protected=True), files=MemoryFiles())
    return {job.name: job for job in pipeline.jobs}


def value(job: Job, name: str) -> str:
    return next(variable.value for variable in job.variables if variable.name == name)


@pytest.mark.parametrize("stack", STACKS)
def test_every_class_has_a_job_with_the_tag_of_the_class(stack: str) -> None:
    settings = load.of_stack(stack)
    assert {job.name: job.tags for job in jobs(stack).values()} == {
        name: settings.runner_tags(name) for name in settings.runners
    }


@pytest.mark.parametrize("stack", STACKS)
def test_a_job_enters_the_accounts_of_its_class_and_tries_all_others(stack: str) -> None:
    settings = load.of_stack(stack)
    for name, job in jobs(stack).items():
        entered, refused = value(job, "ENTERS").split(), value(job, "REFUSED").split()
        assert entered == list(settings.accounts_of(name))
        assert sorted([*entered, *refused]) == sorted(organization.read().accounts)


def test_prod_lets_deploy_in_and_refuses_open_classes() -> None:
    by_name = jobs("prod")
    assert "prod" in value(by_name["small"], "REFUSED").split()
    assert "prod" in value(by_name["deploy"], "ENTERS").split()


def test_state_lies_below_the_level_of_the_class() -> None:
    assert value(jobs("dev")["small"], "STATE") == (
        "dev=s3://o-senncloud01-state-333333333333-eu-central-1/dev/open/newcomer/small.txt"
    )
    assert "/protected/newcomer/deploy.txt" in value(jobs("prod")["deploy"], "STATE")
    assert value(jobs("dev")["review"], "STATE") == ""
