"""The CI/CD components: valid for GitLab, typed inputs, and the credentials of each job."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from config import load
from config.versions import RUNNER_IMAGE_TAG
from runner_platform_sandbox.gitlab.ci.variables import expanded, values_of
from tests.support.ci_components import (
    ALL,
    BRANCH,
    FORK,
    MAIN,
    NAMES,
    REQUEST,
    SCHEDULE,
    Component,
    commands,
    component,
    jobs_in,
)

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.gitlab.ci.context import Context
    from runner_platform_sandbox.gitlab.ci.pipeline import Job

UNPROTECTED = replace(MAIN, protected=False)
REVIEW = {"check", "changes", "tests", "note"}


@pytest.fixture(scope="module")
def platform() -> dict[str, Job]:
    """All jobs of the platform's pipeline, of parallel jobs the first copy."""
    return component("platform").jobs()


def _groups(name: str, situation: Context) -> dict[str, str]:
    """Return `when` of each job that runs, by its name in the file."""
    return {job.group: job.when for job in component(name).running(situation).values()}


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_typed_described_used_and_bounded(name: str) -> None:
    template = component(name)
    for key, declared in template.inputs.items():
        assert declared["type"] in {"string", "array", "boolean", "number"}, key
        assert declared["description"].endswith("."), key
        assert f"$[[ inputs.{key} ]]" in template.parts[1], f"{key} is not used"
        if declared["type"] == "string":
            allowed = declared.get("regex") or f"^({'|'.join(declared['options'])})$"
            assert re.search(allowed, declared.get("default", "")) or "default" not in declared, key
            for injection in ('x"; curl evil', "x`id`", "x\n- evil", "x$(id)"):
                assert not re.search(allowed, injection), f"{key} takes {injection!r}"


@pytest.mark.parametrize("path", ALL, ids=[path.stem for path in ALL])
def test_gitlab_reads_every_example_at_the_head_of_a_template(path: Path) -> None:
    assert any(jobs_in(Component(path).example, situation) for situation in (MAIN, REQUEST))


def test_examples_name_the_committed_accounts_and_the_current_image() -> None:
    settings = load.of_stack("prod")
    home = settings.platform_account.id
    image = f"{home}.dkr.ecr.{settings.organization.region}.amazonaws.com/{settings.names.runner_image()}"
    assert component("platform").example_inputs["image"] == f"{image}:{RUNNER_IMAGE_TAG}"
    for name in ("deploy", "ecs"):
        inputs = component(name).example_inputs
        assert inputs["dev_account"] == settings.accounts["dev"].id
        assert inputs["prod_account"] == settings.accounts["prod"].id


@pytest.mark.parametrize("name", ["deploy", "ecs", "opentofu", "image"])
def test_default_tags_and_profiles_are_those_of_the_production_stack(name: str) -> None:
    settings = load.of_stack("prod")
    inputs = component(name).inputs
    for key in ("dev", "open"):
        if f"{key}_tag" in inputs:
            assert settings.runners[inputs[f"{key}_tag"]["default"]].level.value == "open"
    for key in ("prod", "protected"):
        if f"{key}_tag" in inputs:
            assert settings.runners[inputs[f"{key}_tag"]["default"]].level.value == "protected"
    for key in ("dev_profile", "prod_profile", "profile"):
        if key in inputs:
            tag = inputs.get("prod_tag" if key == "prod_profile" else "dev_tag", inputs.get("open_tag"))
            assert inputs[key]["default"] in settings.accounts_of(tag["default"])  # type: ignore[index]  # each has one of both


@pytest.mark.parametrize("name", [template for template in NAMES if template != "platform"])
def test_two_includes_do_not_overwrite_each_others_jobs(name: str) -> None:
    template = component(name)
    assert not set(template.jobs()) & set(template.jobs(name="another"))


