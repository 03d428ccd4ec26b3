"""Builders that are interrupted, that meet, and that are in the way of `clean`: nothing half-built is ever left."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from runner_platform_sandbox.tools import cache, catalogue, ensure, go
from runner_platform_sandbox.tools.cache import is_complete, locked, staged, tool_folder
from runner_platform_sandbox.tools.errors import ToolsError
from sandbox.tests.support.tools_bench import HANGS, Bench, alive, make, wait_for

pytestmark = pytest.mark.processes


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make(tmp_path, monkeypatch)


def quiet() -> Console:
    return Console(quiet=True)


def test_a_build_appears_under_its_key_and_is_not_repeated(bench: Bench) -> None:
    tools = ensure.ensure(bench.paths, ["etcd"], quiet())
    assert tools.etcd == tool_folder(bench.paths, catalogue.ETCD) / "bin" / "etcd"
    assert os.access(tools.etcd, os.X_OK)
    bench.go("exit 1")
    assert ensure.ensure(bench.paths, ["etcd"], quiet()).etcd == tools.etcd


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_half_built(bench: Bench, number: signal.Signals) -> None:
    bench.go(HANGS)
    builder = bench.start("etcd")
    compiler = int(bench.building()[0])
    builder.send_signal(number)
    builder.communicate(timeout=30)
    wait_for(lambda: not alive(compiler))
    assert not tool_folder(bench.paths, catalogue.ETCD).exists()
    if number is not signal.SIGKILL:
        assert builder.returncode == 3
        assert bench.entries() == [], "what can be cleaned up at once is"
    bench.go()
    ensure.ensure(bench.paths, ["etcd"], quiet())
    assert bench.entries() == [tool_folder(bench.paths, catalogue.ETCD).name], "the next builder removes stale folders"


def test_a_failing_step_leaves_nothing(bench: Bench) -> None:
    target = bench.paths.tools / "etcd-x"

    def fail() -> None:
        with staged(bench.paths, "etcd", target) as folder:
            (folder / "half").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert bench.entries() == []


def test_a_damaged_tool_folder_is_replaced(bench: Bench) -> None:
    folder = tool_folder(bench.paths, catalogue.ETCD)
    (folder / "bin").mkdir(parents=True)
    assert not is_complete(catalogue.ETCD, folder)
    ensure.ensure(bench.paths, ["etcd"], quiet())
    assert bench.entries() == [folder.name]


def test_an_environment_whose_python_is_gone_is_incomplete(bench: Bench) -> None:
    folder = tool_folder(bench.paths, catalogue.MINISTACK)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/nowhere/python3")
    assert not is_complete(catalogue.MINISTACK, folder), "an upgrade of the machine may have removed it"


def test_the_second_builder_says_who_builds_and_takes_the_result(bench: Bench) -> None:
    bench.go(f"while [ -e {bench.folder}/wait ]; do /bin/sleep 0.05; done")
    (bench.folder / "wait").touch()
    first = bench.start("etcd")
    bench.building()
    (bench.folder / "building").unlink()
    second = bench.start("etcd")
    assert second.stdout is not None
    said = []
    for line in second.stdout:
        said.append(line)
        if "waiting" in line:
            break
    (bench.folder / "wait").unlink()
    assert f"process {first.pid} is making etcd" in said[-1]
    first.communicate(timeout=30)
    second.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, 0)
    assert not (bench.folder / "building").exists(), "the second must not build again"


def test_a_lock_file_that_was_removed_while_waiting_is_taken_anew(bench: Bench) -> None:
    file = bench.paths.tools / "locks" / "etcd.lock"
    with locked(bench.paths, "etcd", lambda _holder: None):
        file.unlink()
        with locked(bench.paths, "etcd", lambda _holder: pytest.fail("nobody holds the new file")):
            assert file.read_text().strip() == str(os.getpid())


def test_clean_removes_what_was_built_and_keeps_the_sandbox(bench: Bench) -> None:
    ensure.ensure(bench.paths, ["etcd"], quiet())
    bench.paths.root.mkdir()
    said: list[str] = []
    cache.clean(bench.paths, said.append)
    assert not bench.paths.tools.exists()
    assert not (bench.paths.cache / "go").exists()
    assert bench.paths.root.exists()
    assert said[-1].startswith("kept: the sandbox")


def test_the_compilers_files_go_when_every_tool_is_there_and_nobody_builds(bench: Bench) -> None:
    ensure.ensure(bench.paths, ["etcd"], quiet())
    compiled = bench.paths.cache / "go"
    assert compiled.exists(), "the next tool needs them"
    with go.in_use(bench.paths):
        go.remove_build_files(bench.paths)
        assert compiled.exists(), "another clone is building"
        with pytest.raises(ToolsError, match="is building go-files"):
            cache.clean(bench.paths, print)
    go.remove_build_files(bench.paths)
    assert not compiled.exists()


def test_clean_refuses_while_somebody_builds(bench: Bench) -> None:
    bench.go(HANGS)
    builder = bench.start("helm")
    bench.building()
    with pytest.raises(ToolsError, match=f"process {builder.pid} is building helm"):
        cache.clean(bench.paths, print)
    builder.terminate()
    builder.communicate(timeout=30)


def test_clean_refuses_while_a_sandbox_runs_and_not_after_its_end(bench: Bench) -> None:
    bench.paths.root.mkdir()
    supervisor = subprocess.Popen(
        ["/bin/sh", "-c", "read line", "runner_platform_sandbox.supervisor"], stdin=subprocess.PIPE
    )
    wait_for(lambda: b"supervisor" in Path(f"/proc/{supervisor.pid}/cmdline").read_bytes())
    bench.paths.state_file.write_text(f'{{"supervisor": {{"pid": {supervisor.pid}}}}}', encoding="utf-8")
    with pytest.raises(ToolsError, match=f"process {supervisor.pid}.*make down"):
        cache.clean(bench.paths, print)
    supervisor.communicate()
    cache.clean(bench.paths, print)
