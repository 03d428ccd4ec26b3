"""Locks on a stack: the holder, the evidence that it is dead, and the removal of exactly one lock."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from runner_platform.driver import evidence, locks
from runner_platform.driver.evidence import JobStatus, Pod, PodEvidence
from runner_platform.driver.locks import Fate
from runner_platform.errors import LockedError, WrongUseError
from tests.support.stack_states import FREE_PID, project, write_lock

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.driver.locks import OwnerRecord
    from runner_platform.driver.project import Project

POD = Pod(issuer="https://issuer.example", namespace="jobs-deploy", name="runner-pod-1", uid="1b4e28ba")


@pytest.fixture
def stack(tmp_path: Path) -> Project:
    return project(tmp_path)


def job_elsewhere(stack: Project, **changed: Any) -> OwnerRecord:
    """Let a job in a pod of another node hold the stack."""
    fields: dict[str, Any] = {
        "host": "runner-pod-1",
        "machine": "another",
        "pipeline": "77",
        "job": "4711",
        "job_url": "https://gitlab.example/x/-/jobs/4711",
        "project": "5",
        "ends": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }
    record = replace(locks.new_record("up"), engine_pid=17, **{**fields, **changed})
    locks.write_record(stack, record)
    write_lock(stack, 17, host="runner-pod-1")
    return record


def fate(stack: Project) -> tuple[Fate, str]:
    (holder,) = locks.holders(stack)
    return holder.fate, holder.why


def test_the_lock_of_a_dead_process_is_removed_and_no_other(stack: Project) -> None:
    write_lock(stack, FREE_PID)
    kept = write_lock(stack, os.getpid(), name="live")
    reports = locks.unlock(stack)
    assert [(report.fate, report.removed) for report in reports] == [("dead", True), ("alive", False)]
    assert stack.store.keys(".pulumi/locks/") == [kept]


def test_a_process_younger_than_the_lock_is_another_one(stack: Project) -> None:
    write_lock(stack, os.getpid(), age=10_000_000)
    assert fate(stack)[0] is Fate.DEAD


def test_the_lock_of_a_live_process_is_kept_even_if_named(stack: Project) -> None:
    write_lock(stack, os.getpid())
    with pytest.raises(LockedError, match=f"process {os.getpid()} runs"):
        locks.unlock(stack, "0f")
    assert locks.holders(stack)


def test_a_lock_of_another_machine_without_a_record_proves_nothing(stack: Project) -> None:
    write_lock(stack, FREE_PID, host="elsewhere")
    assert fate(stack)[0] is Fate.UNKNOWN
    (report,) = locks.unlock(stack)
    assert not report.removed
    assert "--lock 0f" in report.sentence
    (report,) = locks.unlock(stack, "0f")
    assert report.removed


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": "x", "timestamp": "now"}', b'{"pid": 1}'])
def test_an_unreadable_lock_proves_nothing(stack: Project, content: bytes) -> None:
    stack.store.write(write_lock(stack, 1), content)
    assert fate(stack)[0] is Fate.UNKNOWN


def test_an_unknown_lock_id_is_wrong_use_and_names_the_existing_locks(stack: Project) -> None:
    write_lock(stack, FREE_PID)
    with pytest.raises(WrongUseError, match="it has: 0f"):
        locks.unlock(stack, "1f")


def test_a_holder_is_named_by_pipeline_job_host_and_age(stack: Project) -> None:
    job_elsewhere(stack)
    (holder,) = locks.holders(stack)
    assert "job 4711 of pipeline 77 (https://gitlab.example/x/-/jobs/4711) on runner-pod-1 (up), since" in holder.name


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (JobStatus(name="running", finished=None), Fate.ALIVE),
        (JobStatus(name="canceling", finished=None), Fate.ALIVE),
        (JobStatus(name="canceled", finished=datetime.now(UTC) - timedelta(minutes=1)), Fate.ALIVE),
        (JobStatus(name="canceled", finished=datetime.now(UTC) - timedelta(hours=1)), Fate.DEAD),
        (JobStatus(name="failed", finished=datetime.now(UTC) - timedelta(hours=1)), Fate.DEAD),
        (None, Fate.UNKNOWN),
    ],
)
def test_a_job_is_dead_once_gitlab_ended_it_and_its_pods_grace_is_over(
    stack: Project, monkeypatch: pytest.MonkeyPatch, status: JobStatus | None, expected: Fate
) -> None:
    job_elsewhere(stack)
    monkeypatch.setattr(evidence, "ask_gitlab", lambda *_: status)
    assert fate(stack)[0] is expected


def test_a_job_long_past_its_timeout_is_dead_without_asking_anybody(
    stack: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "ask_gitlab", lambda *_: pytest.fail("nobody needs to be asked"))
    job_elsewhere(stack, ends=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    assert fate(stack)[0] is Fate.DEAD


def test_a_job_just_past_its_timeout_may_still_live(stack: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "ask_gitlab", lambda *_: None)
    job_elsewhere(stack, ends=(datetime.now(UTC) - timedelta(minutes=5)).isoformat())
    assert fate(stack)[0] is Fate.UNKNOWN


def test_the_same_process_id_on_another_machine_says_nothing(stack: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process ids repeat from pod to pod, so a missing process proves nothing."""
    monkeypatch.setattr(evidence, "ask_gitlab", lambda *_: None)
    record = replace(locks.new_record("up"), machine="another", engine_pid=FREE_PID)
    locks.write_record(stack, record)
    write_lock(stack, FREE_PID)
    assert fate(stack)[0] is Fate.UNKNOWN, "its name is ours, but not its kernel's boot"


