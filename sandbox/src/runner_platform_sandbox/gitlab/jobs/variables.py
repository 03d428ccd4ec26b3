"""GitLab's predefined variables: https://docs.gitlab.com/ci/variables/predefined_variables/.

The names of the server (CI_SERVER_URL, CI_SERVER_FQDN, ...) are those of the issuer of ID tokens, since pipelines use them
as audience and in `component:`. The addresses (CI_API_V4_URL, CI_REPOSITORY_URL, ...) are those under which the runner
reaches the stand-in.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runner_platform_sandbox.gitlab.ci.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.gitlab.jobs.records import Job, Pipeline
    from runner_platform_sandbox.gitlab.repositories import Commit

_LONGEST_SLUG: Final = 63
_PORTS: Final = {"https": 443, "http": 80}
VERSION: Final = "19.4.0-ee"


def slug(text: str) -> str:
    """Return a text as part of a host name, as CI_COMMIT_REF_SLUG has it."""
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:_LONGEST_SLUG].strip("-")


def of_pipeline(
    pipeline: Pipeline, project: Mapping[str, Any], commit: Commit, *, base: str, issuer: str
) -> dict[str, str]:
    """Return the variables that are known when a pipeline is made.

    Args:
        pipeline: The pipeline; it needs no jobs yet.
        project: The project: `id`, `path`, `group`, `default_branch`.
        commit: Its commit.
        base: URL of the stand-in.
        issuer: URL of the issuer of ID tokens.
    """
    return {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_API_V4_URL": f"{base}/api/v4",
        "CI_COMMIT_AUTHOR": commit.author,
        "CI_COMMIT_BEFORE_SHA": "0" * 40,
        "CI_COMMIT_MESSAGE": commit.message,
        "CI_COMMIT_SHA": commit.sha,
        "CI_COMMIT_SHORT_SHA": commit.sha[:8],
        "CI_COMMIT_TIMESTAMP": commit.created_at,
        "CI_COMMIT_TITLE": commit.title,
        "CI_CONFIG_PATH": ".gitlab-ci.yml",
        "CI_PIPELINE_CREATED_AT": timestamp(pipeline.created),
        "CI_PIPELINE_ID": str(pipeline.id),
        "CI_PIPELINE_IID": str(pipeline.iid),
        "CI_PIPELINE_URL": f"{base}/{project['path']}/-/pipelines/{pipeline.id}",
        **_of_project(project, base),
        **_of_server(issuer),
        "GITLAB_USER_EMAIL": f"{pipeline.user}@example.com",
        "GITLAB_USER_ID": "1",
        "GITLAB_USER_LOGIN": pipeline.user,
        "GITLAB_USER_NAME": pipeline.user,
    }


def _of_project(project: Mapping[str, Any], base: str) -> dict[str, str]:
    path = str(project["path"])
    namespace, _, name = path.rpartition("/")
    return {
        "CI_DEFAULT_BRANCH": str(project["default_branch"]),
        "CI_PROJECT_ID": str(project["id"]),
        "CI_PROJECT_NAME": name,
        "CI_PROJECT_NAMESPACE": namespace,
        "CI_PROJECT_NAMESPACE_ID": str(project["group"]),
        "CI_PROJECT_PATH": path,
        "CI_PROJECT_PATH_SLUG": slug(path),
        "CI_PROJECT_ROOT_NAMESPACE": path.partition("/")[0],
        "CI_PROJECT_TITLE": name,
        "CI_PROJECT_URL": f"{base}/{path}",
        "CI_PROJECT_VISIBILITY": "private",
    }


def _of_server(issuer: str) -> dict[str, str]:
    parts = urlsplit(issuer)
    major, minor, patch = VERSION.removesuffix("-ee").split(".")
    return {
        "CI_SERVER": "yes",
        "CI_SERVER_FQDN": parts.netloc,
        "CI_SERVER_HOST": parts.hostname or "",
        "CI_SERVER_NAME": "GitLab",
        "CI_SERVER_PORT": str(parts.port or _PORTS[parts.scheme]),
        "CI_SERVER_PROTOCOL": parts.scheme,
        "CI_SERVER_REVISION": "sandbox",
        "CI_SERVER_URL": issuer,
        "CI_SERVER_VERSION": VERSION,
        "CI_SERVER_VERSION_MAJOR": major,
        "CI_SERVER_VERSION_MINOR": minor,
        "CI_SERVER_VERSION_PATCH": patch,
    }


def of_job(
    pipeline: Pipeline, job: Job, project: Mapping[str, Any], runner: Mapping[str, Any], base: str
) -> list[Variable]:
    """Return the variables that are known once a runner has a job."""
    path = str(project["path"])
    url = f"{base}/{path}"
    public = {
        "CI_JOB_ID": str(job.id),
        "CI_JOB_NAME": job.name,
        "CI_JOB_NAME_SLUG": slug(job.name),
        "CI_JOB_STAGE": job.stage,
        "CI_JOB_STARTED_AT": timestamp(job.started or 0),
        "CI_JOB_STATUS": "running",
        "CI_JOB_TIMEOUT": str(job.timeout),
        "CI_JOB_URL": f"{url}/-/jobs/{job.id}",
        "CI_RUNNER_DESCRIPTION": str(runner["description"]),
        "CI_RUNNER_ID": str(runner["id"]),
        "CI_RUNNER_TAGS": _listed(runner["tag_list"]),
    }
    secret = {"CI_JOB_TOKEN": job.token, "CI_REPOSITORY_URL": repository_url(base, path, job.token)}
    return [
        *(Variable(name=name, value=value, raw=True) for name, value in public.items()),
        Variable(name="CI_JOB_TOKEN", value=secret["CI_JOB_TOKEN"], raw=True, public=False, masked=True),
        Variable(name="CI_REPOSITORY_URL", value=secret["CI_REPOSITORY_URL"], raw=True, public=False),
        *(Variable(name=name, value=value, raw=True) for name, value in _of_copy(job).items()),
        *_reported(pipeline, job),
    ]


def repository_url(base: str, path: str, token: str) -> str:
    """Return the address to clone a project with a job's token."""
    return f"{base.replace('://', f'://gitlab-ci-token:{token}@', 1)}/{path}.git"


def timestamp(seconds: float) -> str:
    """Return a time as GitLab writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _listed(tags: list[str]) -> str:
    return "[" + ", ".join(f'"{tag}"' for tag in tags) + "]"


def _of_copy(job: Job) -> dict[str, str]:
    if job.definition.parallel is None:
        return {}
    number, total = job.definition.parallel
    return {"CI_NODE_INDEX": str(number), "CI_NODE_TOTAL": str(total)}


def _reported(pipeline: Pipeline, job: Job) -> list[Variable]:
    """Return the variables of the dotenv reports of the jobs whose artifacts a job gets."""
    reports = (dependency.reported_variables for dependency in dependencies(pipeline, job))
    return [Variable(name=name, value=value, raw=True) for report in reports for name, value in report.items()]


def dependencies(pipeline: Pipeline, job: Job) -> list[Job]:
    """Return the jobs whose artifacts a job gets.

    https://docs.gitlab.com/ci/yaml/#dependencies, #needsartifacts
    """
    definition = job.definition
    if definition.needs is not None:
        names = {need.job for need in definition.needs if need.artifacts}
    else:
        earlier = pipeline.stages[: pipeline.stages.index(job.stage)]
        names = {candidate.name for candidate in pipeline.latest if candidate.stage in earlier}
    if definition.dependencies is not None:
        names &= set(definition.dependencies)
    return [candidate for candidate in pipeline.latest if candidate.name in names]
