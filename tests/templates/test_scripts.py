"""Every script line of the platform's pipeline in a shell, with GitLab's variables and recording tools.

The last test runs each job of every template once. Jobs that need the real commands or a cloud run in tests/platform/test_templates_run.py.
"""

from __future__ import annotations

import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.gitlab.ci.variables import values_of
from tests.support.ci_components import ALL, Component, after, component, run
from tests.support.ci_job import TOKEN, Job, needs_jq
from tests.support.small_repository import git

if TYPE_CHECKING:
    from runner_platform_sandbox.gitlab.ci import pipeline

pytestmark = pytest.mark.thorough

SHELLS = [shell for shell in ("bash", "dash") if shutil.which(shell)]


def pipeline_job(folder: Path) -> Job:
    job = Job(folder)
    job.tool(
        "runner-platform", 'case "$1" in backend) echo s3://state ;; profiles) echo "[profile platform-admin]" ;; esac'
    )
    return job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return pipeline_job(tmp_path / f"{time.monotonic_ns()}")


def platform(job: Job, name: str) -> pipeline.Job:
    return component("platform").jobs(environment=str(job.environment), folder=str(job.folder))[name]


@pytest.mark.parametrize("shell", SHELLS)
def test_check_uses_the_policies_of_the_target_branch(job: Job, shell: str) -> None:
    done = job.run(platform(job, "check"), shell, STACK="dev")
    assert done.returncode == 0, done.stderr
    (call,) = job.called
    tree = call.split("--policies ")[1].split("/policies")[0]
    assert call == f"runner-platform check --stack dev --policies {tree}/policies --reports reports"
    assert git(Path(tree), "rev-parse", "HEAD") == git(job.origin, "rev-parse", "main")


def test_changes_are_compared_with_the_common_ancestor(job: Job) -> None:
    base = git(job.origin, "rev-parse", "main")
    git(job.origin, "commit", "-q", "--allow-empty", "-m", "meanwhile")
    done = job.run(platform(job, "changes"), STACK="prod")
    assert done.returncode == 0, done.stderr
    assert job.called == [f"runner-platform diff {base} --stack prod --reports reports"]


def test_a_fork_is_checked_by_the_target_branch_of_the_original_project(job: Job) -> None:
    fork = job.folder / "fork"
    git(job.folder, "clone", "-q", "--bare", str(job.origin), str(fork))
    git(job.clone, "remote", "set-url", "origin", str(fork))
    git(job.origin, "commit", "-q", "--allow-empty", "-m", "stricter rules")
    shutil.move(job.origin / ".git", job.folder / "target.git")
    git(job.folder / "target.git", "config", "core.bare", "true")
    done = job.run(
        platform(job, "check"),
        STACK="dev",
        CI_PROJECT_ID="2",
        CI_MERGE_REQUEST_PROJECT_URL=f"file://{job.folder}/target",
    )
    assert done.returncode == 0, done.stderr
    newest = git(job.folder / "target.git", "rev-parse", "main")
    assert f"target branch at {newest}" in done.stdout


@pytest.mark.parametrize("name", ["check", "changes"])
def test_unreviewed_code_gets_no_credential(job: Job, name: str) -> None:
    assert not {key for key in values_of(platform(job, name).variables) if "TOKEN" in key or "SECRET" in key}
    job.run(platform(job, name), STACK="dev")
    received = job.environment_of("runner-platform")
    assert received["AWS_EC2_METADATA_DISABLED"] == "true"


def test_a_checkout_with_other_locked_packages_sets_up_its_own_environment(job: Job) -> None:
    (job.clone / "uv.lock").write_text("changed\n")
    done = job.run(platform(job, "check"), STACK="dev")
    assert done.returncode == 0, done.stderr
    assert "set up" in done.stdout
    assert not (job.clone / ".venv").is_symlink()


def test_the_environment_of_the_image_is_linked_if_the_lock_is_the_same(job: Job) -> None:
    job.run(platform(job, "check"), STACK="dev")
    assert (job.clone / ".venv").readlink() == job.environment


