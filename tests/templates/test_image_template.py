"""The pipeline that builds the runner image: protected refs and classes only, and its script in a shell."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from components.documents.config_toml import helper_image, runner_image
from config.capabilities import Level
from config.versions import RUNNER_IMAGE_TAG
from runner_platform_sandbox.gitlab.ci.variables import values_of
from tests.support.ci_components import BRANCH, MAIN, REQUEST, commands, component, run
from tests.support.class_settings import settings_of

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

TEMPLATE = component("runner-image.gitlab-ci")
TEXT = TEMPLATE.path.read_text()
INPUTS = TEMPLATE.inputs
DIGEST = f"@sha256:{'0' * 64}"
GIVEN = TEMPLATE.example_inputs
GITLAB = {
    "CI_COMMIT_SHA": "abc",
    "CI_COMMIT_TIMESTAMP": "2026-11-21T00:00:00Z",
    "CI_PIPELINE_ID": "11",
    "CI_JOB_ID": "22",
    "CI_PROJECT_URL": "https://gitlab.com/senncloud/runner-platform",
}
KANIKO_STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" > arguments
echo sha256:pushed > digest
"""
SHELLS = [shell for shell in ("bash", "dash", "busybox") if shutil.which(shell)]


def push(folder: Path, shell: str, variant: str) -> subprocess.CompletedProcess[str]:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "executor").write_text(KANIKO_STAND_IN)
    (folder / "bin" / "executor").chmod(0o755)
    variables = {**GITLAB, "VARIANT": variant, "CI_PROJECT_DIR": str(folder), "PATH": f"{folder}/bin:/usr/bin:/bin"}
    return run(commands(TEMPLATE.jobs()["runner-image:push"]), folder, variables, shell)


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_is_described_held_to_a_pattern_and_used(name: str) -> None:
    declared = INPUTS[name]
    assert declared["description"].endswith(".")
    assert f"$[[ inputs.{name} ]]" in TEXT
    assert re.search(declared["regex"], declared["default"] if "default" in declared else GIVEN[name])


@pytest.mark.parametrize("name", ["base_image", "plain_builder", "helper_image"])
@pytest.mark.parametrize("value", ["debian:trixie-slim", "debian", f"debian{DIGEST[:-1]}", f"debian{DIGEST}; evil", ""])
def test_an_image_without_its_digest_is_refused(name: str, value: str) -> None:
    assert not re.search(INPUTS[name]["regex"], value), "what a tag points to changes"


@pytest.mark.parametrize("stack", ["prod", "dev"])
def test_the_image_is_pushed_to_the_repository_that_classes_pull_from(stack: str) -> None:
    settings = settings_of(stack)
    home = settings.platform_account.id
    image, _, tag = runner_image(settings.names, home).rpartition(":")
    assert re.search(INPUTS["repository"]["regex"], image)
    assert tag == RUNNER_IMAGE_TAG
    assert helper_image(settings.names, home) == f"{image}:{tag}-helper", "the variant that the pipeline pushes"
    assert not re.search(INPUTS["repository"]["regex"], image.replace("protected/", "open/")), (
        "never what open classes write"
    )
    if stack == "prod":
        assert image == GIVEN["repository"] == f"{settings.names.registry_host(home)}/protected/runner"
        assert f"repository: {image}" in TEXT, "the example is that of the committed stack"


def test_only_a_protected_class_builds_and_only_on_protected_refs() -> None:
    assert settings_of("prod").runners[INPUTS["tag"]["default"]].level is Level.PROTECTED
    raised = replace(MAIN, changed_files=["config/versions.py"])
    for situation, start in ((raised, "on_success"), (MAIN, "manual"), (replace(MAIN, source="web"), "manual")):
        jobs = TEMPLATE.running(situation).values()
        assert {job.group for job in jobs} == {"runner-image:render", "runner-image:push"}
        assert {job.when for job in jobs} == {start}
        assert {job.tags for job in jobs} == {("deploy",)}
    for situation in (BRANCH, REQUEST, replace(REQUEST, protected=True), replace(raised, protected=False)):
        assert TEMPLATE.running(situation) == {}


def test_the_class_may_push_to_the_repository() -> None:
    pushed = TEMPLATE.jobs()["runner-image:push"]
    assert pushed.image
    assert pushed.image.name.startswith(f"{GIVEN['repository']}:"), "a protected class runs protected images only"
    assert values_of(pushed.variables)["AWS_PROFILE"] in settings_of("prod").accounts_of("deploy")
    assert TEMPLATE.jobs()["runner-image:render"].image is None, "the class's default image"


def test_the_template_needs_no_daemon_no_privilege_and_no_stored_login() -> None:
    for word in ("docker login", "dind", "privileged", "AWS_ACCESS_KEY_ID", "get-login-password"):
        assert word not in TEXT


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("variant", "file", "suffix", "start"),
    [
        ("runner", "Containerfile", "", f"BASE_IMAGE={GIVEN['base_image']}"),
        ("builder", "builder.Containerfile", "-builder", f"PLAIN_BUILDER={GIVEN['plain_builder']}"),
        ("helper", "helper.Containerfile", "-helper", f"HELPER_IMAGE={GIVEN['helper_image']}"),
    ],
)
def test_each_variant_is_pushed_under_the_rendered_version(
    tmp_path: Path, shell: str, variant: str, file: str, suffix: str, start: str
) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / file).write_text("ARG STACK=prod\nARG VERSION=2.3.4\nFROM x\n")
    done = push(tmp_path, shell, variant)
    assert done.returncode == 0, done.stderr
    arguments = (tmp_path / "arguments").read_text().splitlines()
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options["--context"] == f"dir://{tmp_path}/context"
    assert options["--dockerfile"] == file
    assert options["--destination"] == f"{GIVEN['repository']}:2.3.4{suffix}"
    assert {start, "REVISION=abc", "CREATED=2026-11-21T00:00:00Z"} <= set(arguments)
    assert f"{GIVEN['repository']}:2.3.4{suffix}@sha256:pushed, pipeline 11, job 22" in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_a_context_without_a_version_and_an_unknown_variant_are_refused(tmp_path: Path, shell: str) -> None:
    for variant, words in (("runner", "names no version"), ("other", "no variant other")):
        folder = tmp_path / variant
        (folder / "context").mkdir(parents=True)
        (folder / "context" / "Containerfile").write_text("ARG VERSION\n")
        done = push(folder, shell, variant)
        assert done.returncode == 1
        assert words in done.stderr
        assert not (folder / "arguments").exists(), "nothing is pushed"


@pytest.mark.thorough
@pytest.mark.parametrize("stack", ["prod", "dev"])
def test_the_rendered_context_is_what_the_next_job_builds(tmp_path: Path, stack: str) -> None:
    render = TEMPLATE.jobs(stack=stack, environment=sys.prefix)["runner-image:render"]
    done = run(commands(render), tmp_path, {"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    for variant, suffix in (("runner", ""), ("builder", "-builder"), ("helper", "-helper")):
        pushed = push(tmp_path, "sh", variant)
        assert pushed.returncode == 0, pushed.stderr
        assert f":{RUNNER_IMAGE_TAG}{suffix}@sha256:pushed" in pushed.stdout
