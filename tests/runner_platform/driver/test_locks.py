"""Who holds a stack and whether that is proven dead: the matrix of evidence, and what is removed."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import pytest

from runner_platform.driver import gitlab_jobs, locks, owners, pods, unlock
from runner_platform.driver.gitlab_jobs import Status
from runner_platform.driver.locks import Fate
from runner_platform.driver.pods import Evidence, Pod
from runner_platform.errors import LockedError, WrongUseError
from tests.support.stack_states import FREE_PID, project, write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform.driver.owners import Owner
    from runner_platform.driver.project import Project

POD = Pod(issuer="https://issuer.example", namespace="jobs-deploy", name="runner-pod-1", uid="1b4e28ba")


@pytest.fixture
def stack(tmp_path: Path) -> Project:
    return project(tmp_path)


def job_elsewhere(stack: Project, **changed: Any) -> Owner:
    """A job in a pod of another node holds the stack."""
    fields: dict[str, Any] = {
        "host": "runner-pod-1",
        "machine": "another",
        "pipeline": "77",
        "job": "4711",
        "job_url": "https://gitlab.example/x/-/jobs/4711",
        "project": "5",
        "ends": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }
    owner = replace(owners.this_run("up"), engine_pid=17, **{**fields, **changed})
    owners.write(stack, owner)
    write_lock(stack, 17, host="runner-pod-1")
    return owner


def fate(stack: Project) -> tuple[Fate, str]:
    (holder,) = locks.held(stack)
    return holder.fate, holder.why


def test_a_lock_of_a_process_that_is_gone_is_dead_and_that_one_key_is_removed(stack: Project) -> None:
    write_lock(stack, FREE_PID)
    kept = write_lock(stack, os.getpid(), name="live")
    judged = unlock.unlock(stack)
    assert [(each.fate, each.removed) for each in judged] == [("dead", True), ("alive", False)]
    assert stack.store.keys(".pulumi/locks/") == [kept]


def test_a_process_younger_than_the_lock_is_another_one(stack: Project) -> None:
    write_lock(stack, os.getpid(), age=10_000_000)
    assert fate(stack)[0] is Fate.DEAD


def test_a_live_process_is_never_broken_not_even_by_name(stack: Project) -> None:
    write_lock(stack, os.getpid())
    with pytest.raises(LockedError, match=f"process {os.getpid()} runs"):
        unlock.unlock(stack, "0f")
    assert locks.held(stack)


def test_a_lock_of_another_machine_without_a_record_proves_nothing(stack: Project) -> None:
    write_lock(stack, FREE_PID, host="elsewhere")
    assert fate(stack)[0] is Fate.UNKNOWN
    (judged,) = unlock.unlock(stack)
    assert not judged.removed
    assert "--lock 0f" in judged.sentence
    (judged,) = unlock.unlock(stack, "0f")
    assert judged.removed


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": "x", "timestamp": "now"}', b'{"pid": 1}'])
def test_a_lock_that_cannot_be_understood_proves_nothing(stack: Project, content: bytes) -> None:
    stack.store.write(write_lock(stack, 1), content)
    assert fate(stack)[0] is Fate.UNKNOWN


def test_an_unknown_lock_is_wrong_use_and_names_those_that_there_are(stack: Project) -> None:
    write_lock(stack, FREE_PID)
    with pytest.raises(WrongUseError, match="it has: 0f"):
        unlock.unlock(stack, "1f")


def test_a_holder_is_named_by_pipeline_job_host_and_age(stack: Project) -> None:
    job_elsewhere(stack)
    (holder,) = locks.held(stack)
    assert "job 4711 of pipeline 77 (https://gitlab.example/x/-/jobs/4711) on runner-pod-1 (up), since" in holder.name


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status(name="running", finished=None), Fate.ALIVE),
        (Status(name="canceling", finished=None), Fate.ALIVE),
        (Status(name="canceled", finished=datetime.now(UTC) - timedelta(minutes=1)), Fate.ALIVE),
        (Status(name="canceled", finished=datetime.now(UTC) - timedelta(hours=1)), Fate.DEAD),
        (Status(name="failed", finished=datetime.now(UTC) - timedelta(hours=1)), Fate.DEAD),
        (None, Fate.UNKNOWN),
    ],
)
def test_a_job_is_dead_when_gitlab_ended_it_and_its_pods_grace_is_over(
    stack: Project, monkeypatch: pytest.MonkeyPatch, status: Status | None, expected: Fate
) -> None:
    job_elsewhere(stack)
    monkeypatch.setattr(gitlab_jobs, "status", lambda *_: status)
    assert fate(stack)[0] is expected


def test_a_job_whose_timeout_is_long_past_is_dead_without_asking_anybody(
    stack: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gitlab_jobs, "status", lambda *_: pytest.fail("nobody needs to be asked"))
    job_elsewhere(stack, ends=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    assert fate(stack)[0] is Fate.DEAD


def test_a_job_just_past_its_timeout_may_still_live(stack: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gitlab_jobs, "status", lambda *_: None)
    job_elsewhere(stack, ends=(datetime.now(UTC) - timedelta(minutes=5)).isoformat())
    assert fate(stack)[0] is Fate.UNKNOWN


def test_the_same_process_id_on_another_machine_says_nothing(stack: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process ids repeat from pod to pod: this machine has none of that id, and that proves nothing."""
    monkeypatch.setattr(gitlab_jobs, "status", lambda *_: None)
    owner = replace(owners.this_run("up"), machine="another", engine_pid=FREE_PID)
    owners.write(stack, owner)
    write_lock(stack, FREE_PID)
    assert fate(stack)[0] is Fate.UNKNOWN, "its name is ours, but not its kernel's boot"


