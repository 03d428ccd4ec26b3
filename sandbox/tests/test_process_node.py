"""What a process node is told about images and namespaces, without starting one."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from config import load
from runner_platform_sandbox import job_mode, process_node
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.process_images import helper_image_contents, python_folders, runner_image_contents
from runner_platform_sandbox.process_node import ProcessNode, ProcessNodeError, Surroundings, folder_of_nodes
from runner_platform_sandbox.tools import catalogue

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.process_node import Image

AWS = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def runner() -> Image:
    kubectl = PROJECT / "kubectl"
    return runner_image_contents(load.of_stack("dev"), {"kubectl": kubectl}, AWS)


def test_only_the_stacks_own_runner_image_with_its_tag_is_known(runner: Image) -> None:
    image = "222222222222.dkr.ecr.eu-central-1.amazonaws.com/dev/protected/runner"
    assert re.fullmatch(runner.pattern, f"{image}:1.0.0")
    assert not re.fullmatch(runner.pattern, f"{image}:1.0.1")
    assert not re.fullmatch(runner.pattern, f"{image}:1a0.0")


def test_the_runner_image_has_the_variables_of_its_containerfile_and_the_jobs_aws(runner: Image) -> None:
    text = (PROJECT / "image" / "Containerfile").read_text()
    variables = dict(re.findall(r"^(?:ENV| {3}) (\w+)=(\S*?)(?: \\)?$", text[text.index("\nENV ") :], re.MULTILINE))
    assert variables.keys() == {"HOME", "AWS_CONFIG_FILE", "AWS_SDK_LOAD_CONFIG", "AWS_PAGER"}
    assert variables.items() <= runner.environment.items()
    added = {name: value for name, value in runner.environment.items() if name not in variables}
    assert set(added) == {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_EC2_METADATA_DISABLED"}
    assert added["AWS_ENDPOINT_URL_STS"] == AWS, "the listener that takes no root keys"


def test_the_runner_image_has_its_programs_and_the_config_of_every_class(runner: Image) -> None:
    programs = {path for path in {*runner.files, *runner.folders} if path.startswith("/usr/local/bin/")}
    assert programs == {
        f"/usr/local/bin/{name}" for name in ("aws", "kubectl", "doctor", "no-identity", "runner-platform")
    }
    assert "role_arn" in runner.files["/etc/runner-platform/classes/small/config"]
    assert runner.folders["/opt/runner-platform/uv.lock"] == str(PROJECT / "uv.lock"), "runner-platform compares it"


def test_the_helper_image_is_known_in_any_version(tmp_path: Path) -> None:
    helper = helper_image_contents(tmp_path / "gitlab-runner-helper")
    registry = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper"
    assert re.fullmatch(helper.pattern, f"{registry}:x86_64-v19.4.0")
    assert re.fullmatch(helper.pattern, f"{registry.partition('/')[0]}/protected/runner:1.0.0-helper")
    assert not re.fullmatch(helper.pattern, "gitlab-runner-helper-of-mine:1")
    assert not re.fullmatch(helper.pattern, "registry.example.com/protected/runner:1.0.0")
    assert helper.folders == {"/usr/bin/gitlab-runner-helper": str(tmp_path / "gitlab-runner-helper")}


def test_containers_see_the_interpreter_of_the_projects_scripts() -> None:
    folders = python_folders()
    assert any(str(sys.prefix).startswith(str(folder)) for folder in (*folders, "/usr", "/opt", "/nix"))


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("kernel/unprivileged_userns_clone", "1", "--security-opt"),
    ],
)
def test_forbidden_namespaces_are_explained_with_the_setting_that_forbids_them(
    tmp_path: Path, setting: str, value: str, remedy: str
) -> None:
    (tmp_path / setting).parent.mkdir()
    (tmp_path / setting).write_text(f"{value}\n")
    assert remedy in process_node.namespace_remedy(tmp_path)


@pytest.mark.parametrize(
    ("reason", "obstacle", "words", "possible"),
    [
        ("", "", "jobs run in real pods", True),
        ("no root", "", "jobs run as processes: no root", True),
        ("no root", "no namespaces", "jobs cannot run in real pods: no root; nor as processes: no namespaces", False),
    ],
)
def test_the_mode_of_jobs_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, reason: str, obstacle: str, words: str, possible: bool
) -> None:
    monkeypatch.setattr(process_node, "obstacle", lambda: obstacle)
    mode = job_mode.job_mode(reason)
    assert (str(mode), mode.possible) == (words, possible)


def test_every_source_file_of_the_process_node_decides_its_key() -> None:
    folder = catalogue.SOURCES / catalogue.PROCESS_NODE.source
    assert sorted(file.name for file in folder.glob("*.go")) == sorted(catalogue.PROCESS_NODE.own)


def fake_surroundings(folder: Path, *lines: str) -> Surroundings:
    """Return surroundings with a program that does these lines of shell."""
    program = folder / "program"
    program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    program.chmod(0o755)
    none = folder / "none"
    return Surroundings(
        program=program, folder=folder / "node", kubeconfig=none, authority=none, images=(), registries=()
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("empty /x: mkdir /x: no space left on device", "free some space"),
        ("cannot run a job as a process: mount /usr: permission denied", "--security-opt"),
        ("cannot run a job as a process: no user namespaces (no space left on device)", "--security-opt"),
        ("another process node (process 7) runs the jobs of this cluster; wait until it ends", ""),
    ],
)
def test_a_node_that_does_not_start_says_why_and_what_to_do(tmp_path: Path, words: str, remedy: str) -> None:
    with pytest.raises(ProcessNodeError) as caught:
        ProcessNode(fake_surroundings(tmp_path, f"echo '{words}' >&2", "exit 1")).start()
    assert caught.value.message == words
    assert remedy in caught.value.remedy
    assert bool(caught.value.remedy) == bool(remedy)
    assert not (tmp_path / "node" / "process.json").exists()


@pytest.mark.processes
def test_make_down_ends_a_node_whose_caller_was_killed(tmp_path: Path) -> None:
    node = ProcessNode(
        replace(fake_surroundings(tmp_path, "echo ready", "exec sleep 60"), folder=folder_of_nodes(tmp_path) / "c")
    )
    node.start()
    (node.folder / "pods" / "volumes").mkdir(parents=True)
    assert process_node.end_leftovers(tmp_path) == 1
    assert not (node.folder / "pods").exists()
    assert process_node.end_leftovers(tmp_path) == 0
    node.stop()
