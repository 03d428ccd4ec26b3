"""A job as a runner gets it: the answer to `POST /api/v4/jobs/request`.

The fields are those that GitLab Runner 19.4 reads (`common/spec/spec.go` of gitlab-org/gitlab-runner); types and names of
reports are GitLab's (https://docs.gitlab.com/ci/yaml/artifacts_reports/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab.jobs.variables import dependencies, repository_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner_platform_sandbox.gitlab.ci import pipeline as ci
    from runner_platform_sandbox.gitlab.ci.variables import Variable
    from runner_platform_sandbox.gitlab.jobs.records import Job, Pipeline

DEFAULT_DEPTH: Final = 20
"""Commits that a clone gets in a new project."""
FAILURE_REASONS: Final = (
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "missing_dependency_failure",
    "runner_unsupported",
    "stale_schedule",
    "job_execution_timeout",
    "archived_failure",
    "unmet_prerequisites",
    "scheduler_failure",
    "data_integrity_failure",
    "image_pull_failure",
    "runner_configuration_error",
    "job_canceled",
)
"""Reasons that the server takes from a runner; others arrive as unknown_failure."""
_REPORTS: Final = {
    "junit": ("gzip", "junit.xml"),
    "dotenv": ("gzip", ".env"),
    "terraform": ("raw", "tfplan.json"),
    "codequality": ("raw", "gl-code-quality-report.json"),
    "cobertura": ("gzip", "cobertura-coverage.xml"),
    "jacoco": ("gzip", "jacoco-coverage.xml"),
    "metrics": ("gzip", "metrics.txt"),
    "annotations": ("gzip", "gl-annotations.json"),
    "cyclonedx": ("gzip", "gl-sbom.cdx.json"),
}


def payload(
    pipeline: Pipeline,
    job: Job,
    project: Mapping[str, Any],
    variables: Sequence[Variable],
    base: str,
) -> dict[str, Any]:
    """Return the answer for a runner that takes a job.

    Args:
        pipeline: The job's pipeline.
        job: The job, running by now.
        project: The project: `id`, `path`, `group`.
        variables: All variables of the job, expanded, the lowest precedence first.
        base: URL under which the runner reaches the server.
    """
    definition = job.definition
    return {
        "id": job.id,
        "token": job.token,
        "allow_git_fetch": True,
        "job_info": _job_info(pipeline, job, project),
        "git_info": _git_info(pipeline, job, project, variables, base),
        "runner_info": {"uuid": job.manager, "timeout": job.timeout, "runner_session_url": None},
        "inputs": [],
        "variables": [_variable(variable) for variable in variables],
        "steps": _steps(definition, job.timeout),
        "image": _image(definition.image),
        "services": [_service(service) for service in definition.services],
        "artifacts": _artifacts(definition.artifacts),
        "cache": [_cache(cache) for cache in definition.cache],
        "credentials": [],
        "dependencies": [_dependency(needed, job) for needed in dependencies(pipeline, job) if needed.artifacts],
        "features": {"trace_sections": True, "token_mask_prefixes": _MASKED, "failure_reasons": FAILURE_REASONS},
        "hooks": _hooks(definition),
        "policy_options": {"execution_policy_job": False, "policy_name": ""},
    }


_MASKED: Final = ("glpat-", "glrt-", "gldt-", "glcbt-", "glptt-", "glft-")


def _job_info(pipeline: Pipeline, job: Job, project: Mapping[str, Any]) -> dict[str, Any]:
    path = str(project["path"])
    return {
        "id": job.id,
        "name": job.name,
        "stage": job.stage,
        "pipeline_id": pipeline.id,
        "project_id": project["id"],
        "project_name": path.rpartition("/")[2],
        "project_full_path": path,
        "namespace_id": int(project["group"]),
        "root_namespace_id": int(project["group"]),
        "organization_id": 1,
        "instance_id": "sandbox",
        "instance_uuid": "sandbox",
        "user_id": 1,
        "scoped_user_id": None,
        "time_in_queue_seconds": round((job.started or 0) - (job.queued or 0), 3),
        "project_jobs_running_on_instance_runners_count": "+Inf",
        "queue_size": 1,
        "queue_depth": 1,
    }


def _git_info(
    pipeline: Pipeline, job: Job, project: Mapping[str, Any], variables: Sequence[Variable], base: str
) -> dict[str, Any]:
    text = next((variable.value for variable in reversed(variables) if variable.name == "GIT_DEPTH"), "")
    depth = int(text) if text.isdigit() else DEFAULT_DEPTH
    ref = pipeline.ref if depth else "*"
    branch, tag = f"+refs/heads/{ref}:refs/remotes/origin/{ref}", f"+refs/tags/{ref}:refs/tags/{ref}"
    named = [tag if pipeline.tag else branch] if depth else [branch, tag]
    kept = kept_ref(pipeline)
    return {
        "repo_url": repository_url(base, str(project["path"]), job.token),
        "repo_object_format": "sha1",
        "ref": pipeline.ref,
        "sha": pipeline.sha,
        "before_sha": "0" * 40,
        "ref_type": pipeline.ref_type,
        "refspecs": [f"+{kept}:{kept}", *named],
        "depth": depth,
        "protected": pipeline.protected,
    }


def kept_ref(pipeline: Pipeline) -> str:
    """Return the ref that keeps a pipeline's commit, whatever happens to its branch."""
    return f"refs/pipelines/{pipeline.id}"


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "key": variable.name,
        "value": variable.value,
        "public": variable.public,
        "masked": variable.masked,
        "file": variable.file,
        "raw": variable.raw,
    }


