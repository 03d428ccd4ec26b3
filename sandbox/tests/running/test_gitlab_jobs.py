"""Pipelines over HTTP: GitLab's own Python client starts them, Git pushes and clones, and the calls are those of GitLab Runner."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import threading
import time
import zipfile
from typing import TYPE_CHECKING, Any

import gitlab.exceptions
import pytest
import requests

from sandbox.tests.support.gitlab_project import PATH, git, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.tests.support.gitlab_project import FakeRunner, Served

pytestmark = pytest.mark.processes

ONE = "a: {tags: [small], script: [echo]}\n"
TWO = """
stages: [build, deploy]
build:
  stage: build
  tags: [small]
  script: [make]
  artifacts: {paths: [out], reports: {dotenv: build.env}}
deploy:
  stage: deploy
  tags: [small]
  id_tokens: {TOKEN: {aud: $CI_SERVER_URL}}
  environment: {name: prod, url: "https://$VERSION.example.com"}
  script: [deploy]
"""


@pytest.fixture
def served_gitlab(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as here_served:
        yield here_served


def variables(job: dict[str, Any]) -> dict[str, str]:
    return {variable["key"]: variable["value"] for variable in job["variables"]}


def upload(runner: FakeRunner, job: dict[str, Any], data: bytes, **query: str) -> int:
    # Chunked and multipart, as the runner sends it: it does not know the size before it has packed the files.
    prepared = requests.Request("POST", "http://x", files={"file": ("artifacts.zip", data)}).prepare()
    assert isinstance(prepared.body, bytes)
    answer = requests.post(
        f"{runner.url}/api/v4/jobs/{job['id']}/artifacts",
        params=query,
        data=iter([prepared.body[:40], prepared.body[40:]]),
        headers={"JOB-TOKEN": job["token"], "Content-Type": prepared.headers["Content-Type"]},
        timeout=5,
    )
    return answer.status_code


def test_a_pipeline_runs_from_push_to_success(served_gitlab: Served, tmp_path: Path) -> None:
    runner = served_gitlab.runner("small")
    pipeline = served_gitlab.pipeline(TWO)
    assert served_gitlab.statuses(pipeline) == {"build": "pending", "deploy": "created"}
    build = runner.job()
    assert served_gitlab.statuses(pipeline)["build"] == "running"
    git(tmp_path, "clone", "--quiet", build["git_info"]["repo_url"], "clone")
    git(tmp_path / "clone", "fetch", "--quiet", "origin", *build["git_info"]["refspecs"])
    assert git(tmp_path / "clone", "rev-parse", "refs/pipelines/1").strip() == build["git_info"]["sha"]

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("out", "result")
    assert upload(runner, build, archive.getvalue()) == 201
    report = gzip.compress(b"VERSION=v7\n")
    assert upload(runner, build, report, artifact_type="dotenv", artifact_format="gzip") == 201
    assert runner.finish(build).status_code == 200

    deploy = runner.job()
    assert variables(deploy)["VERSION"] == "v7"
    assert variables(deploy)["CI_ENVIRONMENT_URL"] == "https://v7.example.com"
    address = f"{runner.url}/api/v4/jobs/{deploy['dependencies'][0]['id']}/artifacts"
    downloaded = requests.get(address, headers={"JOB-TOKEN": deploy["dependencies"][0]["token"]}, timeout=5)
    assert zipfile.ZipFile(io.BytesIO(downloaded.content)).read("out") == b"result"
    claims = json.loads(base64.urlsafe_b64decode(variables(deploy)["TOKEN"].split(".")[1] + "=="))
    assert (claims["aud"], claims["ref_protected"], claims["environment"]) == ("https://gitlab.com", "true", "prod")
    assert claims["exp"] - claims["iat"] == deploy["runner_info"]["timeout"]
    runner.finish(deploy)
    pipeline.refresh()
    assert pipeline.status == "success"
    assert [environment.name for environment in served_gitlab.project.environments.list()] == ["prod"]


def test_a_trace_grows_by_ranges_and_a_wrong_one_is_told_the_right_place(served_gitlab: Served) -> None:
    runner = served_gitlab.runner("small")
    pipeline = served_gitlab.pipeline(ONE)
    job = runner.job()
    answer = runner.trace(job, b"one\n")
    assert (answer.status_code, answer.headers["Range"], answer.headers["Job-Status"]) == (202, "0-4", "running")
    beyond = runner.trace(job, b"three\n", begin=9)
    assert (beyond.status_code, beyond.headers["Range"]) == (416, "0-4")
    assert runner.trace(job, b"two\n", begin=4).headers["Range"] == "0-8"
    assert runner.trace(job, b"2\n", begin=4).headers["Range"] == "0-6"
    shown = served_gitlab.project.jobs.get(pipeline.jobs.list()[0].id)
    assert shown.trace() == b"one\n2\n"
    job["token"] = "glcbt-wrong"
    assert runner.trace(job, b"x", begin=6).status_code == 403


def test_a_canceled_job_learns_it_from_the_answer_to_its_trace(served_gitlab: Served) -> None:
    runner = served_gitlab.runner("small")
    pipeline = served_gitlab.pipeline(ONE)
    job = runner.job()
    pipeline.cancel()
    assert runner.trace(job, b"x").headers["Job-Status"] == "canceling"
    runner.finish(job, "failed", failure_reason="job_canceled")
    assert served_gitlab.statuses(pipeline) == {"a": "canceled"}
    late = runner.trace(job, b"y", begin=1)
    assert (late.status_code, late.headers["Job-Status"]) == (403, "canceled")


def test_a_waiting_runner_gets_a_job_as_soon_as_there_is_one(served_gitlab: Served) -> None:
    runner = served_gitlab.runner("small")
    assert runner.request().status_code == 204, "the first answer brings the queue's value and does not wait"
    answers: list[requests.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(runner.request()))
    waiting.start()
    begin = time.monotonic()
    served_gitlab.pipeline(ONE)
    waiting.join(10)
    assert [answer.status_code for answer in answers] == [201]
    assert time.monotonic() - begin < 8, "it did not wait for the end of its poll"


def test_a_paused_runner_gets_nothing_and_a_protected_one_only_protected_refs(served_gitlab: Served) -> None:
    paused = served_gitlab.runner("small", paused=True)
    protected = served_gitlab.runner("small", access_level="ref_protected")
    served_gitlab.pipeline(ONE, ref="feature")
    assert (paused.request().status_code, protected.request().status_code) == (204, 204)
    served_gitlab.pipeline(ONE, ref="main")
    assert protected.job()["git_info"]["ref"] == "main"
    assert requests.post(f"{paused.url}/api/v4/jobs/request", json={"token": "glrt-x"}, timeout=5).status_code == 403


def test_play_retry_and_resource_groups_work_through_the_api(served_gitlab: Served) -> None:
    text = """
    stages: [test, deploy]
    check: {stage: test, tags: [small], script: [x], retry: {max: 1, when: runner_system_failure}}
    ask: {stage: deploy, tags: [small], script: [x], when: manual, resource_group: prod}
    also: {stage: deploy, tags: [small], script: [x], resource_group: prod}
    """
    runner = served_gitlab.runner("small")
    pipeline = served_gitlab.pipeline(text)
    runner.finish(runner.job(), "failed", failure_reason="runner_system_failure")
    assert served_gitlab.statuses(pipeline)["check"] == "pending", "retry of the file"
    runner.finish(runner.job(), "failed", failure_reason="script_failure", exit_code=2)
    assert served_gitlab.statuses(pipeline) == {"check": "failed", "ask": "skipped", "also": "skipped"}
    jobs = {job.name: job.id for job in pipeline.jobs.list(get_all=True)}
    served_gitlab.project.jobs.get(jobs["check"]).retry()
    runner.finish(runner.job())
    assert served_gitlab.statuses(pipeline) == {"check": "success", "ask": "manual", "also": "pending"}
    also = runner.job()
    ask = served_gitlab.project.jobs.get(jobs["ask"])
    ask.play()
    assert served_gitlab.statuses(pipeline)["ask"] == "waiting_for_resource"
    runner.finish(also)
    assert runner.job()["job_info"]["name"] == "ask"
    with pytest.raises(gitlab.exceptions.GitlabJobPlayError, match="Unplayable Job"):
        ask.play()


def test_a_job_token_opens_its_own_project_while_the_job_runs(served_gitlab: Served, tmp_path: Path) -> None:
    runner = served_gitlab.runner("small")
    served_gitlab.pipeline(ONE)
    job = runner.job()
    url = job["git_info"]["repo_url"]
    git(tmp_path, "ls-remote", url)
    own = requests.get(f"{runner.url}/api/v4/job", headers={"JOB-TOKEN": job["token"]}, timeout=5)
    assert (own.status_code, own.json()["id"]) == (200, job["id"])
    for refused in (url.replace("deployments", "website"), url.replace(job["token"], "glcbt-x")):
        with pytest.raises(AssertionError):
            git(tmp_path, "ls-remote", refused)
    with pytest.raises(AssertionError, match="403"):
        git(tmp_path / "work", "push", "--quiet", url, "HEAD:refs/heads/other")
    runner.finish(job)
    with pytest.raises(AssertionError):
        git(tmp_path, "ls-remote", url)


def test_a_developer_pushes_a_branch_but_no_protected_one(served_gitlab: Served) -> None:
    developer = "glpat-sandbox-developer"
    served_gitlab.push({"a": "1"}, "refs/heads/feature", token=developer)
    with pytest.raises(AssertionError, match="not allowed to push code to protected branches"):
        served_gitlab.push({"a": "2"}, "refs/heads/main", token=developer)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {script: [x], imagen: alpine}\n", "imagen"),
        ("a: {script: [x], rules: [{when: never}]}\n", "Pipeline will not run"),
        ("", "Missing CI config file"),
    ],
)
def test_a_pipeline_that_cannot_be_made_says_why(served_gitlab: Served, text: str, message: str) -> None:
    served_gitlab.push({".gitlab-ci.yml": text} if text else {"README.md": ""})
    with pytest.raises(gitlab.exceptions.GitlabCreateError, match=message) as refused:
        served_gitlab.project.pipelines.create({"ref": "main"})
    assert refused.value.response_code == 400
    assert served_gitlab.project.pipelines.list() == []


def test_projects_are_made_protected_and_given_variables(served_gitlab: Served) -> None:
    project = served_gitlab.client.projects.create({"name": "shop", "namespace_id": 1234})
    assert (project.path_with_namespace, project.default_branch) == ("senncloud/shop", "main")
    with pytest.raises(gitlab.exceptions.GitlabCreateError, match="has already been taken"):
        served_gitlab.client.projects.create({"name": "shop", "namespace_id": 1234})
    project.protectedbranches.create({"name": "release-*"})
    assert [branch.name for branch in project.protectedbranches.list()] == ["main", "release-*"]
    project.protectedbranches.delete("main")
    project.variables.create({"key": "SECRET", "value": "hidden", "masked": True})
    assert [(variable.key, variable.masked) for variable in project.variables.list()] == [("SECRET", True)]


def test_a_killed_server_goes_on_with_its_pipelines(tmp_path: Path) -> None:
    with served(tmp_path) as before:
        runner = before.runner("small")
        pipeline = before.pipeline(TWO)
        job = runner.job()
        runner.trace(job, b"half\n")
    with served(tmp_path) as after:
        runner.url = after.url
        assert runner.trace(job, b"whole\n", begin=5).status_code == 202
        assert runner.finish(job).status_code == 200
        assert after.statuses(after.project.pipelines.get(pipeline.id)) == {"build": "success", "deploy": "pending"}
        assert after.pipeline(ONE, ref="other").id == pipeline.id + 1


def test_git_finds_no_repository_without_a_name_in_gitlab(served_gitlab: Served) -> None:
    done = subprocess.run(
        ["git", "ls-remote", f"{served_gitlab.url.replace('://', '://x:y@')}/{PATH}.git"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0"},
    )
    assert "Authentication failed" in done.stderr