def test_the_note_is_posted_by_code_of_the_target_branch_only(job: Job) -> None:
    (job.clone / "uv.lock").write_text("changed\n")
    (job.clone / "sandbox/tools/bootstrap.sh").write_text(f"touch {job.folder}/trapped\n")
    done = job.run(platform(job, "note"))
    assert done.returncode == 0, done.stderr
    assert job.called == [f"runner-platform note {job.clone}/reports"]
    assert job.environment_of("runner-platform")["PWD"] != str(job.clone)
    assert not (job.folder / "trapped").exists()


def test_the_job_tests_runs_make_check_and_the_thorough_tests(job: Job) -> None:
    for tool in ("ruff", "mypy", "pytest"):
        job.tool(tool)
    done = job.run(platform(job, "tests"))
    assert done.returncode == 0, done.stderr
    makefile = (component("platform").path.parent.parent / "Makefile").read_text()
    recipe = makefile.split("\ncheck:")[1].split("\n\n")[0]
    expected = [line.split("$(BIN)/")[1] for line in recipe.splitlines() if "$(BIN)/" in line]
    options = (" --junitxml=reports/tests/junit.xml", " -m not sandbox and not processes")
    assert [call.replace(options[0], "").replace(options[1], "") for call in job.called] == expected
    assert options[1] in job.called[-1], "only this job runs the thorough tests before a merge"


@pytest.mark.parametrize("name", ["preview:dev", "preview:prod", "dev", "prod", "prove:dev", "prove:prod", "drift"])
def test_after_the_merge_a_job_has_only_its_role_of_the_platform(job: Job, name: str) -> None:
    inherited = {
        "AWS_PROFILE": "dev",
        "AWS_ROLE_ARN": "arn:other",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_CONFIG_FILE": "/class/config",
    }
    definition = platform(job, name)
    done = job.run(definition, STACK=values_of(definition.variables)["STACK"], **inherited)
    assert done.returncode == 0, done.stderr
    role = values_of(definition.variables)["PLATFORM_ROLE"]
    own = job.folder / f"runner-platform-{job.variables()['CI_JOB_ID']}"
    assert job.called[:2] == [
        f"runner-platform profiles --platform {role} --token-file {own}/token",
        "runner-platform backend",
    ]
    received = job.environment_of("runner-platform")
    assert {key: value for key, value in received.items() if key.startswith(("AWS_", "PULUMI_BACKEND"))} == {
        "AWS_CONFIG_FILE": str(own / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_SDK_LOAD_CONFIG": "1",
        "PULUMI_BACKEND_URL": "s3://state",
    }
    assert "RUNNER_PLATFORM_ID_TOKEN" not in received, "the token is in the file only"
    assert TOKEN not in done.stdout + done.stderr
    assert (own / "token").read_text() == TOKEN, "a newline at its end would make STS refuse it"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (own, own / "token")} == {
        own.name: 0,
        "token": 0,
    }


def test_a_job_without_an_id_token_fails_and_names_the_protected_branch(job: Job) -> None:
    done = job.run(platform(job, "preview:dev"), RUNNER_PLATFORM_ID_TOKEN="")
    assert done.returncode == 1
    assert "only the protected branch of the platform's project gets one" in done.stderr
    assert job.called == []


def test_each_stage_of_a_deployment_runs_its_commands(job: Job) -> None:
    assert job.run(platform(job, "check:merged"), STACK="foundation").returncode == 0
    for name in ("preview:dev", "dev", "prove:dev", "preview:prod", "prod"):
        assert job.run(platform(job, name), CI_JOB_ID=name.replace(":", "-")).returncode == 0
    commands = [call for call in job.called if call.split()[1] not in {"profiles", "backend"}]
    assert commands == [
        "runner-platform check --stack foundation --reports reports",
        "runner-platform preview --stack dev --plan plans/dev.json --reports reports",
        "runner-platform up --stack dev --plan plans/dev.json --stop 20m",
        "runner-platform prove --stack dev",
        "runner-platform check --stack dev --deployed --reports reports",
        "runner-platform runners --stack dev",
        "runner-platform preview --stack prod --plan plans/prod.json --reports reports",
        "runner-platform up --stack prod --plan plans/prod.json --stop 20m --promoted-from dev",
    ]


