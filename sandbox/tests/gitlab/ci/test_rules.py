"""Rules of jobs and of the workflow: docs.gitlab.com/ci/jobs/job_rules/ and docs.gitlab.com/ci/yaml/workflow/."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.gitlab.ci.errors import EmptyPipelineError, PipelineError
from runner_platform_sandbox.gitlab.ci.variables import values_of
from sandbox.tests.support.pipeline_files import MemoryFiles, files, job, jobs, pipeline

PUSH: dict[str, Any] = {}
REQUEST = {"source": "merge_request_event", "ref": "feature"}
SCHEDULE = {"source": "schedule"}
TAG = {"ref": "v1", "tag": True}

# The examples of the page job_rules, each with the pipelines in which the page says that the job runs.
SCHEDULE_OR_REQUEST = """
- if: $CI_PIPELINE_SOURCE == "merge_request_event"
  when: manual
  allow_failure: true
- if: $CI_PIPELINE_SOURCE == "schedule"
"""
ALL_BUT_THOSE = """
- if: $CI_PIPELINE_SOURCE == "merge_request_event"
  when: never
- if: $CI_PIPELINE_SOURCE == "schedule"
  when: never
- when: on_success
"""


def decided(rules: str, situation: dict[str, Any], keywords: str = "", project: MemoryFiles | None = None) -> Any:
    """Return `when` and `allow_failure` of a job with these rules; None if it does not run."""
    body = "\n".join(f"    {line}" for line in rules.strip().splitlines())
    text = f"always: {{script: [make], rules: [{{when: on_success}}]}}\none:\n  script: [make]\n  {keywords}\n  rules:\n{body}\n"
    one = jobs(text, project, **situation).get("one")
    return (one.when, one.allow_failure) if one else None


@pytest.mark.parametrize(
    ("rules", "situation", "expected"),
    [
        (SCHEDULE_OR_REQUEST, REQUEST, ("manual", True)),
        (SCHEDULE_OR_REQUEST, SCHEDULE, ("on_success", False)),
        (SCHEDULE_OR_REQUEST, PUSH, None),
        (ALL_BUT_THOSE, REQUEST, None),
        (ALL_BUT_THOSE, SCHEDULE, None),
        (ALL_BUT_THOSE, PUSH, ("on_success", False)),
        (ALL_BUT_THOSE, TAG, ("on_success", False)),
        ("- if: $CI_COMMIT_TAG", TAG, ("on_success", False)),
        ("- if: $CI_COMMIT_BRANCH", TAG, None),
        ("- if: $CI_COMMIT_BRANCH", SCHEDULE, ("on_success", False)),
        ("- if: $CI_COMMIT_BRANCH", REQUEST, None),
        ("- if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", PUSH, ("on_success", False)),
        ("- if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", {"ref": "other"}, None),
        ("- if: '$CI_JOB_NAME =~ /^on/'", PUSH, ("on_success", False)),
        ("- when: manual", PUSH, ("manual", False)),
        ("- {when: delayed, start_in: 5 minutes}", PUSH, ("delayed", False)),
        ("- {when: always, allow_failure: true}", PUSH, ("always", True)),
    ],
)
def test_the_first_matching_rule_decides(rules: str, situation: dict[str, Any], expected: Any) -> None:
    assert decided(rules, situation) == expected


@pytest.mark.parametrize(
    ("keywords", "rules", "expected"),
    [
        ("when: manual", "- if: $CI_COMMIT_BRANCH", ("manual", True)),
        ("when: manual", "- {when: on_success, allow_failure: false}", ("on_success", False)),
        ("allow_failure: true", "- when: manual", ("manual", True)),
        ("allow_failure: {exit_codes: 3}", "- {when: manual, allow_failure: true}", ("manual", True)),
    ],
)
def test_a_rule_without_a_value_leaves_the_jobs_own(keywords: str, rules: str, expected: Any) -> None:
    assert decided(rules, PUSH, keywords) == expected


def test_a_manual_job_may_fail_unless_rules_or_the_job_say_otherwise() -> None:
    # docs.gitlab.com/ci/yaml/#allow_failure: true for `when: manual`, false for it inside rules.
    assert job("one: {script: [make], when: manual}").allow_failure
    assert not job("one: {script: [make], when: manual, allow_failure: false}").allow_failure


@pytest.mark.parametrize(
    ("rules", "changed", "expected"),
    [
        ("- changes: [docs/**/*]", ["docs/use/page.md"], True),
        ("- changes: [docs/**/*]", ["src/main.py"], False),
        ("- changes: {paths: [$FOLDER/*]}", ["docs/page.md"], True),
        ("- changes: [docs/**/*]", None, True),
        ("- changes: []", ["docs/page.md"], False),
        ("- {if: $CI_COMMIT_TAG, changes: [docs/**/*]}", ["docs/page.md"], False),
        ("- changes: {paths: ['*.lock'], compare_to: refs/heads/main}", [], True),
        ("- changes: {paths: ['*.md'], compare_to: refs/heads/main}", ["page.md"], False),
        ("- exists: [Dockerfile]", [], True),
        ("- exists: ['**/*.tf']", [], True),
        ("- exists: [$FOLDER/*.md]", [], False),
        ("- exists: {paths: [Makefile], project: team/tools, ref: v1}", [], True),
        ("- exists: {paths: [Dockerfile], project: team/tools, ref: v1}", [], False),
    ],
)
def test_changes_and_exists_ask_about_files(rules: str, changed: list[str] | None, expected: bool) -> None:
    project = MemoryFiles(
        texts={"Dockerfile": "", "live/dev/main.tf": ""},
        projects={("team/tools", "v1"): files({"Makefile": ""})},
        changes={"refs/heads/main": ["uv.lock"]},
    )
    situation = {"changed_files": changed, "predefined": {"FOLDER": "docs"}}
    assert (decided(rules, situation, project=project) is not None) is expected


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ("- if: $A = 1", "job one: rules: rule 1: `if: $A = 1` is no valid expression"),
        ("- changes: {paths: [a], compare_to: nowhere}", "`compare_to` names nowhere, which is no ref"),
        ("- exists: {paths: [a], project: team/none}", "`exists` names project team/none"),
        ("- changes: {regexp: a}", "`regexp` is not known to the sandbox's GitLab"),
        ("- when: sometimes", "job one: `rules`: item 1: `when`: `sometimes` is not allowed"),
        ("- iff: $A", "GitLab has no keyword `iff` here; did you mean `if`?"),
    ],
)
def test_a_wrong_rule_is_refused_with_job_and_number(rules: str, reason: str) -> None:
    with pytest.raises(PipelineError) as refusal:
        decided(rules, PUSH)
    assert reason in str(refusal.value)


def test_variables_are_compared_as_written() -> None:
    # docs.gitlab.com/ci/variables/where_variables_can_be_used/: `rules:if` is not expanded.
    text = "one: {script: [make], variables: {A: $B, B: x}, rules: [{if: $A == 'x', when: manual}, {when: always}]}"
    assert job(text).when == "always"


def test_a_rule_replaces_variables_needs_and_interruptible() -> None:
    text = """
    first: {stage: build, script: [make]}
    second: {stage: build, script: [make]}
    one:
      script: [make]
      needs: [first]
      variables: {A: job, B: job}
      rules: [{if: $A == "job", needs: [second], variables: {A: rule}, interruptible: true}]
    """
    one = jobs(text)["one"]
    assert [need.job for need in one.needs or ()] == ["second"]
    assert one.interruptible
    assert {name: value for name, value in values_of(one.variables).items() if name in "AB"} == {
        "A": "rule",
        "B": "job",
    }


def test_a_job_without_rules_is_not_in_merge_request_pipelines_without_workflow_rules() -> None:
    text = "one: {script: [make]}\ntwo: {script: [make], rules: [{when: always}]}"
    assert set(jobs(text)) == {"one", "two"}
    assert set(jobs(text, **REQUEST)) == {"two"}
    assert set(jobs(f"workflow: {{rules: [{{when: always}}]}}\n{text}", **REQUEST)) == {"one", "two"}


WORKFLOW = """
variables: {DEPLOY: default, KEEP: default}
workflow:
  name: $KIND of $CI_COMMIT_REF_NAME
  rules:
    - if: $CI_COMMIT_REF_NAME == "main"
      variables: {DEPLOY: production, KIND: release}
    - if: $CI_COMMIT_REF_NAME =~ /feature/
      variables: {KIND: trial}
    - if: $CI_PIPELINE_SOURCE == "schedule"
      when: never
