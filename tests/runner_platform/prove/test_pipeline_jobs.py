"""The jobs of a proof by pipelines, and what their ends say."""

from __future__ import annotations

import pytest
import yaml

from config import load
from config.capabilities import Level
from runner_platform.prove import pipeline_jobs
from runner_platform.prove.attempts import REFUSED
from runner_platform.prove.pipeline_jobs import Branch, PipelineJob
from runner_platform.prove.results import roles_in

STACKS = ("dev", "prod")
ACCOUNTS = load.of_foundation().accounts
HOME, FORK = "senncloud/apps", "somebody/apps"


def planned(stack: str) -> list[PipelineJob]:
    return pipeline_jobs.plan(load.of_stack(stack), ACCOUNTS, HOME, [FORK])


def planned_job(name: str, project: str = HOME) -> PipelineJob:
    return next(job for job in planned("dev") if job.name == name and job.branch.project == project)


def outcome(job: PipelineJob, status: str, trace: str) -> str:
    return pipeline_jobs.result(job, status, trace, roles_in(planned.attempt for planned in planned("dev"))).got


@pytest.mark.parametrize("stack", STACKS)
def test_each_class_and_profile_is_a_job_with_the_tag_of_the_class(stack: str) -> None:
    settings = load.of_stack(stack)
    cells = [job for job in planned(stack) if job.attempt.runner_class]
    assert {(job.attempt.runner_class, job.attempt.profile) for job in cells} == {
        (name, profile) for name in settings.runners for profile in ("default", "base", *ACCOUNTS)
    }
    assert all(job.tags == settings.runner_tags(str(job.attempt.runner_class)) for job in cells)


def test_a_protected_class_is_tried_on_a_protected_branch_of_its_project() -> None:
    for job in planned("dev"):
        runner = load.of_stack("dev").runners[job.attempt.identity.runner_class]
        if job.starts:
            protected = runner.level is Level.PROTECTED
            assert job.branch == Branch(project=runner.project or HOME, protected=protected)


def test_strangers_ask_from_other_projects_and_from_a_branch_that_is_not_protected() -> None:
    never = {(job.name, job.branch) for job in planned("dev") if not job.starts}
    names = load.of_stack("dev").runners
    assert {(f"{name}:never", Branch(project=FORK, protected=True)) for name in names} < never
    assert ("deploy:never", Branch(project="5678", protected=False)) in never


def test_names_are_unique_in_each_pipeline() -> None:
    jobs = planned("prod")
    assert len({(job.branch, job.name) for job in jobs}) == len(jobs)


def test_the_pipeline_file_holds_every_job_with_its_commands() -> None:
    text = pipeline_jobs.pipeline_text([planned_job("small:dev"), planned_job("small:default")])
    document = yaml.safe_load(text)
    assert document["small:dev"]["script"] == ["python3 probe.py 'dev' || true"]
    assert document["small:default"]["script"] == ["python3 probe.py '' || true"]
    assert document["small:dev"]["tags"] == [*load.of_stack("dev").runner_tags("small")]


def test_variables_of_runner_and_sdk_are_set_by_a_job_that_keeps_its_own_role() -> None:
    job = planned_job("small:variables")
    assert {"KUBERNETES_SERVICE_ACCOUNT_OVERWRITE", "FF_CONCRETE"} < set(job.variables)
    assert job.attempt.expected == load.of_stack("dev").names.role_arn("222222222222", "runner-small-dev")
    other = planned_job("small:role of others")
    assert other.variables["AWS_ROLE_ARN"] == load.of_stack("dev").names.role_arn(
        "222222222222", load.of_stack("dev").names.delegated_role(Level.PROTECTED)
    )
    assert other.attempt.expected == REFUSED


ROLE = "arn:aws:sts::333333333333:assumed-role/delegated-role-open-dev/session"


@pytest.mark.parametrize(
    ("name", "status", "trace", "expected"),
    [
        (
            "small:dev",
            "success",
            f'$ python3\n{{"arn": "{ROLE}", "account": "3"}}\nCleaning up',
            "delegated-role-open-dev",
        ),
        ("small:prod", "success", '\x1b[0;m{"error": "no profile", "kind": "ProfileNotFound"}', "REFUSED"),
        ("small:prod", "success", '{"error": "no network", "kind": "Unreachable"}', "BROKEN: no network"),
        (
            "small:dev",
            "failed",
            "ERROR: Job failed (system failure): no such image",
            "BROKEN: the job's trace has no answer",
        ),
        ("small:dev", "pending", "", "BROKEN: GitLab gave the job to no runner"),
    ],
)
def test_a_trace_becomes_a_result(name: str, status: str, trace: str, expected: str) -> None:
    assert expected in outcome(planned_job(name), status, trace)


@pytest.mark.parametrize(("status", "expected"), [("pending", REFUSED), ("success", "BROKEN"), ("failed", "BROKEN")])
def test_a_job_that_no_runner_may_take_must_stay_pending(status: str, expected: str) -> None:
    assert outcome(planned_job("small:never", FORK), status, "").startswith(expected)
