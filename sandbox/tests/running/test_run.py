"""`runner-platform sandbox run` against a served GitLab; a thread says what a runner would say, so no job really runs here."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from runner_platform_sandbox import lock, ports, state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.run import pipeline_run
from runner_platform_sandbox.run.pipeline_run import Order
from sandbox.tests.support.gitlab_project import git, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.tests.support.gitlab_project import FakeRunner, Served

pytestmark = pytest.mark.processes

GOOD = """
build: {tags: [small-dev], stage: build, script: [make]}
deploy: {tags: [small-dev], stage: deploy, script: [deploy]}
other: {tags: [small-dev], stage: test, needs: [], script: [x]}
"""


class FakeManager:
    """A manager whose jobs a thread ends."""

    alive = True
    runner_class = "small"

    def log_end(self) -> str:
        return "the end of its log"


def succeed(runner: FakeRunner, job: dict[str, Any]) -> None:
    text = f"2026-11-30T03:41:17.255504Z 00O hello from {job['job_info']['name']}\n".encode()
    runner.trace(job, text)
    runner.finish(job)


class Bench:
    """A sandbox with a GitLab, and the managers that a run starts."""

    def __init__(self, folder: Path, gitlab: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = Paths(cache=folder / "cache", root=folder / "root")
        self.paths.root.mkdir()
        self.gitlab = gitlab
        self.runner = gitlab.runner("small-dev", description="small of dev")
        self.classes: list[str] = []
        self.work: Callable[[FakeRunner, dict[str, Any]], object] = succeed
        self.manager = FakeManager()
        self.output = io.StringIO()
        identity = ProcessId.of(os.getpid())
        assert identity is not None
        chosen = ports.choose()
        current = state.State(
            run_id="1", ports=chosen.model_copy(update={"gitlab": int(gitlab.url.rpartition(":")[2])})
        )
        current.supervisor = state.Process(name="supervisor", pid=identity.pid, started=identity.started)
        state.write(self.paths, current)
        monkeypatch.setattr(pipeline_run, "executing", self.managers)
        monkeypatch.setattr(pipeline_run, "POLL_SECONDS", 0.05)

    @contextlib.contextmanager
    def managers(
        self, _paths: Paths, _stack: str, classes: list[str], _say: Callable[[str], None], *, real_pods: bool
    ) -> Iterator[list[FakeManager]]:
        assert not real_pods
        self.classes = classes
        stopping = threading.Event()

        def loop() -> None:
            while not stopping.is_set():
                answer = self.runner.request(last_update="")
                if answer.status_code == 201:
                    self.work(self.runner, answer.json())
                stopping.wait(0.05)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield [self.manager]
        finally:
            stopping.set()
            thread.join()

    def run(self, file: Path | None, **fields: Any) -> int:
        order = {"project": "senncloud/deployments", "ref": None, "protected": False, "job": None, "stack": "dev"}
        console = Console(file=self.output, width=200)
        return pipeline_run.run(self.paths, Order(file=file, **{**order, **fields}), console)

    def statuses(self) -> dict[str, str]:
        return {job.name: job.status for job in self.gitlab.project.jobs.list(get_all=True)}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with served(tmp_path) as gitlab:
        yield Bench(tmp_path, gitlab, monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / ".gitlab-ci.yml").write_text(GOOD)
    (folder / ".gitignore").write_text("secret\n")
    (folder / "secret").write_text("x")
    (folder / "main.py").write_text("print()\n")
    return folder


def test_a_folder_is_pushed_and_its_pipeline_runs_to_the_end(bench: Bench, folder: Path) -> None:
    assert bench.run(folder) == 0
    output = bench.output.getvalue()
    assert bench.classes == ["small"]
    assert "build  | hello from build\n" in output
    assert "deploy | success after" in output
    assert output.endswith("pipeline 1 succeeded\n")
    row = next(line for line in output.splitlines() if line.startswith("deploy ") and "|" not in line)
    assert row.split() == ["deploy", "small", "small", "success", "0", "0"]
    repository = next((bench.paths.root.parent / "gitlab" / "repositories").iterdir())
    listed = git(repository, "ls-tree", "-r", "--name-only", "refs/heads/trial").split()
    assert listed == [".gitignore", ".gitlab-ci.yml", "main.py"], "what .gitignore names stays at home"


def test_one_job_brings_only_the_jobs_that_it_waits_for(bench: Bench, folder: Path) -> None:
    assert bench.run(folder / ".gitlab-ci.yml", job="other") == 0
    assert bench.statuses() == {"other": "success"}


def test_a_blocking_manual_job_ends_the_run_and_is_started_by_name(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "ci.yml"
    file.write_text(
        """
