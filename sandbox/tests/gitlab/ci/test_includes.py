"""Included files: docs.gitlab.com/ci/yaml/#include and docs.gitlab.com/ci/yaml/includes/."""

from __future__ import annotations

import pytest

from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from sandbox.tests.support.pipeline_files import MemoryFiles, files, jobs

SHARED = files(
    {
        "ci/build.yml": """
            include: /ci/parts/tools.yml
            build: {extends: .tools, stage: build, script: [make]}
            """,
        "ci/parts/tools.yml": ".tools: {image: 'tools:1'}",
        "templates/deploy.yml": """
            spec: {inputs: {target: {options: [dev, prod]}}}
            ---
            deploy:$[[ inputs.target ]]: {stage: deploy, script: ['ship $[[ inputs.target ]]']}
            """,
        "templates/scan/template.yml": "scan: {script: [scan]}",
    }
)
PROJECT = MemoryFiles(
    texts={
        **SHARED.texts,
        "ci/test.yml": "test: {script: [pytest], timeout: 1h}",
        "ci/loop.yml": "include: ci/loop.yml",
    },
    projects={("team/shared", ref): SHARED for ref in (None, "v1", "1.0.0")},
)
SERVER = {"CI_SERVER_FQDN": "gitlab.example.com"}


def names(include: str, own: str = "") -> list[str]:
    text = f"include: {include}\n{own or 'own: {script: [make]}'}"
    return list(jobs(text, PROJECT, predefined={**SERVER, "SHARED": "team/shared", "TEST": "ci/test.yml"}))


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("ci/test.yml", ["test", "own"]),
        ("/ci/test.yml", ["test", "own"]),
        ("[{local: ci/test.yml}, {local: /ci/build.yml}]", ["build", "test", "own"]),
        ("{local: $TEST}", ["test", "own"]),
        ("{local: 'ci/t*.yml'}", ["test", "own"]),
        ("{project: team/shared, file: ci/build.yml}", ["build", "own"]),
        ("{project: $SHARED, ref: v1, file: [/ci/build.yml]}", ["build", "own"]),
        ("{component: $CI_SERVER_FQDN/team/shared/deploy@1.0.0, inputs: {target: dev}}", ["own", "deploy:dev"]),
        ("{component: gitlab.example.com/team/shared/scan@1.0.0}", ["scan", "own"]),
        ("{local: ci/test.yml, rules: [{if: $CI_COMMIT_TAG}]}", ["own"]),
        ("{local: ci/test.yml, rules: [{if: $CI_COMMIT_BRANCH, when: never}, {when: always}]}", ["own"]),
        ("{local: ci/test.yml, rules: [{exists: [ci/build.yml]}]}", ["test", "own"]),
    ],
)
def test_a_file_is_included_from_its_place(include: str, expected: list[str]) -> None:
    assert names(include) == expected


def test_a_component_can_be_included_twice_with_other_inputs() -> None:
    entry = "{{component: $CI_SERVER_FQDN/team/shared/deploy@1.0.0, inputs: {{target: {0}}}}}"
    assert names(f"[{entry.format('dev')}, {entry.format('prod')}]") == ["own", "deploy:dev", "deploy:prod"]


def test_the_including_file_wins_and_is_merged_keyword_by_keyword() -> None:
    test = jobs("include: ci/test.yml\ntest: {script: [make]}", PROJECT)["test"]
    assert test.script == ("make",)
    assert test.timeout == 3600


def test_a_file_of_another_project_includes_from_that_project() -> None:
    build = jobs("include: {project: team/shared, file: ci/build.yml}", MemoryFiles(projects=PROJECT.projects))["build"]
    assert build.image
    assert build.image.name == "tools:1"


@pytest.mark.parametrize(
    ("include", "reason"),
    [
        ("ci/absent.yml", "`include` names ci/absent.yml, which does not exist"),
        ("{project: team/other, file: a.yml}", "names project team/other, which the sandbox's GitLab does not have"),
        ("{project: team/shared, ref: v9, file: a.yml}", "names project team/shared at v9"),
        ("{component: gitlab.com/team/shared/scan@1.0.0}", "on another server; begin it with $CI_SERVER_FQDN"),
        ("{component: $CI_SERVER_FQDN/team/shared/scan}", "is incomplete; write host/group/project/name@version"),
        ("{template: Auto-DevOps.gitlab-ci.yml}", "`include: template` is not known to the sandbox's GitLab"),
        ("https://example.com/ci.yml", "`include: remote` is not known to the sandbox's GitLab"),
        ("{locl: ci/test.yml}", "no keyword `locl` here; did you mean `local`?"),
        ("[3]", "`include` holds 3"),
        ("ci/loop.yml", "more than 150 files; does a file include itself?"),
    ],
)
def test_a_wrong_include_is_refused_with_the_file_and_the_remedy(include: str, reason: str) -> None:
    with pytest.raises(PipelineError) as refusal:
        names(include)
    assert reason in str(refusal.value)
    assert ".yml: " in str(refusal.value)
