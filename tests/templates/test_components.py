"""The CI/CD components: valid for GitLab, typed inputs, and the credentials of each job."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from config import load
from config.versions import RUNNER_IMAGE_TAG
from tests.support.ci_components import ALL, NAMES, RESERVED, Component, component, holds, matrix, when

MAIN = {
    "CI_PIPELINE_SOURCE": "push",
    "CI_COMMIT_BRANCH": "main",
    "CI_DEFAULT_BRANCH": "main",
    "CI_COMMIT_REF_PROTECTED": "true",
    "CI_PROJECT_ID": "1",
}
SCHEDULE = {**MAIN, "CI_PIPELINE_SOURCE": "schedule"}
BRANCH = {**MAIN, "CI_COMMIT_BRANCH": "feature", "CI_COMMIT_REF_PROTECTED": "false"}
REQUEST = {
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_DEFAULT_BRANCH": "main",
    "CI_COMMIT_REF_PROTECTED": "false",
    "CI_PROJECT_ID": "1",
    "CI_MERGE_REQUEST_PROJECT_ID": "1",
}
FORK = {**REQUEST, "CI_PROJECT_ID": "2"}
PLATFORM = component("platform").jobs()
REVIEW = {"check", "changes", "tests", "note"}


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
    assert set(RESERVED.findall(template.parts[1])) == set(template.inputs)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_has_all_required_inputs_and_no_unknown_one(name: str) -> None:
    for include in component(name).example:
        path = include.get("local") or f"templates/{re.search(r'/([a-z]+)@', include['component'])[1]}.yml"  # type: ignore[index]  # it matches, or the test fails
        declared = Component(load.ROOT / path).inputs
        required = {key for key, declaration in declared.items() if "default" not in declaration}
        assert required <= set(include["inputs"]) <= set(declared)
        for key, value in include["inputs"].items():
            if declared[key]["type"] == "string":
                assert re.search(declared[key].get("regex", ""), value), f"{key}: {value}"


def test_examples_name_the_committed_accounts_and_the_current_image() -> None:
    settings = load.of_stack("prod")
    home = settings.platform_account.id
    image = f"{home}.dkr.ecr.{settings.organization.region}.amazonaws.com/{settings.names.runner_image()}"
    assert component("platform").example[0]["inputs"]["image"] == f"{image}:{RUNNER_IMAGE_TAG}"
    for name in ("deploy", "ecs"):
        inputs = component(name).example[0]["inputs"]
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


def _running(variables: dict[str, str]) -> dict[str, str]:
    return {name: start for name, job in PLATFORM.items() if (start := when(job, variables))}


def test_a_merge_request_runs_only_jobs_without_credentials() -> None:
    assert set(_running(REQUEST)) == REVIEW
    assert set(_running(FORK)) == REVIEW - {"note"}, "a fork's pipeline has no token to post with"
    for name in REVIEW:
        job = PLATFORM[name]
        assert "id_tokens" not in job
        assert "secrets" not in job
        assert job["tags"] == ["review"]
        assert job["interruptible"] is True
        assert "pulumi" not in "\n".join(job["script"])


def test_after_the_merge_production_waits_for_a_person() -> None:
    running = _running(MAIN)
    assert running.pop("prod") == "manual"
    assert set(running.values()) == {"on_success"}
    assert set(running) == set(PLATFORM) - REVIEW - {"drift", "prod"}
    assert PLATFORM["prod"]["rules"][-1]["allow_failure"] is False, "without it the pipeline is green before prod"
    assert PLATFORM["prod"]["needs"] == ["preview:prod", "prove:dev"], "a failed proof prevents the deployment"


def test_a_schedule_runs_drift_only_and_other_branches_run_no_job() -> None:
    assert set(_running(SCHEDULE)) == {"drift"}
    assert _running(BRANCH) == {}
    assert _running({**MAIN, "CI_COMMIT_REF_PROTECTED": "false"}) == {}, "an unprotected default branch deploys nothing"


def test_only_jobs_of_the_protected_branch_have_an_id_token() -> None:
    with_token = {name for name, job in PLATFORM.items() if "id_tokens" in job}
    assert with_token == {"preview:dev", "preview:prod", "dev", "prod", "prove:dev", "prove:prod", "drift"}
    for name in with_token:
        job = PLATFORM[name]
        assert job["id_tokens"]["RUNNER_PLATFORM_ID_TOKEN"]["aud"] == "$CI_SERVER_URL"
        assert job["tags"] == ["deploy"]
        assert when(job, REQUEST) is when(job, FORK) is when(job, BRANCH) is None


def test_previews_and_drift_use_the_reader_and_changes_the_deployer() -> None:
    roles = {name: job["variables"]["PLATFORM_ROLE"] for name, job in PLATFORM.items() if "id_tokens" in job}
    assert {name for name, role in roles.items() if role == "reader"} == {"preview:dev", "preview:prod", "drift"}
    assert {name for name, role in roles.items() if role == "deployer"} == {"dev", "prod", "prove:dev", "prove:prod"}


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_a_deployment_runs_alone_without_interruption_and_has_time_to_end(name: str) -> None:
    job = PLATFORM[name]
    assert job["interruptible"] is False
    assert job["resource_group"] == "platform-$STACK"
    assert job["variables"]["STACK"] == name
    limit = int(job["variables"]["RUNNER_AFTER_SCRIPT_TIMEOUT"].removesuffix("m"))
    stop = re.search(r'--stop "(\d+)m"', "\n".join(job["script"]))
    assert stop
    assert int(stop[1]) < limit, "the driver must give up before the pod goes"
    assert f"preview:{name}" in job["needs"]
    assert '--plan "plans/$STACK.json"' in "\n".join(job["script"])


def test_production_is_promoted_from_the_trial_stack() -> None:
    assert PLATFORM["prod"]["variables"]["UP_OPTIONS"] == "--promoted-from dev"
    assert PLATFORM["dev"]["variables"]["UP_OPTIONS"] == ""


def test_every_stack_has_a_row_of_its_own_on_the_merge_request_page() -> None:
    for name in ("check", "changes", "check:merged"):
        assert [row["STACK"] for row in matrix(PLATFORM[name])] == ["foundation", *load.stacks()]
    reports = PLATFORM["changes"]["artifacts"]["reports"]
    assert reports == {"terraform": "reports/*/terraform.json"}


def test_only_a_job_without_code_of_the_branch_gets_the_token_of_the_note() -> None:
    job = PLATFORM["note"]
    assert job["environment"] == {"name": "platform/note", "action": "access"}
    first_line, later_lines = job["before_script"][0], [*job["before_script"][1:], *job["script"]]
    assert "worktree add" in first_line
    assert later_lines[0] == 'cd "$target_tree"', "later lines run the target branch's code"
    assert not [
        name
        for name, another in PLATFORM.items()
        if name != "note" and another.get("environment") == job["environment"]
    ]


def test_update_plans_are_readable_for_maintainers_only() -> None:
    for name in ("preview:dev", "preview:prod"):
        assert PLATFORM[name]["artifacts"]["access"] == "maintainer"
        assert PLATFORM[name]["environment"]["action"] == "prepare", "a preview is no deployment"


def test_needed_jobs_and_stages_of_every_job_exist() -> None:
    document: dict[str, Any] = yaml.safe_load(re.sub(r"!reference", "", component("platform").text()))
    for name, job in PLATFORM.items():
        assert set(job.get("needs", [])) <= set(PLATFORM), name
        assert job["stage"] in document["stages"], name


@pytest.mark.parametrize("name", ["deploy", "ecs", "opentofu"])
def test_applications_are_deployed_to_dev_automatically_and_to_prod_manually(name: str) -> None:
    jobs = component(name).jobs()
    first, second = (
        next(job for job_name, job in jobs.items() if job_name.count(":") == 1 and job_name.endswith(f":{target}"))
        for target in ("dev", "prod")
    )
    assert when(first, MAIN) == "on_success"
    assert when(second, MAIN) == "manual"
    assert second["rules"][-1]["allow_failure"] is False
    assert when(second, {**MAIN, "CI_COMMIT_REF_PROTECTED": "false"}) is None
    for job in (first, second):
        assert when(job, REQUEST) is when(job, BRANCH) is None
        assert job["interruptible"] is False
        assert job["resource_group"]
        assert "id_tokens" not in job, "the class is the identity"
    assert (first["environment"]["name"], second["environment"]["name"]) == ("dev", "prod")
    assert (first["variables"]["AWS_PROFILE"], second["variables"]["AWS_PROFILE"]) == ("dev", "prod")
    assert (first["tags"], second["tags"]) == (["small"], ["deploy"])


def test_the_protected_branch_builds_its_image_again() -> None:
    jobs = component("image").jobs()
    assert {name: job["variables"]["LEVEL"] for name, job in jobs.items()} == {
        "image:open": "open",
        "image:protected": "protected",
    }
    assert when(jobs["image:open"], REQUEST)
    assert when(jobs["image:protected"], REQUEST) is None
    assert when(jobs["image:protected"], MAIN)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('$A == "x"', True),
        ('$A == "x" && $B != "y"', False),
        ('$A != "x" || $B == "y"', True),
        ("$A == $B", False),
        ("$MISSING", False),
        ("$MISSING == $ALSO", True),
        ("$A", True),
    ],
)
def test_rules_are_evaluated_as_in_gitlab(condition: str, expected: bool) -> None:
    assert holds(condition, {"A": "x", "B": "y"}) is expected


def test_no_template_names_a_stored_key() -> None:
    for path in ALL:
        text = path.read_text()
        assert not re.search(r"AKIA|AWS_SECRET_ACCESS_KEY: |glpat-", text), path.name


def test_the_pages_pipeline_for_teams_gives_inputs_that_exist() -> None:
    page = (load.ROOT / "docs/use/pipelines.md").read_text()
    includes = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["include"]
    for include in includes:
        name = include["component"].rpartition("/")[2].partition("@")[0]
        declared = component(name).inputs
        assert (
            {key for key, declaration in declared.items() if "default" not in declaration}
            <= set(include["inputs"])
            <= set(declared)
        )
        for key, value in include["inputs"].items():
            assert re.search(declared[key]["regex"], value), f"{name}.{key}: {value}"
    repositories = load.of_stack("prod").registry
    assert "apps" in repositories.open
    assert "apps" in repositories.protected