@pytest.mark.parametrize("code", [1, 3, 4])
def test_a_deployment_ends_with_the_exit_code_of_the_driver(job: Job, code: int) -> None:
    job.tool("runner-platform", f'case "$1" in up) exit {code} ;; esac')
    definition = platform(job, "dev")
    assert job.run(definition).returncode == code
    assert run(after(definition), job.clone, job.variables()).returncode == 0


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_after_a_cancel_the_pod_stays_until_the_driver_has_finished(job: Job, name: str) -> None:
    job.tool(
        "runner-platform",
        'case "$1" in up) trap "sleep 1; exit 3" TERM; touch running; while :; do sleep 0.1; done ;; esac',
    )
    definition = platform(job, name)
    with job.begun(definition) as shell:
        job.cancel(shell, job.clone / "running")
        began = time.monotonic()
        done = run(after(definition), job.clone, job.variables())
        assert done.returncode == 0
        assert time.monotonic() - began > 0.5, "after_script waits for the driver"
        assert shell.wait(10) == 3


def test_after_script_ends_at_once_if_no_deployment_began(job: Job) -> None:
    assert run(after(platform(job, "dev")), job.clone, job.variables()).returncode == 0


def test_the_job_drift_checks_drift_and_runners_and_fails_with_either(job: Job) -> None:
    job.tool("runner-platform", 'case "$1" in drift) exit 1 ;; esac')
    done = job.run(platform(job, "drift"), STACK="dev")
    assert done.returncode == 1
    assert job.called[-2:] == [
        "runner-platform drift --stack dev --reports reports",
        "runner-platform runners --stack dev",
    ]


AWS = """case "$*" in
  *get-caller-identity*) echo "$TARGET_ACCOUNT" ;;
  *describe-task-definition*) echo '{"taskDefinition": {"containerDefinitions": [{"name": "web"}]}}' ;;
  *) echo arn:web:1 ;;
esac"""
EXECUTOR = 'while [ $# -gt 0 ]; do if [ "$1" = --digest-file ]; then printf sha256:abc > "$2"; fi; shift; done'


@needs_jq
@pytest.mark.parametrize("path", ALL, ids=[path.stem for path in ALL])
def test_every_job_of_every_template_runs(tmp_path: Path, path: Path) -> None:
    template = Component(path)
    for name in template.jobs():
        job = pipeline_job(tmp_path / name.replace(":", "-"))
        for tool, answers in {"aws": AWS, "executor": EXECUTOR, "tofu": "echo '{}'"}.items():
            job.tool(tool, answers)
        for tool in ("ruff", "mypy", "pytest"):
            job.tool(tool)
        for folder in ("infrastructure/dev", "infrastructure/prod", "context"):
            (job.clone / folder).mkdir(parents=True)
        for file in ("Containerfile", "builder.Containerfile", "helper.Containerfile"):
            (job.clone / "context" / file).write_text("ARG VERSION=1.0.0\n")
        (job.environment / "bin/python").symlink_to(job.tools / "executor")
        own = {"environment": str(job.environment), "folder": str(job.folder)}
        copies = template.copies(**{key: value for key, value in own.items() if key in template.inputs})[name]
        for number, copy in enumerate(copies):
            done = job.run(copy, CI_JOB_ID=f"1-{number}")
            assert done.returncode == 0, f"{copy.name}: {done.stdout}{done.stderr}"
            assert job.called, f"{copy.name} calls at least one tool"
        ended = run(after(copies[0]), job.clone, job.variables())
        assert ended.returncode == 0, ended.stderr
