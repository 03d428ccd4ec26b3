"""The build context of the runner image: complete, the same each time, pinned, and with the very configs that classes get."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import botocore.session
import pytest
from botocore.exceptions import CredentialRetrievalError

from components.documents.config_toml import JOB_USER
from components.documents.machines import tasks
from config import load
from config.names import AWS_CONFIG_MAP, IDENTITY_FOLDER, namespace_jobs
from config.versions import FLEETING_PLUGIN, RUNNER_IMAGE_TAG
from runner_platform import image_context
from runner_platform.cli import main
from runner_platform.errors import FailedError
from runner_platform_sandbox.tools import catalogue
from tests.support.class_settings import CLASSES, settings_of
from tests.support.program import STACKS, mock_run

if TYPE_CHECKING:
    from pathlib import Path

MAIN, BUILDER, HELPER, FARGATE, MANAGER = image_context.CONTAINERFILES
PINS = {
    MAIN: {"BASE_IMAGE"},
    BUILDER: {"PLAIN_BUILDER"},
    HELPER: {"HELPER_IMAGE"},
    FARGATE: {"RUNNER_IMAGE", "HELPER_IMAGE"},
    MANAGER: {"BASE_IMAGE", "MANAGER_IMAGE", "FLEETING_CHECKSUM"},
}
"""The arguments of each Containerfile that a company fills in."""
SCRIPTS = (
    *("bin/doctor", "bin/no-identity", "bin/runner-platform"),
    *("build/go-tools", "build/install-packages", "build/install-plugin", "build/python-environment"),
)


@cache
def context(stack: str = "prod") -> image_context.Files:
    return image_context.context(settings_of(stack))


def text(path: str, stack: str = "prod") -> str:
    return context(stack)[path][0].decode()


def instructions(name: str = MAIN) -> list[str]:
    """Instructions of a Containerfile, continued lines joined, without comments."""
    lines = [line for line in text(name).splitlines() if not line.startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def copied() -> set[str]:
    """What the Containerfiles copy out of the context."""
    lines = [line for name in image_context.CONTAINERFILES for line in instructions(name)]
    words = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    return {word.rstrip("/") for line in words for word in line}


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_class_s_baked_config_is_the_text_of_its_config_map(stack: str, runner_class: str) -> None:
    maps = mock_run(stack).of_type("kubernetes:core/v1:ConfigMap")
    (own,) = [
        each
        for each in maps
        if each.inputs["metadata"].get("namespace") == namespace_jobs(runner_class)
        and each.inputs["metadata"]["name"] == AWS_CONFIG_MAP
    ]
    assert text(f"etc/classes/{runner_class}/config", stack) == own.inputs["data"]["config"], (
        "one text, from one function"
    )


@pytest.mark.parametrize("stack", STACKS)
def test_the_context_holds_all_that_is_copied_and_nothing_else(stack: str) -> None:
    files = set(context(stack)) - set(image_context.CONTAINERFILES)
    for source in copied():
        assert any(path == source or path.startswith(f"{source}/") for path in files), f"{source} is not in the context"
    stray = {path for path in files if not any(path == each or path.startswith(f"{each}/") for each in copied())}
    assert not stray, "a file that nothing copies is a file that somebody forgot"


def test_the_same_settings_give_the_same_bytes_modes_and_times(tmp_path: Path) -> None:
    def seen(folder: Path) -> dict[str, tuple[bytes, int, float]]:
        image_context.write(settings_of("prod"), folder)
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        return {
            str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mode & 0o777, file.stat().st_mtime)
            for file in files
        }

    first = seen(tmp_path / "first")
    assert first == seen(tmp_path / "second")
    assert {mode for _, mode, _ in first.values()} == {0o644, 0o755}, "whatever the umask of the one who renders"
    assert {time for *_, time in first.values()} == {0.0}, "times end up in layers"


def test_stacks_differ_in_their_classes_configs_and_names_alone() -> None:
    prod, dev = context("prod"), context("dev")
    assert set(prod) == set(dev)
    different = {path for path in prod if prod[path] != dev[path]}
    assert different == {path for path in prod if path.startswith("etc/")} | set(image_context.CONTAINERFILES)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stale").touch()
    with pytest.raises(FailedError, match="not empty"):
        image_context.write(settings_of("prod"), tmp_path)
    with pytest.raises(FailedError, match="cannot be written"):
        image_context.write(settings_of("prod"), tmp_path / "stale" / "below")


def test_the_command_writes_the_context_and_refuses_a_stack_without_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["runner-platform", "image", "render", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        return int(ended.value.code or 0)

    assert run("--stack", "dev", str(tmp_path / "context")) == 0
    assert (tmp_path / "context" / MAIN).exists()
    assert f"{len(context())} files" in capsys.readouterr().out
    assert run("--stack", "foundation", str(tmp_path / "other")) == 2
    assert run("--stack", "prod", str(tmp_path / "context")) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_arguments_of_the_stack_are_filled_in_and_pins_of_the_company_are_left_open() -> None:
    for name in image_context.CONTAINERFILES:
        given = set(re.findall(r"^ARG ([A-Z_]+)$", text(name), re.MULTILINE))
        assert given == PINS[name], "a digest that nobody fetched is no pin"
        assert f"ARG VERSION={RUNNER_IMAGE_TAG}" in text(name)
        assert "ARG STACK=dev" in text(name, "dev")
    assert f"ARG USER_ID={JOB_USER}" in text(MAIN)
    assert JOB_USER > 0, "jobs are not root"


def test_the_image_runs_as_a_numeric_user_with_a_home_of_its_own() -> None:
    assert instructions()[-3:] == ["USER ${USER_ID}:${USER_ID}", "WORKDIR /home/runner", 'CMD ["bash"]']
    assert any("--create-home" in line for line in instructions()), "tools keep sessions and settings there"
    assert not any(line.startswith("USER") for line in instructions(BUILDER)), (
        "the plain builder is root in its container"
    )
    assert {line.split()[0] for line in instructions(HELPER)} <= {"ARG", "FROM", "LABEL"}, "GitLab's helper, unchanged"


def test_a_task_s_image_ends_as_the_user_that_the_task_definition_names() -> None:
    assert instructions(FARGATE)[-3] == "USER ${USER_ID}:${USER_ID}"
    assert f'useradd --uid "$USER_ID" --user-group --create-home --shell /bin/bash {tasks.JOB_USER_NAME}' in text(MAIN)
    folders = next(line for line in instructions(FARGATE) if "install -d" in line)
    for folder in (tasks.BUILDS_FOLDER, tasks.STATE_FOLDER, IDENTITY_FOLDER):
        assert folder in folders, "the job's user writes it"
    assert f"COPY machine/task.py {tasks.ENTRY_POINT}" in instructions(FARGATE)


def test_the_manager_s_image_holds_all_that_its_user_data_starts() -> None:
    lines = instructions(MANAGER)
    assert f"COPY machine/fargate.py {tasks.DRIVER}" in lines
    assert context()["machine/fargate.py"][1] == image_context.PROGRAM, "the runner starts it by its path"
    assert f"ARG FLEETING_PLUGIN={FLEETING_PLUGIN}" in lines
    packages = {line.split()[0] for line in text("debian/manager.txt").splitlines() if not line.startswith("#")}
    assert {"python3-boto3", "openssh-client", "amazon-ecr-credential-helper"} <= packages
    for name in ("openssh-server", "openssh-client"):
        runner = [line for line in text("debian/runner.txt").splitlines() if line.startswith("openssh-client ")]
        version = runner[0].split()[1]
        listed = text("debian/fargate.txt") + text("debian/manager.txt")
        assert f"{name} {version} amd64" in listed, "one release of OpenSSH in all images"


@pytest.mark.parametrize(
    ("programs", "checksum", "words"),
    [
        (["aws/plugin"], "right", ""),
        (["aws/plugin"], "0" * 64, "has the checksum"),
        (["aws/plugin"], "", "has the checksum"),
        (["aws/plugin", "more/plugin"], "right", "expected one program"),
        ([], "right", "expected one program"),
    ],
    ids=["right", "wrong", "none", "two programs", "no program"],
)
def test_a_plugin_is_installed_only_with_its_checksum(
    tmp_path: Path, programs: list[str], checksum: str, words: str
) -> None:
    runner = tmp_path / "bin/gitlab-runner"
    runner.parent.mkdir()
    runner.write_text('#!/bin/sh\ngrep -q \'plugin = "aws:1.1.0"\' "$3"\n')
    runner.chmod(0o755)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for program in programs:
        (plugins / program).parent.mkdir()
        (plugins / program).write_text("plugin")
    expected = hashlib.sha256(b"plugin").hexdigest() if checksum == "right" else checksum
    done = subprocess.run(
        [load.ROOT / "image/build/install-plugin", "aws:1.1.0", expected],
        env={"PATH": f"{runner.parent}:/usr/bin:/bin", "FLEETING_PLUGIN_PATH": str(plugins)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (words == "")
    assert words in done.stderr


@pytest.mark.parametrize("name", image_context.CONTAINERFILES)
def test_each_image_says_what_it_is(name: str) -> None:
    (labels,) = [line for line in instructions(name) if line.startswith("LABEL")]
    for key in ("title", "description", "version", "revision", "created", "source", "base.name"):
        assert f"org.opencontainers.image.{key}=" in labels


@pytest.mark.parametrize("name", image_context.CONTAINERFILES)
def test_every_builder_can_build_it_and_nothing_is_downloaded_unchecked(name: str) -> None:
    for line in instructions(name):
        assert not line.startswith("ADD "), "ADD of an address checks nothing"
        assert not re.search(r"RUN .*(--mount|--security|--network|<<)", line), (
            "kaniko and older buildah do not know it"
        )
        assert not re.search(r"\b(curl|wget|git clone)\b", line), "what is downloaded goes through a lock file"


@pytest.mark.parametrize("path", [f"debian/{name}.txt" for name in ("runner", "compiler", "fargate", "manager")])
def test_each_debian_package_is_pinned_for_both_architectures(path: str) -> None:
    lines = [line.split() for line in text(path).splitlines() if line and not line.startswith("#")]
    by_name: dict[str, set[str]] = {}
    for name, version, architecture, checksum in lines:
        assert re.fullmatch(r"[0-9a-f]{64}", checksum)
        assert re.match(r"\d", version)
        by_name.setdefault(name, set()).add(architecture)
    assert set(map(frozenset, by_name.values())) <= {frozenset({"all"}), frozenset({"amd64", "arm64"})}
    assert len({tuple(line[:1] + line[2:3]) for line in lines}) == len(lines), "one version each"


def test_go_programs_are_built_as_the_sandbox_builds_them() -> None:
    listed = [line.split() for line in text("build/go-tools.txt").splitlines() if line and not line.startswith("#")]
    ours = {name: (source, module, package, tuple(rest)) for name, source, module, package, *rest in listed}
    theirs = {}
    for tool in (catalogue.TOFU, catalogue.HELM, catalogue.KUBECTL, catalogue.PULUMI):
        theirs[tool.name] = (tool.source, tool.module, tool.package, tool.variables)
        for each in tool.companions:
            module = each.package.partition("/python/")[0]
            theirs[each.name] = (each.source, module, each.package, ())
    assert ours == theirs
    for source, *_ in ours.values():
        assert {f"tools/{source}/go.mod", f"tools/{source}/go.sum"} <= set(context()), "go.sum is the checksum"
    for copied_file in catalogue.PULUMI.files[0].files:
        assert copied_file in text("build/go-tools"), "the engine starts it"


def test_this_program_s_dependencies_come_by_its_own_lock_file() -> None:
    assert text("python/uv.lock") == (load.ROOT / "uv.lock").read_text()
    assert "--require-hashes" in text("build/python-environment")
    assert "--frozen" in text("build/python-environment")


@pytest.mark.parametrize("stack", STACKS)
def test_a_container_without_an_identity_is_told_so_by_every_profile(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The baked program's own words, through a real SDK that would otherwise go on to the node's role.
    config = tmp_path / "config"
    program = load.ROOT / "image/bin/no-identity"
    config.write_text(text("etc/aws/config", stack).replace(image_context.NO_IDENTITY, str(program)))
    accounts = {name for each in settings_of(stack).runners for name in settings_of(stack).accounts_of(each)}
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert set(botocore.session.Session().available_profiles) == {"default", "base", *accounts}
    for profile in ("default", "base", *accounts):
        with pytest.raises(CredentialRetrievalError, match=r"no AWS identity.*doctor"):
            botocore.session.Session(profile=profile).get_credentials()


def test_the_baked_command_runs_a_checkout_with_the_image_s_dependencies_only(tmp_path: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        command = [str(load.ROOT / "image/bin/runner-platform"), "check"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run().returncode == 2
    assert "is not a checkout of runner-platform" in run().stderr
    (tmp_path / "runner_platform" / "cli").mkdir(parents=True)
    (tmp_path / "runner_platform" / "cli" / "main.py").touch()
    (tmp_path / "uv.lock").write_text("others")
    assert run().returncode == 2
    assert "differs from that of the image" in run().stderr


@pytest.mark.parametrize("path", SCRIPTS)
def test_scripts_are_programs_that_a_shell_can_parse(path: str) -> None:
    content, mode = context()[path]
    assert mode == image_context.PROGRAM
    assert content.startswith(b"#!/bin/sh\n")
    done = subprocess.run(["sh", "-n"], input=content, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