ask: {tags: [small-dev], stage: test, when: manual, allow_failure: false, script: [x]}
after: {tags: [small-dev], stage: deploy, script: [x]}
"""
    )
    assert bench.run(file) == 1
    assert bench.statuses() == {"ask": "manual", "after": "created"}
    assert "pipeline 1 waits for a person; start a manual job: `--job 'ask'`" in bench.output.getvalue()
    assert bench.run(file, job="ask") == 0


def test_a_failed_job_gives_exit_code_1_and_its_reason(bench: Bench, folder: Path) -> None:
    bench.work = lambda runner, job: runner.finish(job, "failed", exit_code=3, failure_reason="script_failure")
    assert bench.run(folder) == 1
    assert "failed after 0 s, exit code 3" in bench.output.getvalue()
    assert "pipeline 1 failed: build (script_failure)" in bench.output.getvalue()


def test_ctrl_c_cancels_the_pipeline_and_waits_for_its_jobs(bench: Bench, folder: Path) -> None:
    def work(runner: FakeRunner, job: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for number in range(100):
            if runner.trace(job, b".", begin=number).headers["Job-Status"] == "canceling":
                break
            time.sleep(0.05)
        runner.finish(job, "failed", failure_reason="job_canceled")

    bench.work = work
    assert bench.run(folder) == 3
    assert set(bench.statuses().values()) == {"canceled"}
    assert "canceling the pipeline, and waiting until its jobs have ended" in bench.output.getvalue()


def test_a_killed_manager_ends_the_run_and_no_job_stays(bench: Bench, folder: Path) -> None:
    def work(_runner: FakeRunner, _job: dict[str, Any]) -> None:
        bench.manager.alive = False

    bench.work = work
    with pytest.raises(SandboxError, match="manager of class small ended in the middle of the pipeline"):
        bench.run(folder)
    assert set(bench.statuses().values()) == {"canceled"}


@pytest.mark.parametrize(
    ("text", "fields", "message", "remedy", "code"),
    [
        (None, {}, "does not exist", "name a file in GitLab's format", 2),
        ("a: {script: [x], imagen: y}\n", {}, "imagen", "", 2),
        (GOOD, {"job": "bild"}, "has no job `bild`; it has build, other, deploy", "", 2),
        (GOOD, {"stack": "moon"}, "there is no Pulumi.moon.yaml", "", 2),
        (
            GOOD,
            {"project": "nobody/app"},
            "no project nobody/app and no group nobody",
            "--project senncloud/website",
            2,
        ),
        (
            "a: {script: [x], tags: [gpu]}\n",
            {},
            "job `a` has `gpu`, and no runner class of stack dev takes it",
            "small-dev",
            1,
        ),
        (
            "a: {script: [x], tags: [small]}\n",
            {},
            "job `a` has `small`, and no runner class of stack dev",
            "--stack prod",
            1,
        ),
        ("a: {script: [x]}\n", {}, "job `a` has no tag", "use one of big-dev", 1),
        ("a: {script: [x], tags: [big-dev]}\n", {}, "no runner has the tag `big-dev`", "make up", 1),
        ("a: {script: [x], tags: [deploy-dev]}\n", {}, "`trial` is not protected", "--protected", 1),
    ],
)
def test_bad_input_is_one_sentence_with_the_next_step(
    bench: Bench, tmp_path: Path, text: str | None, fields: dict[str, Any], message: str, remedy: str, code: int
) -> None:
    bench.gitlab.runner("deploy-dev", access_level="ref_protected")
    file = tmp_path / "app" / ".gitlab-ci.yml"
    if text is not None:
        file.parent.mkdir()
        file.write_text(text)
    with pytest.raises(SandboxError) as refused:
        bench.run(file, **fields)
    assert message in refused.value.message
    assert remedy in refused.value.remedy
    assert refused.value.exit_code == code
    assert set(bench.statuses().values()) <= {"canceled"}, "nothing waits for ever"


def test_a_second_run_on_a_stack_names_the_first(bench: Bench, folder: Path) -> None:
    with (
        lock.held(bench.paths, "the first run", file=bench.paths.root / "run-dev.lock"),
        pytest.raises(SandboxError) as refused,
    ):
        bench.run(folder)
    assert "(the first run)" in refused.value.message
    assert refused.value.exit_code == 4
    assert bench.run(folder) == 0


def test_without_a_sandbox_the_next_step_is_named(bench: Bench, folder: Path) -> None:
    bench.paths.state_file.unlink()
    with pytest.raises(SandboxError, match="the sandbox is not running") as refused:
        bench.run(folder)
    assert refused.value.remedy == "start it: `make up`"


def test_the_protected_branch_lets_a_protected_runner_in(bench: Bench, tmp_path: Path) -> None:
    bench.runner = bench.gitlab.runner("deploy-dev", access_level="ref_protected")
    file = tmp_path / "ci.yml"
    file.write_text("a: {script: [x], tags: [deploy-dev]}\n")
    assert bench.run(file, protected=True, ref="release") == 0
    assert bench.classes == ["deploy"]


def test_a_pipeline_includes_the_components_of_this_checkout(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "ci.yml"
    file.write_text(
        """
include:
  - component: $CI_SERVER_FQDN/senncloud/runner-platform/deploy@1.0.0
    inputs: {script: ["echo deployed"], dev_tag: small-dev}
"""
    )
    with contextlib.suppress(SandboxError):
        bench.run(file)
    platform = bench.gitlab.client.projects.get("senncloud/runner-platform")
    repository = bench.paths.root.parent / "gitlab" / "repositories" / f"{platform.id}.git"
    assert "templates/deploy.yml" in git(repository, "ls-tree", "-r", "--name-only", "refs/tags/1.0.0")