@pytest.fixture
def in_a_pod(stack: Project) -> Owner:
    """A job in a pod of the stack's cluster holds the stack, and GitLab does not tell about it."""
    return job_elsewhere(stack, pod=POD)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Evidence(alive=False, why="Kubernetes says that it is gone"), Fate.DEAD),
        (Evidence(alive=True, why="Kubernetes says that it is Running"), Fate.ALIVE),
        (None, Fate.UNKNOWN),
    ],
)
def test_a_pod_says_more_than_its_job_and_no_answer_proves_nothing(
    stack: Project, in_a_pod: Owner, monkeypatch: pytest.MonkeyPatch, evidence: Evidence | None, expected: Fate
) -> None:
    monkeypatch.setattr(gitlab_jobs, "status", lambda *_: None)
    monkeypatch.setattr(pods, "asked", lambda _, pod: evidence if pod == in_a_pod.pod else pytest.fail("another pod"))
    assert fate(stack)[0] is expected
    assert locks.fate_of(stack, in_a_pod)[0] is expected
    (judged,) = unlock.unlock(stack)
    assert judged.removed is (expected is Fate.DEAD)


def test_without_kubernetes_gitlab_is_still_asked(
    stack: Project, in_a_pod: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_a_pod.pod
    monkeypatch.setattr(pods, "asked", lambda *_: None)
    monkeypatch.setattr(gitlab_jobs, "status", lambda *_: Status(name="running", finished=None))
    assert fate(stack)[0] is Fate.ALIVE


def test_a_removed_lock_takes_its_owners_record_along(stack: Project) -> None:
    owner = replace(owners.this_run("up"), engine_pid=FREE_PID)
    owners.write(stack, owner)
    write_lock(stack, FREE_PID)
    unlock.unlock(stack)
    assert owners.read(stack) == []


def test_records_that_cannot_be_understood_are_left_out(stack: Project) -> None:
    owners.write(stack, owners.this_run("up"))
    stack.store.write(f".runner-platform/owners/{stack.name}/test/bad.json", b"{")
    stack.store.write(f".runner-platform/owners/{stack.name}/test/old.json", b'{"id": "1"}')
    assert [owner.pid for owner in owners.read(stack)] == [os.getpid()]


def test_a_job_writes_down_what_gitlab_says_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CI_PIPELINE_ID": "77",
        "CI_JOB_ID": "4711",
        "CI_JOB_STARTED_AT": "2026-11-21T10:00:00Z",
        "CI_JOB_TIMEOUT": "3600",
    }.items():
        monkeypatch.setenv(name, value)
    owner = owners.this_run("up")
    assert (owner.pipeline, owner.job, owner.ends) == ("77", "4711", "2026-11-21T11:00:00+00:00")
    assert owner.pid == os.getpid()


def test_the_engine_of_a_live_driver_is_no_orphan(stack: Project) -> None:
    mine = owners.with_engine(stack, owners.this_run("up"), os.getppid())
    assert locks.orphaned_engine(mine) is None
    killed = replace(mine, pid=FREE_PID)
    assert locks.orphaned_engine(killed) == os.getppid()
    assert locks.orphaned_engine(replace(killed, engine_started=psutil.Process().create_time() - 1e6)) is None
    assert locks.orphaned_engine(replace(killed, machine="another")) is None


class Jobs(BaseHTTPRequestHandler):
    """GitLab's endpoint for one job."""

    answers: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        found = self.answers.get(self.path) if self.headers["PRIVATE-TOKEN"] == "read" else None
        body = json.dumps(found or {"message": "404 Not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in ("GITLAB_BASE_URL", "CI_SERVER_URL", "GITLAB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(gitlab_jobs.TOKEN, "read")
    yield f"http://127.0.0.1:{server.server_address[1]}/group/project/-/jobs/4711"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": "running", "finished_at": None}, Status(name="running", finished=None)),
        ({"status": "canceling", "finished_at": "2026-11-21T10:00:00Z"}, Status(name="canceling", finished=None)),
        (
            {"status": "failed", "finished_at": "2026-11-21T11:00:00.000+01:00"},
            Status(name="failed", finished=datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ),
        (None, None),
    ],
)
def test_gitlab_is_asked_where_the_jobs_page_is(
    jobs: str, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | None, expected: Status | None
) -> None:
    monkeypatch.setattr(Jobs, "answers", {"/api/v4/projects/5/jobs/4711": answer})
    assert gitlab_jobs.status("5", "4711", jobs) == expected
    monkeypatch.setenv(gitlab_jobs.TOKEN, "wrong")
    assert gitlab_jobs.status("5", "4711", jobs) is None, "no answer is no proof"
