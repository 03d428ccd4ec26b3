"""Pipeline files that GitLab refuses, and keywords that the sandbox's GitLab lacks: the message names job, keyword and remedy."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runner_platform_sandbox.gitlab.ci import schema
from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from sandbox.tests.gitlab.ci.test_jobs import EVERYTHING
from sandbox.tests.support.pipeline_files import job, pipeline
from tests.support.generated_cases import QUICK, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator

LACKING = {
    "trigger": "other/project",
    "release": {"tag_name": "v1", "description": "x"},
    "pages": True,
    "run": [{"name": "a", "script": "b"}],
    "secrets": {"S": {"vault": "a/b/c@d"}},
    "only": ["main"],
    "except": ["main"],
    "inputs": {},
    "environment": {"name": "x", "kubernetes": {"agent": "a:b"}},
    "artifacts": {"paths": ["x"], "public": False},
}


@pytest.mark.parametrize("keyword", LACKING)
def test_a_keyword_that_the_sandbox_lacks_is_refused_by_name(keyword: str) -> None:
    value = LACKING[keyword]
    name = next((key for key in ("kubernetes", "public") if isinstance(value, dict) and key in value), keyword)
    with pytest.raises(PipelineError) as refusal:
        job(f"build: {{script: [make], {keyword}: {json.dumps(value)}}}")
    assert str(refusal.value).startswith("job build: ")
    assert f"`{name}` is not known to the sandbox's GitLab; remove it or run this pipeline in GitLab" in str(
        refusal.value
    )


def test_every_keyword_of_gitlabs_schema_is_read_or_refused_by_name() -> None:
    # A newer schema with a new keyword fails here, so that the keyword is not passed over in silence.
    keywords = schema.job_keywords()
    read = {
        *[
            "script",
            "before_script",
            "after_script",
            "hooks",
            "image",
            "services",
            "variables",
            "tags",
            "stage",
            "needs",
            "dependencies",
            "when",
        ],
        *[
            "start_in",
            "manual_confirmation",
            "allow_failure",
            "environment",
            "resource_group",
            "cache",
            "artifacts",
            "id_tokens",
        ],
        *["timeout", "retry", "interruptible", "coverage", "parallel", "rules", "extends", "inherit"],
    }
    assert keywords == read | schema.MISSING["job"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("build: {scirpt: [make]}", "job build: GitLab has no keyword `scirpt` here; did you mean `script`?"),
        ("build: {script: [make], artifacts: {pathes: [x]}}", "job build: `artifacts`: GitLab has no keyword `pathes` here; did you mean `paths`?"),
        ("build: {script: [x], when: never}", "job build: `when: never` belongs into a rule"),
        ("build: {script: [x], when: delayed}", "job build: `when`: a delayed job needs `start_in`; add it"),
        ("build: {script: [x], start_in: 1h}", "job build: `start_in` is for `when: delayed` only"),
        ("build: {script: [x], parallel: {matrix: [{A: []}]}}", "job build: `parallel: matrix` has an empty list"),
        ("build: {script: [x], extends: 3}", "job build: `extends` names 3, and no file has such a job"),
        ("build: {script: [x], environment: {name: a, on_stop: b}}", "job build: `on_stop` names b, and no file has such a job"),
        ("workflow: {rules: [[x]]}\nbuild: {script: [x]}", "workflow: rules: rule 1: 'x' is no rule"),
        ("build: {stage: test}", "job build: it has no `script`; add one, or begin its name with a dot"),
        ("build: {script: [make], when: sometimes}", "job build: `when`: `sometimes` is not allowed; use one of on_success"),
        ("build: {script: [make], script: 3}", "job build: `script`: 3 is no text; put it in quotes"),
        ("build: {script: [make], interruptible: 3}", "job build: `interruptible`: 3 has the wrong type; give boolean"),
        ("build: {script: [make], image: {entrypoint: [x]}}", "'name' is a required property; add it"),
        ("build: {script: [make], stage: depoy}", "job build: stage depoy does not exist; did you mean `deploy`?"),
        ("build: {script: [make], extends: .bsae}\n.base: {}", "`extends` names .bsae, and no file has such a job; define it; did you mean `.base`?"),
        ("a: {script: [x], extends: b}\nb: {script: [x], extends: a}", "job a: `extends` goes round or too deep: a -> b -> a"),
        ("build: {script: [!reference [.x, script]]}", "job build: `!reference [.x, script]` finds nothing"),
        (".x: {script: [!reference [.x, script]]}\nb: {script: [!reference [.x, script]]}", "`!reference` goes round"),
        ("build: {script: !reference x}", ".gitlab-ci.yml: it is no YAML: !reference needs a list"),
        ("build: {script: [make}", ".gitlab-ci.yml: it is no YAML: while parsing a flow sequence"),
        ("[make]", ".gitlab-ci.yml: it holds list, not a mapping"),
        ("varables: 3\nbuild: {script: [x]}", "top level: `varables` is neither a keyword nor a job; did you mean `variables`?"),
        ("image: {script: [make]}", "job image: `image` is a keyword of the top level; give the job another name"),
        ("stages: test\nbuild: {script: [x]}", "`stages`: 'test' has the wrong type; give array"),
        ("workflow: {rule: []}\nbuild: {script: [x]}", "`workflow`: GitLab has no keyword `rule` here; did you mean `rules`?"),
        ("build: {script: [x], cache: {pathes: [x]}}", "job build: `cache`: GitLab has no keyword `pathes` here; did you mean `paths`?"),
        ("workflow: {auto_cancel: {on_new_commit: none}}\nbuild: {script: [x]}", "`workflow`: `auto_cancel` is not known to the sandbox's GitLab"),
        ("default: {tag: [x]}\nbuild: {script: [x]}", "`default`: GitLab has no keyword `tag` here; did you mean `tags`?"),
        ("variables: {A: [x]}\nbuild: {script: [x]}", "`variables`: `A`"),
        ("", "no job"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_where_it_is_wrong(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as refusal:
        pipeline(text)
    assert message in str(refusal.value)


VALID: dict[str, Any] = yaml.safe_load(EVERYTHING)
VALID["workflow"] = {"name": "x", "rules": [{"if": "$CI", "variables": {"A": "b"}}, {"when": "always"}]}
VALID["one"]["needs"] = [{"job": "two", "artifacts": False}]
VALID["two"]["rules"] = [{"changes": ["a"], "exists": {"paths": ["b"]}}, {"when": "always"}]
VALID["two"]["parallel"] = {"matrix": [{"A": ["x", "y"]}]}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the paths of all values inside a value."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


@QUICK
@given(st.sampled_from(list(places(VALID))), VALUES)
def test_a_file_with_any_value_at_any_place_is_read_or_refused(path: tuple[Any, ...], value: Any) -> None:
    config = copy.deepcopy(VALID)
    parent = config
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with suppress(PipelineError):
        pipeline(yaml.safe_dump(config))
