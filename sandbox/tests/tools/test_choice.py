"""Which tool is used: what PATH offers, in every state of repair, against what the cache holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools import catalogue, go, versions
from runner_platform_sandbox.tools.cache import expected_files, tool_folder
from runner_platform_sandbox.tools.discovery import Origin, Tools, discover, nearest_version, search_path
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.versions import Version

if TYPE_CHECKING:
    from pathlib import Path

PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
LANGUAGE = ("pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(cache=tmp_path / "cache", root=tmp_path / "cache" / "sandbox")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def fake(folder: Path, name: str, says: str = "", *, code: int = 0) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def build(paths: Paths, *names: str) -> None:
    """Put complete tools into the cache."""
    for tool in (catalogue.BY_NAME[name] for name in names):
        for file in expected_files(tool, tool_folder(paths, tool)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kubernetes v1.35.4", Version(1, 35, 4)),
        ("v3.200.0", Version(3, 200, 0)),
        ("v3.210.1-alpha.1", Version(3, 210, 1)),
        ("etcd Version: 3.5.16\nGit SHA: 1.2", Version(3, 5, 16)),
        ("go version go1.26 linux/amd64", Version(1, 26, 0)),
        ("v1.32.4-dispatcher", Version(1, 32, 4)),
        ("v4.1", Version(4, 1, 0)),
        ("kwok version v0.8.0 go1.26.8 (linux/amd64)", Version(0, 8, 0)),
        ("command not present", None),
        ("", None),
    ],
)
def test_a_version_is_read_from_a_programs_own_words(text: str, expected: Version | None) -> None:
    assert versions.parse(text) == expected


def test_versions_compare_by_number_not_by_letter() -> None:
    assert Version(3, 200) > Version(3, 99, 9)


def test_the_pinned_versions_come_from_the_modules() -> None:
    assert catalogue.API_SERVER.version.series == "1.35"
    assert "gitVersion=v1.35." in catalogue.API_SERVER.linker_flags
    assert "gitMinor=35" in catalogue.API_SERVER.linker_flags


def test_a_module_that_go_mod_lacks_is_named() -> None:
    with pytest.raises(ToolsError, match=r"sandbox/tools/helm/go.mod does not require k8s.io/nothing"):
        catalogue.module_version("helm", "k8s.io/nothing")


@pytest.mark.parametrize(
    ("name", "says", "used"),
    [
        ("helm", "v3.14.0+gc309b6f", True),
        ("helm", "v4.1.4", True),
        ("helm", "v3.13.9", False),
        ("kubectl", "Client Version: v1.34.0", True),
        ("kubectl", "Client Version: v1.37.0", True),
        ("kubectl", "Client Version: v1.33.9", False),
        ("etcd", "etcd Version: 3.5.0", True),
        ("etcd", "etcd Version: 3.4.30", False),
        ("kwok", "kwok version v0.7.0", True),
        ("kwok", "kwok version v0.6.1", False),
        ("helm", "broken wrapper", False),
    ],
)
def test_a_tool_on_path_is_used_when_it_is_new_enough(
    paths: Paths, folder: Path, name: str, says: str, *, used: bool
) -> None:
    program = fake(folder, name, says)
    present = discover(paths)
    assert (name in present) is used
    if used:
        assert present[name].program == program
        assert present[name].origin is Origin.PATH


def test_a_tool_that_fails_to_tell_its_version_is_not_used(paths: Paths, folder: Path) -> None:
    fake(folder, "helm", "v4.1.4", code=1)
    assert "helm" not in discover(paths)


def test_a_tool_that_hangs_is_not_used(paths: Paths, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "ASK_SECONDS", 0.2)
    program = folder / "helm"
    program.write_text("#!/bin/sh\nexec /bin/sleep 30\n", encoding="utf-8")
    program.chmod(0o755)
    assert "helm" not in discover(paths)


def test_path_wins_over_the_cache_and_an_old_one_on_path_does_not(paths: Paths, folder: Path) -> None:
    build(paths, "helm")
    fake(folder, "helm", "v3.0.0")
    assert discover(paths)["helm"].origin is Origin.CACHE
    fake(folder, "helm", "v4.0.0")
    assert discover(paths)["helm"].origin is Origin.PATH


def test_the_caches_own_folders_do_not_count_as_path(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    own = paths.tools / "helm-000000000000" / "bin"
    monkeypatch.setenv("PATH", f"{own}{os.pathsep}/usr/bin{os.pathsep}{paths.bin}")
    assert search_path(paths) == "/usr/bin", "after `sandbox env` a tool of an older lock file would win"


def test_pulumi_from_path_brings_its_own_language_host(paths: Paths, folder: Path) -> None:
    build(paths, "pulumi")
    for name in LANGUAGE:
        fake(folder, name)
    fake(folder, "pulumi", "v3.272.0")
    tools = Tools(paths=paths, present=discover(paths))
    assert tools.pulumi == folder / "pulumi"
    assert tools.pulumi_language_python == folder, "engine and language host of different releases do not fit"


def test_pulumi_behind_a_link_finds_its_companions_beside_the_file(paths: Paths, folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "pulumi-3.272.0"
    real.mkdir()
    for name in LANGUAGE:
        fake(real, name)
    fake(real, "pulumi", "v3.272.0")
    (folder / "pulumi").symlink_to(real / "pulumi")
    tools = Tools(paths=paths, present=discover(paths))
    assert tools.pulumi_language_python == real
    assert tools.path_folders() == [real], "the engine looks for its language host on PATH"


def test_pulumi_without_its_python_host_is_not_used(paths: Paths, folder: Path) -> None:
    build(paths, "pulumi")
    fake(folder, "pulumi", "v3.272.0")
    present = discover(paths)
    assert present["pulumi"].origin is Origin.CACHE
    assert Tools(paths=paths, present=present).pulumi_language_python.is_relative_to(paths.tools)


def origins(paths: Paths) -> str:
    """One letter for each part of the control plane: from PATH, from the cache, or missing."""
    present = discover(paths)
    return "".join(present[name].origin.name[0] if name in present else "-" for name in PLANE)


@pytest.mark.parametrize(
    ("versions_on_path", "expected"),
    [
        (("1.35.1", "1.35.1", "1.35.9"), "PPP"),
        (("1.36.0", "1.36.0", "1.36.0"), "PPP"),
        (("1.35.1", None, None), "PCC"),
        (("1.36.0", "1.36.0", None), "CCC"),
        (("1.36.0", "1.35.0", "1.36.0"), "CPC"),
        (("1.33.0", "1.33.0", "1.33.0"), "CCC"),
        ((None, "1.35.2", "1.36.0"), "CPC"),
        ((None, None, None), "CCC"),
    ],
)
def test_a_control_plane_is_of_one_minor_version(
    paths: Paths, folder: Path, versions_on_path: tuple[str | None, ...], expected: str
) -> None:
    build(paths, *PLANE)
    for name, version in zip(PLANE, versions_on_path, strict=True):
        if version is not None:
            fake(folder, name, f"Kubernetes v{version}")
    assert origins(paths) == expected


def test_the_minor_version_that_can_be_served_is_that_of_the_api_server(paths: Paths, folder: Path) -> None:
    for name in PLANE:
        fake(folder, name, "Kubernetes v1.36.2")
    assert Tools(paths=paths, present=discover(paths)).kubernetes_versions() == ("1.36",)


@pytest.mark.parametrize(
    ("pinned", "served", "expected"),
    [
        ("1.35", ("1.35",), "1.35"),
        ("1.33", ("1.35",), "1.35"),
        ("1.34", ("1.33", "1.35"), "1.35"),
        ("1.9", ("1.8", "1.35"), "1.8"),
    ],
)
def test_the_nearest_served_version_is_chosen(pinned: str, served: tuple[str, ...], expected: str) -> None:
    assert nearest_version(pinned, served) == expected


@pytest.mark.parametrize(("says", "used"), [("go1.26.8", True), ("go1.27.0", True), ("go1.25.9", False), ("", False)])
def test_go_on_path_is_used_when_every_module_allows_it(folder: Path, says: str, *, used: bool) -> None:
    fake(folder, "go", f"go version {says} linux/amd64")
    assert (go.on_path(str(folder)) is not None) is used


def test_everything_that_is_missing_is_named_at_once_with_a_remedy(paths: Paths, folder: Path) -> None:
    fake(folder, "helm", "v4.1.4")
    build(paths, "etcd")
    with pytest.raises(
        ToolsError, match=r"ministack, kube-apiserver, .*kwok-stages, karpenter-crds; run `make up`"
    ) as refused:
        Tools.find(paths)
    assert "helm" not in str(refused.value)
    assert "etcd" not in str(refused.value)


def test_a_complete_cache_serves_everything(paths: Paths, folder: Path) -> None:
    assert folder.is_dir()
    build(paths, *catalogue.BY_NAME)
    tools = Tools.find(paths)
    assert tools.kubectl.is_file()
    assert tools.ministack_python.parent.parent.parent == paths.tools
    assert [file.name for file in tools.kwok_stages] == [
        "node-heartbeat.yaml",
        "node-initialize.yaml",
        "pod-complete.yaml",
        "pod-delete.yaml",
        "pod-ready.yaml",
    ]
    assert [file.name for file in tools.karpenter_crds] == [
        "karpenter.sh_nodeclaims.yaml",
        "karpenter.sh_nodepools.yaml",
    ]
    folders = tools.path_folders()
    assert tools.helm.parent in folders
    assert tools.ministack_python.parent not in folders, "its `python` would hide the person's"


def test_a_sandbox_waits_for_no_tool_that_only_tests_use(paths: Paths, folder: Path) -> None:
    assert folder.is_dir()
    build(paths, *(tool.name for tool in catalogue.TOOLS))
    tools = Tools.find(paths)
    with pytest.raises(ToolsError, match="missing tool: tofu; run `make tools`"):
        _ = tools.tofu