def _steps(definition: ci.Job, timeout: int) -> list[dict[str, Any]]:
    script = {
        "name": "script",
        "script": [*definition.before_script, *definition.script],
        "timeout": timeout,
        "when": "on_success",
        "allow_failure": False,
    }
    if not definition.after_script:
        return [script]
    after = {
        "name": "after_script",
        "script": list(definition.after_script),
        "timeout": timeout,
        "when": "always",
        "allow_failure": True,
    }
    return [script, after]


def _hooks(definition: ci.Job) -> list[dict[str, Any]]:
    script = list(definition.pre_get_sources_script)
    return [{"name": "pre_get_sources_script", "script": script}] if script else []


def _image(image: ci.Image | None) -> dict[str, Any] | None:
    if image is None:
        return None
    return {
        "name": image.name,
        "entrypoint": None if image.entrypoint is None else list(image.entrypoint),
        "executor_opts": {name: dict(options) for name, options in image.executor_options.items()},
        "ports": [],
        "pull_policy": list(image.pull_policy) or None,
    }


def _service(service: ci.Service) -> dict[str, Any]:
    return {
        **(_image(service) or {}),
        "alias": service.alias,
        "command": None if service.command is None else list(service.command),
        "variables": [_variable(variable) for variable in service.variables],
    }


def _artifacts(artifacts: ci.Artifacts | None) -> list[dict[str, Any]] | None:
    if artifacts is None:
        return None
    listed: list[dict[str, Any]] = []
    if artifacts.paths or artifacts.untracked:
        listed.append(
            {
                "name": artifacts.name,
                "untracked": artifacts.untracked,
                "paths": list(artifacts.paths),
                "exclude": list(artifacts.exclude),
                "when": artifacts.when,
                "expire_in": artifacts.expire_in,
                "artifact_type": "archive",
                "artifact_format": "zip",
            }
        )
    for kind, paths in artifacts.reports.items():
        file_format, name = _REPORTS.get(kind, ("raw", f"gl-{kind.replace('_', '-')}-report.json"))
        listed.append(
            {
                "name": name,
                "paths": list(paths),
                "when": "always",
                "expire_in": artifacts.expire_in,
                "artifact_type": kind,
                "artifact_format": file_format,
            }
        )
    return listed


def _cache(cache: ci.Cache) -> dict[str, Any]:
    return {
        "key": cache.key,
        "untracked": cache.untracked,
        "paths": list(cache.paths),
        "policy": cache.policy,
        "when": cache.when,
        "fallback_keys": list(cache.fallback_keys),
    }


def _dependency(needed: Job, job: Job) -> dict[str, Any]:
    return {"id": needed.id, "name": needed.name, "token": job.token, "artifacts_file": needed.archive_file}