def test_a_merge_request_runs_only_jobs_without_credentials() -> None:
    assert set(_groups("platform", REQUEST)) == REVIEW
    assert set(_groups("platform", FORK)) == REVIEW - {"note"}, "a fork's pipeline has no token to post with"
    for job in component("platform").running(REQUEST).values():
        assert not job.id_tokens
        assert job.tags == ("review",)
        assert job.interruptible
        assert "pulumi" not in "\n".join(job.script)


def test_after_the_merge_production_waits_for_a_person(platform: dict[str, Job]) -> None:
    running = _groups("platform", MAIN)
    assert running.pop("prod") == "manual"
    assert set(running.values()) == {"on_success"}
    assert set(running) == set(platform) - REVIEW - {"drift", "prod"}
    assert platform["prod"].allow_failure is False, "without it the pipeline is green before prod"
    assert _needs(platform["prod"]) == {"preview:prod", "prove:dev"}, "a failed proof prevents the deployment"


def _needs(job: Job) -> set[str]:
    return {need.job for need in job.needs or ()}


def test_a_schedule_runs_drift_only_and_other_branches_run_no_job() -> None:
    assert set(_groups("platform", SCHEDULE)) == {"drift"}
    assert _groups("platform", BRANCH) == {}
    assert _groups("platform", UNPROTECTED) == {}, "an unprotected default branch deploys nothing"


def test_only_jobs_of_the_protected_branch_have_an_id_token(platform: dict[str, Job]) -> None:
    with_token = {name for name, job in platform.items() if job.id_tokens}
    assert with_token == {"preview:dev", "preview:prod", "dev", "prod", "prove:dev", "prove:prod", "drift"}
    for name in with_token:
        (token,) = platform[name].id_tokens
        assert (token.name, token.audiences) == ("RUNNER_PLATFORM_ID_TOKEN", ("$CI_SERVER_URL",))
        assert platform[name].tags == ("deploy",)
    for situation in (REQUEST, FORK, BRANCH):
        assert not with_token & set(_groups("platform", situation))


def test_previews_and_drift_use_the_reader_and_changes_the_deployer(platform: dict[str, Job]) -> None:
    roles = {name: values_of(job.variables)["PLATFORM_ROLE"] for name, job in platform.items() if job.id_tokens}
    assert {name for name, role in roles.items() if role == "reader"} == {"preview:dev", "preview:prod", "drift"}
    assert {name for name, role in roles.items() if role == "deployer"} == {"dev", "prod", "prove:dev", "prove:prod"}


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_a_deployment_runs_alone_without_interruption_and_has_time_to_end(platform: dict[str, Job], name: str) -> None:
    job = platform[name]
    variables = values_of(job.variables)
    assert job.interruptible is False
    assert job.resource_group == f"platform-{name}"
    assert variables["STACK"] == name
    limit = int(variables["RUNNER_AFTER_SCRIPT_TIMEOUT"].removesuffix("m"))
    stop = re.search(r'--stop "(\d+)m"', "\n".join(job.script))
    assert stop
    assert int(stop[1]) < limit, "the driver must give up before the pod goes"
    assert f"preview:{name}" in _needs(job)
    assert '--plan "plans/$STACK.json"' in "\n".join(job.script)


def test_production_is_promoted_from_the_trial_stack(platform: dict[str, Job]) -> None:
    assert values_of(platform["prod"].variables)["UP_OPTIONS"] == "--promoted-from dev"
    assert values_of(platform["dev"].variables)["UP_OPTIONS"] == ""


def test_every_stack_has_a_row_of_its_own_on_the_merge_request_page(platform: dict[str, Job]) -> None:
    for name in ("check", "changes", "check:merged"):
        assert [copy.matrix["STACK"] for copy in component("platform").copies()[name]] == ["foundation", *load.stacks()]
    artifacts = platform["changes"].artifacts
    assert artifacts
    assert artifacts.reports == {"terraform": ("reports/*/terraform.json",)}