one:
  script: [make]
  variables: {KEEP: job}
"""


def test_the_workflow_decides_about_the_pipeline_its_name_and_variables() -> None:
    release = pipeline(WORKFLOW)
    assert release.name == "release of main"
    assert values_of(release.variables) == {"KEEP": "default", "DEPLOY": "production", "KIND": "release"}
    (one,) = pipeline(WORKFLOW, ref="feature").jobs
    assert values_of(one.variables)["DEPLOY"] == "default"
    assert values_of(one.variables)["KEEP"] == "job"


@pytest.mark.parametrize("situation", [{"ref": "other"}, {"ref": "other", "source": "schedule"}])
def test_a_workflow_without_a_matching_rule_makes_no_pipeline(situation: dict[str, Any]) -> None:
    with pytest.raises(EmptyPipelineError, match="`workflow: rules` allow no pipeline"):
        pipeline(WORKFLOW, **situation)


@pytest.mark.parametrize("stage", ["test", ".pre"])
def test_a_pipeline_without_a_job_in_a_stage_of_its_own_is_empty(stage: str) -> None:
    # docs.gitlab.com/ci/yaml/#stage-pre: jobs of .pre and .post alone make no pipeline.
    rule = "{if: $CI_COMMIT_TAG}" if stage == "test" else "{when: always}"
    with pytest.raises(EmptyPipelineError, match="no job"):
        pipeline(f"one: {{script: [make], stage: {stage}, rules: [{rule}]}}")
