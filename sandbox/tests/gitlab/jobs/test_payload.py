"""The job that a runner gets, held against the fields that GitLab Runner reads, and the claims of its ID tokens."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.gitlab.ci import pipeline as ci
from runner_platform_sandbox.gitlab.ci.variables import Variable
from runner_platform_sandbox.gitlab.jobs.claims import claims
from runner_platform_sandbox.gitlab.jobs.payload import payload
from runner_platform_sandbox.gitlab.jobs.records import Artifact, Job
from sandbox.tests.support.pipelines import PROJECT, job, pipeline
from sandbox.tests.support.runner_job_fields import FIELDS

BASE = "http://127.0.0.1:8080"
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "int": (int,),
    "int64": (int,),
    "float64": (int, float),
    "object": (dict,),
}
OPTIONAL = {
    "Image": {"alias", "command", "variables"},
    "Artifact": {"untracked", "exclude"},
    "PolicyOptions": {"policy_variables_override_allowed", "policy_variables_override_exceptions"},
}
"""Fields that GitLab sends only where they mean something."""


def full_job() -> Job:
    return job(
        "deploy",
        "deploy",
        image=ci.Image(
            name="alpine", entrypoint=("",), pull_policy=("always",), executor_options={"kubernetes": {"user": "1"}}
        ),
        services=(ci.Service(name="postgres", alias="db", command=("x",), variables=(Variable(name="A", value="1"),)),),
        before_script=("before",),
        after_script=("after",),
        pre_get_sources_script=("hook",),
        cache=(ci.Cache(key="k", paths=("c",), fallback_keys=("f",)),),
        artifacts=ci.Artifacts(name="n", paths=("p",), reports={"junit": ("j.xml",), "sast": ("s.json",)}),
        environment=ci.Environment(name="prod", deployment_tier="production"),
        timeout=600,
    )


def sent(last: Job, *before: Job, **fields: Any) -> dict[str, Any]:
    record = pipeline(*before, last, **fields)
    variables = [Variable(name="GIT_DEPTH", value=fields.get("depth", "5")), Variable(name="S", value="x", masked=True)]
    return payload(record, record.jobs[-1], PROJECT, variables, BASE)


def differences(value: Any, kind: str, place: str) -> list[str]:
    """Return the places where a value is not what the runner reads there; null is read as the type's zero."""
    if value is None:
        return []
    if kind.startswith("[]"):
        if not isinstance(value, list | tuple):
            return [f"{place}: {value!r} is no list"]
        return [text for number, item in enumerate(value) for text in differences(item, kind[2:], f"{place}[{number}]")]
    if kind in TYPES:
        return [] if isinstance(value, TYPES[kind]) else [f"{place}: {value!r} is no {kind}"]
    missing = set(FIELDS[kind]) - set(value) - OPTIONAL.get(kind, set())
    inner = [text for key, name in FIELDS[kind].items() for text in differences(value.get(key), name, f"{place}.{key}")]
    return [*(f"{place}.{key} is missing" for key in sorted(missing)), *inner]


def test_a_runner_can_read_every_field_of_a_job() -> None:
    build = job("build")
    build.artifacts = [Artifact(file_type="archive", file_format="zip", filename="a.zip", size=3)]
    answer = sent(full_job(), build)
    assert answer["dependencies"], "the whole answer is looked at"
    assert differences(answer, "Job", "job") == []


def test_a_difference_from_what_a_runner_reads_is_noticed() -> None:
    answer = sent(job("a"))
    answer["git_info"]["depth"] = "5"
    del answer["steps"]
    assert differences(answer, "Job", "job") == ["job.steps is missing", "job.git_info.depth: '5' is no int"]


@pytest.mark.parametrize(
    ("fields", "specs"),
    [
        ({}, ["+refs/heads/main:refs/remotes/origin/main"]),
        ({"ref": "v1", "tag": True}, ["+refs/tags/v1:refs/tags/v1"]),
        ({"depth": "0"}, ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]),
    ],
)
def test_a_clone_gets_the_ref_or_everything_without_a_depth(fields: dict[str, Any], specs: list[str]) -> None:
    assert sent(job("a"), **fields)["git_info"]["refspecs"] == ["+refs/pipelines/1:refs/pipelines/1", *specs]


def test_scripts_become_steps_and_reports_become_artifacts() -> None:
    answer = sent(full_job())
    assert [(step["name"], step["script"], step["when"]) for step in answer["steps"]] == [
        ("script", ["before", "true"], "on_success"),
        ("after_script", ["after"], "always"),
    ]
    assert [
        (item["artifact_type"], item["artifact_format"], item["name"], item["when"]) for item in answer["artifacts"]
    ] == [
        ("archive", "zip", "n", "on_success"),
        ("junit", "gzip", "junit.xml", "always"),
        ("sast", "raw", "gl-sast-report.json", "always"),
    ]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["build", "lint"]),
        ({"dependencies": ("lint",)}, ["lint"]),
        ({"dependencies": ()}, []),
        ({"needs": ["build"]}, ["build"]),
    ],
)
def test_a_job_gets_the_artifacts_of_the_jobs_that_it_asks_for(fields: dict[str, Any], names: list[str]) -> None:
    before = [job("build"), job("lint"), job("other", "deploy")]
    for earlier in before:
        earlier.artifacts = [Artifact(file_type="archive", file_format="zip", filename="a.zip", size=3)]
    last = job("deploy", "deploy", **fields)
    answer = sent(last, *before)
    assert [dependency["name"] for dependency in answer["dependencies"]] == names
    assert {dependency["token"] for dependency in answer["dependencies"]} <= {last.token}


def test_the_claims_are_those_of_gitlabs_documentation() -> None:
    record = pipeline(full_job(), protected=True)
    record.jobs[0].runner = 7
    made = claims(
        record, record.jobs[0], PROJECT, audiences=["https://gitlab.com"], server="gitlab.com", environment="prod"
    )
    documented = {
        "namespace_id": "1234",
        "namespace_path": "senncloud",
        "project_id": "5678",
        "project_path": "senncloud/deployments",
        "user_id": "1",
        "user_login": "platform",
        "user_email": "platform@example.com",
        "pipeline_id": "1",
        "pipeline_source": "api",
        "job_id": "1",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "environment": "prod",
        "environment_protected": "false",
        "deployment_tier": "production",
        "runner_id": 7,
        "runner_environment": "self-hosted",
        "sha": "a" * 40,
        "sub": "project_path:senncloud/deployments:ref_type:branch:ref:main",
        "aud": "https://gitlab.com",
    }
    assert {name: made.get(name) for name in documented} == documented
    assert made["ci_config_ref_uri"] == "gitlab.com/senncloud/deployments//.gitlab-ci.yml@refs/heads/main"


def test_several_audiences_are_a_list_and_a_tag_is_a_tag() -> None:
    record = pipeline(job("a"), ref="v1", tag=True)
    made = claims(record, record.jobs[0], PROJECT, audiences=["a", "b"], server="gitlab.com", environment=None)
    assert (made["aud"], made["sub"]) == (["a", "b"], "project_path:senncloud/deployments:ref_type:tag:ref:v1")
    assert (made["ref_path"], made["ref_protected"]) == ("refs/tags/v1", "false")
    assert "environment" not in made
