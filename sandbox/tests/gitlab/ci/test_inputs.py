"""Inputs of a file: docs.gitlab.com/ci/inputs/."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from runner_platform_sandbox.gitlab.ci import inputs
from runner_platform_sandbox.gitlab.ci.errors import PipelineError

# The page's example, with a regular expression that matches its own examples.
TEXT = """
spec:
  inputs:
    job-prefix:
      description: Begins the job's name.
    job-stage: {default: test}
    environment: {options: [test, staging, production]}
    concurrency: {type: number, default: 1}
    version: {type: string, regex: '^v\\d\\.\\d+(\\.\\d+)$'}
    export_results: {type: boolean, default: true}
    rules: {type: array, default: [{if: $CI_COMMIT_TAG}]}
---
"$[[ inputs.job-prefix ]]-scan":
  stage: $[[ inputs.job-stage ]]
  parallel: $[[ inputs.concurrency ]]
  rules: $[[inputs.rules]]
  script:
    - scan -e $[[ inputs.environment ]] -c $[[ inputs.concurrency ]] -v $[[ inputs.version ]]
    - if $[[ inputs.export_results ]]; then echo yes; fi
"""
PASSED = {"job-prefix": "web", "environment": "staging", "version": "v1.2.3"}


def read(text: str, passed: dict[str, Any], values: dict[str, str] | None = None) -> dict[str, Any]:
    return inputs.configuration(textwrap.dedent(text), passed, values or {}, "template.yml")


def test_inputs_stand_with_their_types_or_as_text_inside_a_text() -> None:
    assert read(TEXT, {**PASSED, "concurrency": 3, "export_results": False}) == {
        "web-scan": {
            "stage": "test",
            "parallel": 3,
            "rules": [{"if": "$CI_COMMIT_TAG"}],
            "script": ["scan -e staging -c 3 -v v1.2.3", "if false; then echo yes; fi"],
        }
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"job-prefix": None}, "None is no string"),
        ({"environment": "live"}, "'live' is no option; choose one of test, staging, production"),
        ({"version": "latest"}, "'latest' does not match"),
        ({"version": 1.2}, "1.2 is no string; quote it"),
        ({"concurrency": "3"}, "'3' is no number"),
        ({"concurrency": True}, "True is no number"),
        ({"export_results": "true"}, "'true' is no boolean"),
        ({"rules": "x"}, "'x' is no array"),
        ({"job_stage": "x"}, "does not declare; remove it; did you mean `job-stage`?"),
    ],
)
def test_a_wrong_input_is_refused_with_its_name_and_the_remedy(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(PipelineError) as refusal:
        read(TEXT, {**PASSED, **change})
    message = str(refusal.value)
    assert message.startswith("template.yml")
    assert next(iter(change)) in message
    assert reason in message


def test_an_input_without_value_and_default_is_refused() -> None:
    with pytest.raises(PipelineError, match="input version: it has no value and no default; give it below `inputs`"):
        read(TEXT, {"job-prefix": "web", "environment": "test"})


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        # docs.gitlab.com/ci/inputs/#predefined-interpolation-functions
        ("inputs.name | expand_vars", "test my-project $OTHER"),
        ("inputs.name | truncate(1,3)", "est"),
        ("inputs.name | expand_vars | truncate(5, 10)", "my-project"),
        ("inputs.name", "test $PROJECT $OTHER"),
    ],
)
def test_functions_are_applied_from_the_left(block: str, expected: str) -> None:
    text = f"spec:\n  inputs:\n    name:\n---\njob:\n  script: '$[[ {block} ]]'\n"
    config = read(text, {"name": "test $PROJECT $OTHER"}, {"PROJECT": "my-project"})
    assert config["job"]["script"] == expected


@pytest.mark.parametrize(
    ("header", "block", "reason"),
    [
        ("name: {type: number}", "inputs.name | expand_vars", "`expand_vars` takes a string, not 1"),
        ("name: {type: number}", "inputs.name | posix_escape", "takes a string"),
        ("name: {type: number}", "inputs.nome", "names no input; did you mean `name`?"),
        ("name: {type: number}", "matrix.X", "names no input"),
        ("name: {type: text}", "inputs.name", "`text` is not allowed; use one of array, boolean, number, string"),
        ("name: {type: number, regex: '('}", "inputs.name", "`regex: (` is no regular expression"),
        ("[name]", "inputs.name", "`spec`: `inputs`: ['name'] has the wrong type; give object"),
        ("name: {type: number, rules: []}", "inputs.name", "`rules` is not known to the sandbox's GitLab"),
        ("name: {type: number, optons: [1]}", "inputs.name", "did you mean `options`?"),
    ],
)
def test_a_wrong_declaration_or_block_is_refused(header: str, block: str, reason: str) -> None:
    with pytest.raises(PipelineError) as refusal:
        read(f"spec:\n  inputs:\n    {header}\n---\njob:\n  script: '$[[ {block} ]]'\n", {"name": 1})
    assert reason in str(refusal.value)


def test_an_unknown_function_and_an_unknown_header_are_refused_by_name() -> None:
    with pytest.raises(PipelineError, match="`posix_escape` is not known"):
        read("spec:\n  inputs:\n    a:\n---\njob: {script: '$[[ inputs.a | posix_escape ]]'}\n", {"a": "x"})
    with pytest.raises(PipelineError, match="`spec: include` is not known to the sandbox's GitLab"):
        read("spec:\n  include: [inputs.yml]\n---\njob: {script: x}\n", {})


def test_a_file_without_header_keeps_what_looks_like_an_input() -> None:
    assert read("# comment\n---\njob: {script: '$[[ inputs.a ]]'}\n", {}) == {"job": {"script": "$[[ inputs.a ]]"}}
