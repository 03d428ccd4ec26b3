"""The order of jobs: stages, needs, when, allow_failure, retry, resource groups, cancellation, and the pipeline's status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.gitlab.ci.pipeline import Retry
from runner_platform_sandbox.gitlab.jobs import order
from sandbox.tests.support.pipelines import job, pipeline, statuses

if TYPE_CHECKING:
    from runner_platform_sandbox.gitlab.jobs.records import Job, Pipeline

NOW = 1000.0


def settled(record: Pipeline, *, taken: frozenset[str] = frozenset(), now: float = NOW) -> dict[str, str]:
    order.advance(record, now, lambda group: group not in taken)
    return statuses(record)


def test_the_first_stage_starts_and_the_next_waits() -> None:
    record = pipeline(job("a"), job("b"), job("c", "test"))
    assert settled(record) == {"a": "pending", "b": "pending", "c": "created"}
    assert record.jobs[0].queued == NOW


@pytest.mark.parametrize(
    ("first", "fields", "second"),
    [
        ("success", {}, "pending"),
        ("failed", {}, "skipped"),
        ("canceled", {}, "skipped"),
        ("skipped", {}, "pending"),
        ("running", {}, "created"),
        ("canceling", {}, "created"),
        ("failed", {"when": "on_failure"}, "pending"),
        ("success", {"when": "on_failure"}, "skipped"),
        ("failed", {"when": "always"}, "pending"),
        ("success", {"when": "always"}, "pending"),
        ("canceled", {"when": "always"}, "skipped"),
        ("success", {"when": "manual"}, "manual"),
        ("failed", {"when": "manual"}, "skipped"),
        ("success", {"when": "delayed", "start_in": 60}, "scheduled"),
    ],
)
def test_a_later_stage_follows_the_outcome_of_the_earlier_one(first: str, fields: dict[str, Any], second: str) -> None:
    assert settled(pipeline(job("a", status=first), job("b", "test", **fields)))["b"] == second


@pytest.mark.parametrize(
    ("need", "fields", "expected"),
    [
        ("success", {}, "pending"),
        ("skipped", {}, "skipped"),
        ("failed", {}, "skipped"),
        ("manual", {}, "created"),
        ("skipped", {"when": "always"}, "pending"),
        ("failed", {"when": "on_failure"}, "pending"),
    ],
)
def test_a_job_with_needs_waits_for_those_alone(need: str, fields: dict[str, Any], expected: str) -> None:
    record = pipeline(
        job("a", status=need, allow_failure=need == "manual"),
        job("slow", status="running"),
        job("b", "deploy", needs=["a"], **fields),
    )
    assert settled(record)["b"] == expected


def test_a_job_that_needs_nothing_starts_at_once() -> None:
    assert settled(pipeline(job("a", status="running"), job("b", "deploy", needs=[])))["b"] == "pending"


@pytest.mark.parametrize(("allowed", "expected"), [(True, "pending"), (False, "created")])
def test_an_optional_manual_job_holds_nobody_up_and_a_blocking_one_does(*, allowed: bool, expected: str) -> None:
    record = pipeline(job("a", when="manual", allow_failure=allowed), job("b", "test"))
    assert settled(record) == {"a": "manual", "b": expected}
    assert order.status(record) == ("pending" if allowed else "manual")


@pytest.mark.parametrize(
    ("fields", "code", "expected"),
    [
        ({"allow_failure": True}, 1, "pending"),
        ({"allow_failure_exit_codes": (137,)}, 137, "pending"),
        ({"allow_failure_exit_codes": (137,)}, 1, "skipped"),
    ],
)
def test_an_allowed_failure_lets_the_pipeline_go_on(fields: dict[str, Any], code: int, expected: str) -> None:
    record = pipeline(job("a", status="running", **fields), job("b", "test"))
    order.finish(record.jobs[0], NOW, success=False, reason=None, exit_code=code)
    assert settled(record)["b"] == expected


def test_skipping_goes_through_all_later_stages_at_once() -> None:
    record = pipeline(
        job("a", status="failed"), job("b", "test"), job("c", "deploy"), job("mail", "deploy", when="on_failure")
    )
    assert settled(record) == {"a": "failed", "b": "skipped", "c": "skipped", "mail": "pending"}


def test_a_delayed_job_starts_when_its_time_has_come() -> None:
    record = pipeline(job("a", when="delayed", start_in=60))
    assert settled(record)["a"] == "scheduled"
    assert settled(record, now=NOW + 59)["a"] == "scheduled"
    assert settled(record, now=NOW + 60)["a"] == "pending"


def test_a_resource_group_lets_one_job_in_at_a_time() -> None:
    record = pipeline(job("a", resource_group="prod"))
    assert settled(record, taken=frozenset({"prod"}))["a"] == "waiting_for_resource"
    assert settled(record)["a"] == "pending"


@pytest.mark.parametrize(
    ("status", "force", "expected"),
    [
        ("running", False, "canceling"),
        ("running", True, "canceled"),
        ("canceling", True, "canceled"),
        ("created", False, "canceled"),
        ("pending", False, "canceled"),
        ("manual", False, "canceled"),
        ("scheduled", False, "canceled"),
        ("success", False, "success"),
    ],
)
def test_a_running_job_is_canceled_in_two_steps_and_others_at_once(status: str, expected: str, *, force: bool) -> None:
    record = job("a", status=status)
    order.cancel(record, NOW, force=force)
    assert record.status == expected


def test_a_canceling_job_ends_canceled_whatever_its_runner_says() -> None:
    record = job("a", status="canceling")
    order.finish(record, NOW, success=True, reason=None, exit_code=0)
    assert (record.status, record.finished) == ("canceled", NOW)


@pytest.mark.parametrize(
    ("retry", "reason", "code", "times", "expected"),
    [
        (Retry(), "script_failure", 1, 0, False),
        (Retry(max=2), "script_failure", 1, 1, True),
        (Retry(max=2), "script_failure", 1, 2, False),
        (Retry(max=1, when=("runner_system_failure",)), "script_failure", 1, 0, False),
        (Retry(max=1, when=("runner_system_failure",)), "runner_system_failure", None, 0, True),
        (Retry(max=1, when=("stuck_or_timeout_failure",), exit_codes=(75,)), "script_failure", 75, 0, True),
    ],
)
def test_retry_of_the_file_counts_and_looks_at_the_failure(
    retry: Retry, reason: str, code: int | None, times: int, *, expected: bool
) -> None:
    record = job("a", status="running", retry=retry)
    record.retries = times
    order.finish(record, NOW, success=False, reason=reason, exit_code=code)
    assert order.retries_by_itself(record) is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["success", "success"], "success"),
        (["success", "failed"], "failed"),
        (["success", "canceled"], "canceled"),
        (["skipped", "skipped"], "skipped"),
        (["success", "skipped"], "success"),
        (["pending", "created"], "pending"),
        (["success", "pending"], "running"),
        (["running", "failed"], "running"),
        (["success", "manual"], "manual"),
        (["canceling", "success"], "canceling"),
        (["success", "scheduled"], "scheduled"),
        (["waiting_for_resource"], "waiting_for_resource"),
        (["created", "created"], "created"),
    ],
)
def test_a_pipelines_status_follows_from_its_jobs(members: list[str], expected: str) -> None:
    record = pipeline(*(job(f"j{number}", status=status) for number, status in enumerate(members)))
    assert order.status(record) == expected


def started(record: Job) -> Job:
    record.started = NOW
    return record


def test_a_newer_pipeline_interrupts_one_whose_started_jobs_are_all_interruptible() -> None:
    waiting = job("b", "test")
    assert order.interrupted_by_newer(pipeline(started(job("a", status="running", interruptible=True)), waiting))
    assert not order.interrupted_by_newer(pipeline(started(job("a", status="running")), waiting))
    assert not order.interrupted_by_newer(pipeline(started(job("a", status="success", interruptible=True))))
