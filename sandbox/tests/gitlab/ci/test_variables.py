"""Expansion and precedence of variables: docs.gitlab.com/ci/variables/where_variables_can_be_used/."""

from __future__ import annotations

import pytest

from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.ci.variables import Variable, expand, expanded, merged, values_of
from sandbox.tests.support.pipeline_files import job


def variable(name: str, value: str, **fields: bool) -> Variable:
    return Variable(name=name, value=value, **fields)  # type: ignore[arg-type]  # the flags of a variable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A-${A}-%A%", "1-1-1"),
        ("$AB ${AB}x", "$AB ${AB}x"),
        ("$1 $$A", "$1 $1"),
        ("$A_B", "$A_B"),
        ("cost: 5$", "cost: 5$"),
    ],
)
def test_three_ways_to_name_a_variable_and_no_other(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_unknown_names_stay_or_become_empty() -> None:
    assert expand("$A/$B", {"A": "1"}) == "1/$B"
    assert expand("$A/$B", {"A": "1"}, unknown="") == "1/"


def test_values_are_expanded_at_any_depth_and_in_any_order() -> None:
    # The example of the page, "Nested variable expansion".
    variables = [
        variable("PACKAGE_PATH", "${OUT_PATH}/pkg"),
        variable("OUT_PATH", "${BUILD_ROOT_DIR}/out"),
        variable("BUILD_ROOT_DIR", "${CI_BUILDS_DIR}"),
    ]
    assert values_of(expanded(variables))["PACKAGE_PATH"] == "${CI_BUILDS_DIR}/out/pkg"
    variables.append(variable("CI_BUILDS_DIR", "/output"))
    assert values_of(expanded(variables))["PACKAGE_PATH"] == "/output/out/pkg"


def test_raw_values_stay_and_references_to_files_are_left_to_the_shell() -> None:
    values = values_of(
        expanded(
            [
                variable("RAW", "$A", raw=True),
                variable("A", "1"),
                variable("KEY", "secret $A", file=True),
                variable("USES", "$KEY $RAW"),
            ]
        )
    )
    assert values["RAW"] == "$A"
    assert values["USES"] == "$KEY $A"


def test_where_gitlab_expands_a_name_without_value_is_empty_or_stays() -> None:
    # expand in app/models/concerns/ci/deployable.rb, expand_existing for tags in lib/gitlab/ci/pipeline/seed/build.rb of GitLab
    text = "one: {script: [make], tags: [t-$NO], resource_group: g-$NO, environment: {name: e-$NO}}"
    only = job(text)
    assert only.environment
    assert (only.tags, only.resource_group, only.environment.name) == (("t-$NO",), "g-", "e-")


def test_merged_variables_are_in_the_order_of_their_precedence() -> None:
    first, second, third = variable("A", "1"), variable("B", "2"), variable("A", "3")
    assert merged([first, second], [third]) == (second, third)


def test_a_circle_of_variables_is_refused_with_its_path() -> None:
    with pytest.raises(PipelineError, match="A -> B -> A"):
        expanded([variable("A", "$B"), variable("B", "$A")])


def test_the_starter_wins_over_settings_and_settings_over_the_file() -> None:
    text = """
    variables: {SHARED: global, FROM_FILE: global, FROM_JOB: global, FROM_RULE: global}
    one:
      script: [make]
      variables: {SHARED: job, FROM_JOB: job, FROM_RULE: job, CI_DEFAULT_BRANCH: job}
      rules:
        - if: $FROM_JOB == "job"
          variables: {SHARED: rule, FROM_RULE: rule}
    """
    values = values_of(
        job(
            text,
            predefined={"FROM_FILE": "predefined"},
            project_variables=[variable("SHARED", "project"), variable("FROM_PROJECT", "project")],
            pipeline_variables={"FROM_PROJECT": "pipeline"},
        ).variables
    )
    assert {name: value for name, value in values.items() if name.startswith("FROM") or name == "SHARED"} == {
        "FROM_FILE": "global",
        "FROM_JOB": "job",
        "FROM_RULE": "rule",
        "SHARED": "project",
        "FROM_PROJECT": "pipeline",
    }
    assert values["CI_DEFAULT_BRANCH"] == "job"


def test_a_file_cannot_change_who_started_the_pipeline() -> None:
    # lib/gitlab/ci/variables/builder.rb of GitLab: the user's variables come after those of the file.
    text = "one: {script: [make], variables: {GITLAB_USER_LOGIN: owner, CI_PIPELINE_IID: 9}}"
    values = values_of(job(text, predefined={"GITLAB_USER_LOGIN": "developer", "CI_PIPELINE_IID": "1"}).variables)
    assert (values["GITLAB_USER_LOGIN"], values["CI_PIPELINE_IID"]) == ("developer", "9")


def test_a_protected_variable_reaches_protected_refs_only() -> None:
    settings = [Variable(name="TOKEN", value="secret", protected=True, public=False)]
    text = "one: {script: [make]}"
    assert "TOKEN" not in values_of(job(text, project_variables=settings).variables)
    assert values_of(job(text, project_variables=settings, protected=True).variables)["TOKEN"] == "secret"


@pytest.mark.parametrize(
    ("environment", "has_it"), [("review/one", True), ("review", False), ("production", False), (None, False)]
)
def test_a_variable_with_a_scope_reaches_the_jobs_of_these_environments(environment: str | None, has_it: bool) -> None:
    settings = [Variable(name="SECRET", value="x", environment_scope="review/*")]
    text = f"one: {{script: [make], environment: {environment}}}" if environment else "one: {script: [make]}"
    assert ("SECRET" in values_of(job(text, project_variables=settings).variables)) is has_it


def test_a_variable_with_a_scope_counts_in_rules() -> None:
    # The example of the page, "Variables with an environment scope".
    text = """
    deploy:
      environment: {name: review/$CI_JOB_STAGE/deploy}
      script: [make]
      rules: [{if: $SECRET == "x"}]
    """
    settings = [Variable(name="SECRET", value="x", environment_scope="review/test/*")]
    only = job(text, project_variables=settings)
    assert only.environment
    assert only.environment.name == "review/test/deploy"