def test_only_a_job_without_code_of_the_branch_gets_the_token_of_the_note(platform: dict[str, Job]) -> None:
    job = platform["note"]
    assert job.environment
    assert (job.environment.name, job.environment.action) == ("platform/note", "access")
    first_line, later_lines = job.before_script[0], [*job.before_script[1:], *job.script]
    assert "worktree add" in first_line
    assert later_lines[0] == 'cd "$target_tree"', "later lines run the target branch's code"
    assert [name for name, another in platform.items() if another.environment == job.environment] == ["note"]


def test_update_plans_are_readable_for_maintainers_only(platform: dict[str, Job]) -> None:
    for name in ("preview:dev", "preview:prod"):
        job = platform[name]
        assert job.artifacts
        assert job.artifacts.access == "maintainer"
        assert job.environment
        assert job.environment.action == "prepare", "a preview is no deployment"


@pytest.mark.parametrize("name", ["deploy", "ecs", "opentofu"])
def test_applications_are_deployed_to_dev_automatically_and_to_prod_manually(name: str) -> None:
    running = component(name).running(MAIN)
    first, second = (
        next(job for job_name, job in running.items() if job_name.count(":") == 1 and job_name.endswith(f":{target}"))
        for target in ("dev", "prod")
    )
    assert (first.when, second.when) == ("on_success", "manual")
    assert second.allow_failure is False
    assert second.name not in component(name).running(UNPROTECTED)
    for job in (first, second):
        assert job.name not in {**component(name).running(REQUEST), **component(name).running(BRANCH)}
        assert job.interruptible is False
        assert job.resource_group
        assert not job.id_tokens, "the class is the identity"
    assert [job.environment and job.environment.name for job in (first, second)] == ["dev", "prod"]
    assert [values_of(job.variables)["AWS_PROFILE"] for job in (first, second)] == ["dev", "prod"]
    assert (first.tags, second.tags) == (("small",), ("deploy",))


def test_the_protected_branch_builds_its_image_again() -> None:
    jobs = component("image").jobs()
    assert {name: values_of(job.variables)["LEVEL"] for name, job in jobs.items()} == {
        "image:open": "open",
        "image:protected": "protected",
    }
    assert set(_groups("image", REQUEST)) == {"image:open"}
    assert set(_groups("image", MAIN)) == {"image:open", "image:protected"}


def test_no_template_names_a_stored_key() -> None:
    for path in ALL:
        text = path.read_text()
        assert not re.search(r"AKIA|AWS_SECRET_ACCESS_KEY: |glpat-", text), path.name


PAGES = {
    path.name: path.read_text() for folder in ("use", "operate") for path in (load.ROOT / "docs" / folder).glob("*.md")
}
EXAMPLES = {
    f"{page}-{number}": text
    for page, content in PAGES.items()
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", content, re.DOTALL))
    if "script:" in text or "include:" in text
}


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_gitlab_reads_every_pipeline_on_the_pages(text: str) -> None:
    settings = load.of_stack("prod")
    tags = {f"{name}{suffix}" for name in settings.runners for suffix in ("", "-dev")}
    jobs = jobs_in(text, MAIN)
    assert jobs
    for job in jobs.values():
        assert commands(job)
        assert {*job.tags} <= tags, f"{job.name}: no class has this tag"


def test_the_pages_pipeline_for_teams_uses_listed_repositories() -> None:
    (text,) = (text for name, text in EXAMPLES.items() if name.startswith("pipelines.md"))
    jobs = jobs_in(text, MAIN)
    assert set(jobs) == {"image:open", "image:protected", "ecs:dev", "ecs:prod"}
    repositories = load.of_stack("prod").registry
    for name, listed in (("ecs:dev", repositories.open), ("ecs:prod", repositories.protected)):
        image = values_of(expanded(jobs[name].variables))["TARGET_IMAGE"]
        assert image.partition("/")[2].partition("/")[2].partition(":")[0] in listed
