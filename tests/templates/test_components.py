"""The CI/CD components: valid for GitLab, typed inputs, and who runs what with which credentials."""

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
            for evil in ('x"; curl evil', "x`id`", "x\n- evil", "x$(id)"):
                assert not re.search(allowed, evil), f"{key} takes {evil!r}"
    assert set(RESERVED.findall(template.parts[1])) == set(template.inputs)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_gives_what_is_required_and_nothing_unknown(name: str) -> None:
    for include in component(name).example:
        path = include.get("local") or f"templates/{re.search(r'/([a-z]+)@', include['component'])[1]}.yml"  # type: ignore[index]  # it matches, or the test fails
        declared = Component(load.ROOT / path).inputs
        required = {key for key, its in declared.items() if "default" not in its}
        assert required <= set(include["inputs"]) <= set(declared)
        for key, value in include["inputs"].items():
            if declared[key]["type"] == "string":
                assert re.search(declared[key].get("regex", ""), value), f"{key}: {value}"


def test_examples_speak_of_the_committed_accounts_and_of_the_image_that_is_current() -> None:
    settings = load.of_stack("prod")
    home = settings.platform_account.id
    image = f"{home}.dkr.ecr.{settings.organization.region}.amazonaws.com/{settings.names.runner_image()}"
    assert component("platform").example[0]["inputs"]["image"] == f"{image}:{RUNNER_IMAGE_TAG}"
    for name in ("deploy", "ecs"):
        given = component(name).example[0]["inputs"]
        assert given["dev_account"] == settings.accounts["dev"].id
        assert given["prod_account"] == settings.accounts["prod"].id


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


@pytest.mark.parametrize("name", [each for each in NAMES if each != "platform"])
def test_two_includes_do_not_overwrite_each_others_jobs(name: str) -> None:
    template = component(name)
    assert not set(template.jobs()) & set(template.jobs(name="another"))


def _running(variables: dict[str, str]) -> dict[str, str]:
    return {name: how for name, job in PLATFORM.items() if (how := when(job, variables))}


def test_a_merge_request_runs_what_needs_no_credentials_and_nothing_else() -> None:
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
    found = _running(MAIN)
    assert found.pop("prod") == "manual"
    assert set(found.values()) == {"on_success"}
    assert set(found) == set(PLATFORM) - REVIEW - {"drift", "prod"}
    assert PLATFORM["prod"]["rules"][-1]["allow_failure"] is False, "without it the pipeline is green before prod"
    assert PLATFORM["prod"]["needs"] == ["preview:prod", "prove:dev"], "a red proof keeps the button away"


def test_a_schedule_looks_for_drift_alone_and_other_branches_run_nothing() -> None:
    assert set(_running(SCHEDULE)) == {"drift"}
    assert _running(BRANCH) == {}
    assert _running({**MAIN, "CI_COMMIT_REF_PROTECTED": "false"}) == {}, "an unprotected default branch deploys nothing"


def test_only_jobs_of_the_protected_branch_have_an_id_token() -> None:
    having = {name for name, job in PLATFORM.items() if "id_tokens" in job}
    assert having == {"preview:dev", "preview:prod", "dev", "prod", "prove:dev", "prove:prod", "drift"}
    for name in having:
        job = PLATFORM[name]
        assert job["id_tokens"]["RUNNER_PLATFORM_ID_TOKEN"]["aud"] == "$CI_SERVER_URL"
        assert job["tags"] == ["deploy"]
        assert when(job, REQUEST) is when(job, FORK) is when(job, BRANCH) is None


def test_looking_is_the_readers_and_changing_the_deployers() -> None:
    roles = {name: job["variables"]["PLATFORM_ROLE"] for name, job in PLATFORM.items() if "id_tokens" in job}
    assert {name for name, role in roles.items() if role == "reader"} == {"preview:dev", "preview:prod", "drift"}
    assert {name for name, role in roles.items() if role == "deployer"} == {"dev", "prod", "prove:dev", "prove:prod"}


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_a_deployment_is_alone_cannot_be_cut_off_and_has_time_to_end(name: str) -> None:
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


def test_production_is_promoted_from_the_rehearsal() -> None:
    assert PLATFORM["prod"]["variables"]["UP_OPTIONS"] == "--promoted-from dev"
    assert PLATFORM["dev"]["variables"]["UP_OPTIONS"] == ""


def test_every_stack_has_a_row_of_its_own_on_the_merge_request_page() -> None:
    for name in ("check", "changes", "check:merged"):
        assert [each["STACK"] for each in matrix(PLATFORM[name])] == ["foundation", *load.stacks()]
    reports = PLATFORM["changes"]["artifacts"]["reports"]
    assert reports == {"terraform": "reports/*/terraform.json"}


def test_the_token_of_the_note_is_scoped_to_a_job_that_runs_nothing_of_the_branch() -> None:
    job = PLATFORM["note"]
    assert job["environment"] == {"name": "platform/note", "action": "access"}
    before, rest = job["before_script"][0], [*job["before_script"][1:], *job["script"]]
    assert "worktree add" in before
    assert rest[0] == 'cd "$target_tree"', "what follows is the target branch's code"
    assert not [
        name for name, other in PLATFORM.items() if name != "note" and other.get("environment") == job["environment"]
    ]


def test_plans_are_kept_from_whoever_may_not_see_settings_and_as_long_as_they_hold() -> None:
    for name in ("preview:dev", "preview:prod"):
        assert PLATFORM[name]["artifacts"]["access"] == "maintainer"
        assert PLATFORM[name]["environment"]["action"] == "prepare", "a preview is no deployment"


def test_every_job_needs_only_what_is_there_and_stages_are_declared() -> None:
    document: dict[str, Any] = yaml.safe_load(re.sub(r"!reference", "", component("platform").text()))
    for name, job in PLATFORM.items():
        assert set(job.get("needs", [])) <= set(PLATFORM), name
        assert job["stage"] in document["stages"], name


@pytest.mark.parametrize("name", ["deploy", "ecs", "opentofu"])
def test_applications_go_to_dev_by_themselves_and_to_prod_by_a_persons_hand(name: str) -> None:
    jobs = component(name).jobs()
    first, second = (
        next(job for each, job in jobs.items() if each.count(":") == 1 and each.endswith(f":{target}"))
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


def test_an_image_is_built_again_on_the_protected_branch_and_never_promoted() -> None:
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
def test_rules_are_read_as_gitlab_reads_them(condition: str, expected: bool) -> None:
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
        assert {key for key, its in declared.items() if "default" not in its} <= set(include["inputs"]) <= set(declared)
        for key, value in include["inputs"].items():
            assert re.search(declared[key]["regex"], value), f"{name}.{key}: {value}"
    repositories = load.of_stack("prod").registry
    assert "apps" in repositories.open
    assert "apps" in repositories.protected
