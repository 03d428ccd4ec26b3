"""`needs` and `dependencies`: docs.gitlab.com/ci/yaml/needs/ and docs.gitlab.com/ci/jobs/job_control/#parallelize-large-jobs."""

from __future__ import annotations

import pytest

from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.ci.pipeline import Need
from sandbox.tests.support.pipeline_files import jobs

BEFORE = """
build: {stage: build, script: [make]}
lint: {stage: build, script: [make], parallel: 2}
pack: {stage: build, script: [make], parallel: {matrix: [{OS: [linux, mac], CPU: [arm, amd]}]}}
rare: {stage: build, script: [make], rules: [{if: $CI_COMMIT_TAG}]}
late: {stage: deploy, script: [make]}
"""
PACKS = [f"pack: [{system}, {cpu}]" for system in ("linux", "mac") for cpu in ("arm", "amd")]


def needed(keywords: str) -> tuple[list[Need] | None, list[str] | None]:
    one = jobs(f"{BEFORE}one: {{script: [make], {keywords}}}")["one"]
    return (
        None if one.needs is None else list(one.needs),
        None if one.dependencies is None else list(one.dependencies),
    )


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ("[]", []),
        ("[build]", ["build"]),
        ("[{job: build}, lint]", ["build", "lint 1/2", "lint 2/2"]),
        ("['lint 2/2']", ["lint 2/2"]),
        ("[pack]", PACKS),
        ("['pack: [mac, arm]']", ["pack: [mac, arm]"]),
        ("[{job: pack, parallel: {matrix: [{OS: linux, CPU: [arm, amd]}]}}]", PACKS[:2]),
        ("[build, {job: rare, optional: true}, {job: nowhere, optional: true}]", ["build"]),
        ("[build, build]", ["build"]),
    ],
)
def test_needs_name_the_copies_that_run(needs: str, expected: list[str]) -> None:
    assert needed(f"needs: {needs}")[0] == [Need(job=name) for name in expected]


def test_a_need_can_leave_the_artifacts() -> None:
    assert needed("needs: [{job: build, artifacts: false}]")[0] == [Need(job="build", artifacts=False)]


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ("dependencies: []", []),
        ("dependencies: [lint, rare]", ["lint 1/2", "lint 2/2"]),
        ("needs: [build, lint], dependencies: [build]", ["build"]),
    ],
)
def test_dependencies_name_the_jobs_whose_artifacts_are_wanted(keywords: str, expected: list[str]) -> None:
    assert needed(keywords)[1] == expected


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ("needs: [biuld]", "`needs` has biuld, and no file has such a job; did you mean `build`?"),
        ("needs: [rare]", "`needs` has rare, which is not in this pipeline because of its rules"),
        ("needs: [late]", "`needs` has late, which is in a later stage"),
        ("needs: [{job: pack, parallel: {matrix: [{OS: bsd, CPU: arm}]}}]", "pack: [bsd, arm]"),
        ("needs: [{job: build, pipeline: x}]", "needs: `pipeline` is not known to the sandbox's GitLab"),
        ("needs: [{job: build, project: a/b, ref: c}]", "needs: `project` is not known to the sandbox's GitLab"),
        ("dependencies: [biuld]", "`dependencies` has biuld, and no file has such a job"),
        ("dependencies: [late]", "`dependencies` has late, which is in no earlier stage"),
        ("needs: [build], dependencies: ['lint 1/2']", "which `needs` lacks; add it to `needs`"),
    ],
)
def test_a_wrong_need_is_refused_with_the_job_and_the_remedy(keywords: str, reason: str) -> None:
    with pytest.raises(PipelineError) as refusal:
        needed(keywords)
    assert str(refusal.value).startswith("job one: ")
    assert reason in str(refusal.value)


def test_needs_in_a_circle_are_refused() -> None:
    with pytest.raises(PipelineError, match="jobs one, two: `needs` goes round"):
        jobs("free: {script: [x]}\none: {script: [x], needs: [two]}\ntwo: {script: [x], needs: [one]}")