@pytest.fixture
def in_a_pod(stack: Project) -> OwnerRecord:
    """A job in a pod of the stack's cluster holds the stack, and GitLab does not tell about it."""
    return job_elsewhere(stack, pod=POD)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PodEvidence(alive=False, why="Kubernetes says that it is gone"), Fate.DEAD),
        (PodEvidence(alive=True, why="Kubernetes says that it is Running"), Fate.ALIVE),
        (None, Fate.UNKNOWN),
    ],
)
def test_the_pod_decides_before_the_job_and_no_answer_proves_nothing(
    stack: Project, in_a_pod: OwnerRecord, monkeypatch: pytest.MonkeyPatch, answer: PodEvidence | None, expected: Fate
) -> None:
    monkeypatch.setattr(evidence, "ask_gitlab", lambda *_: None)
    monkeypatch.setattr(
        evidence, "ask_kubernetes", lambda _, pod: answer if pod == in_a_pod.pod else pytest.fail("another pod")
    )
    assert fate(stack)[0] is expected
    assert locks.fate_of(stack, in_a_pod)[0] is expected
    (report,) = locks.unlock(stack)
    assert report.removed is (expected is Fate.DEAD)


def test_without_kubernetes_gitlab_is_still_asked(
    stack: Project, in_a_pod: OwnerRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_a_pod.pod
    monkeypatch.setattr(evidence, "ask_kubernetes", lambda *_: None)
    monkeypatch.setattr(evidence, "ask_gitlab", lambda *_: JobStatus(name="running", finished=None))
    assert fate(stack)[0] is Fate.ALIVE


def test_removing_a_lock_deletes_the_record_of_its_run(stack: Project) -> None:
    record = replace(locks.new_record("up"), engine_pid=FREE_PID)
    locks.write_record(stack, record)
    write_lock(stack, FREE_PID)
    locks.unlock(stack)
    assert locks.read_records(stack) == []


def test_records_in_an_unknown_form_are_left_out(stack: Project) -> None:
    locks.write_record(stack, locks.new_record("up"))
    stack.store.write(f".runner-platform/owners/{stack.name}/test/bad.json", b"{")
    stack.store.write(f".runner-platform/owners/{stack.name}/test/old.json", b'{"id": "1"}')
    assert [record.pid for record in locks.read_records(stack)] == [os.getpid()]


def test_the_record_of_a_job_holds_gitlabs_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CI_PIPELINE_ID": "77",
        "CI_JOB_ID": "4711",
        "CI_JOB_STARTED_AT": "2026-11-21T10:00:00Z",
        "CI_JOB_TIMEOUT": "3600",
    }.items():
        monkeypatch.setenv(name, value)
    record = locks.new_record("up")
    assert (record.pipeline, record.job, record.ends) == ("77", "4711", "2026-11-21T11:00:00+00:00")
    assert record.pid == os.getpid()


def test_the_engine_of_a_live_driver_is_no_orphan(stack: Project) -> None:
    live = locks.add_engine(stack, locks.new_record("up"), os.getppid())
    assert locks.orphaned_engine(live) is None
    killed = replace(live, pid=FREE_PID)
    assert locks.orphaned_engine(killed) == os.getppid()
    assert locks.orphaned_engine(replace(killed, engine_started=psutil.Process().create_time() - 1e6)) is None
    assert locks.orphaned_engine(replace(killed, machine="another")) is None
