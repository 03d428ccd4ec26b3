"""The supervisor starts in order, heals, gives up in the end, and stops in the opposite order."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox import ports, state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.organization import Organization
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.state import Process
from runner_platform_sandbox.supervisor.parts import Assembly
from runner_platform_sandbox.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from runner_platform_sandbox.aws.client import EksCluster
    from runner_platform_sandbox.supervisor.parts import ControlPlane


class FakeServer:
    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal
        self.running = False
        self.wanted = False
        self.dies_at_once = False

    def start(self) -> None:
        self.journal.append(f"start {self.name}")
        self.wanted = True
        self.running = not self.dies_at_once

    def stop(self) -> None:
        self.journal.append(f"stop {self.name}")
        self.wanted = self.running = False

    def dead(self) -> list[str]:
        return [f"the {self.name} server"] if self.wanted and not self.running else []

    def processes(self) -> list[Process]:
        mine = ProcessId.mine()
        return [Process(name=self.name, pid=mine.pid, started=mine.started)] if self.running else []


class NoClusters:
    def clusters(self) -> list[EksCluster]:
        return []

    def report(self, cluster: EksCluster, said: Mapping[str, Any]) -> None:
        raise AssertionError(f"there is no cluster {cluster} to say {said} of")


def no_plane(record: EksCluster) -> ControlPlane:
    raise AssertionError(f"nobody asked for {record}")


class Running:
    """A supervisor in a thread."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(cache=root / "cache", root=root / "sandbox")
        self.journal: list[str] = []
        self.aws = FakeServer("aws", self.journal)
        self.gitlab = FakeServer("gitlab", self.journal)
        assembly = Assembly(
            organization=Organization(id="o-1", region="eu-central-1", partition="aws", accounts={"cicd": "2" * 12}),
            servers={"aws": self.aws, "gitlab": self.gitlab},
            cloud=NoClusters(),
            control_plane=no_plane,
            introduce=lambda: self.journal.append("introduce"),
        )
        self.supervisor = Supervisor(self.paths, assembly, state.State(run_id="r", ports=ports.choose()))
        self.exit_code: int | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.exit_code = self.supervisor.run()

    def read(self) -> state.State:
        found = state.read(self.paths)
        assert found is not None
        return found

    def start(self) -> None:
        self.thread.start()
        self.until(lambda: self.read().ready)

    def stop(self) -> None:
        self.supervisor.request_stop()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.paths.state_file.exists() and condition():
                return
            time.sleep(0.01)
        pytest.fail(f"did not happen; {self.journal}")


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setattr("runner_platform_sandbox.supervisor.supervisor.STEP_SECONDS", 0.01)
    monkeypatch.setattr("runner_platform_sandbox.supervisor.restarts.FIRST_WAIT_SECONDS", 0.001)
    return Running(tmp_path)


def test_aws_starts_first_and_stops_last(running: Running) -> None:
    running.start()
    assert [process.name for process in running.read().processes] == ["aws", "gitlab"]
    running.stop()
    assert running.journal == ["start aws", "introduce", "start gitlab", "introduce", "stop gitlab", "stop aws"]
    final = running.read()
    assert running.exit_code == 0
    assert (final.supervisor, final.processes, final.ready) == (None, [], False)


def test_a_server_that_dies_is_started_again_told_everything_and_noted(running: Running) -> None:
    running.start()
    running.aws.running = False
    running.until(lambda: any("the aws server ended by itself" in event.text for event in running.read().events))
    running.until(lambda: running.aws.running)
    running.stop()
    assert running.journal.count("introduce") == 3


def test_a_server_that_cannot_live_is_given_up_and_the_state_says_so(running: Running) -> None:
    running.start()
    running.aws.dies_at_once = True
    running.aws.running = False
    running.until(lambda: "given up" in running.read().failure)
    starts = running.journal.count("start aws")
    time.sleep(0.2)
    assert running.journal.count("start aws") == starts <= 6, "it must not be started for ever"
    running.stop()


def test_a_server_that_does_not_start_ends_the_supervisor_with_the_reason(running: Running) -> None:
    def refuse() -> None:
        raise SandboxError("port 4566 is taken by process 7 (nginx)")

    running.gitlab.start = refuse  # type: ignore[method-assign]
    running.thread.start()
    running.thread.join(10)
    assert running.exit_code == 1
    assert "taken by process 7 (nginx)" in running.read().failure
    assert running.journal[-1] == "stop aws", "what had started is stopped"
