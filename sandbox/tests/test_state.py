"""The state file is whole or absent, and tells who runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox import disk, ports, state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(cache=tmp_path / "cache", root=tmp_path / "sandbox")


def test_it_comes_back_as_it_was_written(paths: Paths) -> None:
    mine = ProcessId.mine()
    written = state.State(
        run_id="0a1b2c3d",
        ports=ports.choose(),
        supervisor=state.Process(name="supervisor", pid=mine.pid, started=mine.started),
        clusters=[state.ClusterState(account="2", region="r", name="n", issuer_id="i", status="ACTIVE")],
    )
    written.note(1.5, "aws ended by itself")
    state.write(paths, written)
    assert state.read(paths) == written
    assert written.running
    assert [entry.name for entry in paths.root.iterdir()] == ["state.json"], "no temporary file stays"
    assert paths.state_file.stat().st_mode & 0o077 == 0, "others on the machine cannot read it"


def test_a_sandbox_that_never_ran_has_none(paths: Paths) -> None:
    assert state.read(paths) is None


def test_a_damaged_file_is_an_error_with_a_remedy(paths: Paths) -> None:
    paths.root.mkdir()
    paths.state_file.write_text('{"run_id": ')
    with pytest.raises(SandboxError, match="sandbox reset"):
        state.read(paths)


def test_a_refused_write_leaves_the_old_file(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.replace(paths.state_file, "old")

    def full(_source: str, _target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SandboxError, match="No space left on device"):
        disk.replace(paths.state_file, "new")
    assert paths.state_file.read_text() == "old"
    assert [entry.name for entry in paths.root.iterdir()] == ["state.json"]


def test_only_the_last_events_are_kept() -> None:
    current = state.State(run_id="x", ports=ports.choose())
    for number in range(state.KEPT_EVENTS + 10):
        current.note(float(number), str(number))
    assert len(current.events) == state.KEPT_EVENTS
    assert current.events[-1].text == str(state.KEPT_EVENTS + 9)


def test_a_supervisor_whose_id_belongs_to_another_process_does_not_run() -> None:
    mine = ProcessId.mine()
    supervisor = state.Process(name="supervisor", pid=mine.pid, started=mine.started - 100)
    assert not state.State(run_id="x", ports=ports.choose(), supervisor=supervisor).running
