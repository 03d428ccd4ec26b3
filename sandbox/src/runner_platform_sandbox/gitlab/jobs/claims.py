"""The claims of a job's ID token: https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner_platform_sandbox.gitlab.jobs.records import Job, Pipeline


def claims(
    pipeline: Pipeline,
    job: Job,
    project: Mapping[str, Any],
    *,
    audiences: Sequence[str],
    server: str,
    environment: str | None,
) -> dict[str, Any]:
    """Return the claims of a token, without those that the issuer adds (`iss`, `iat`, `nbf`, `exp`, `jti`).

    Args:
        pipeline: The job's pipeline.
        job: The job; a runner has it.
        project: The project: `id`, `path` and `group`.
        audiences: One audience becomes a text, several a list.
        server: Host name of the GitLab.
        environment: Name of the job's environment, if it has one.
    """
    path = str(project["path"])
    return {
        "sub": f"project_path:{path}:ref_type:{pipeline.ref_type}:ref:{pipeline.ref}",
        "aud": audiences[0] if len(audiences) == 1 else list(audiences),
        **_project_claims(project),
        **{f"job_{name}": value for name, value in _project_claims(project).items()},
        "user_id": "1",
        "user_login": job.user,
        "user_email": f"{job.user}@example.com",
        "user_access_level": "owner",
        "pipeline_id": str(pipeline.id),
        "pipeline_source": pipeline.source,
        "job_id": str(job.id),
        **_ref_claims(pipeline),
        **_environment_claims(job, environment),
        "runner_id": job.runner,
        "runner_environment": "self-hosted",
        "sha": pipeline.sha,
        "ci_config_ref_uri": f"{server}/{path}//.gitlab-ci.yml@{pipeline.ref_path}",
        "ci_config_sha": pipeline.sha,
        "project_visibility": "private",
        "expires_in": job.timeout,
    }


def _project_claims(project: Mapping[str, Any]) -> dict[str, str]:
    path = str(project["path"])
    return {
        "namespace_id": str(project["group"]),
        "namespace_path": path.rpartition("/")[0],
        "project_id": str(project["id"]),
        "project_path": path,
    }


def _ref_claims(pipeline: Pipeline) -> dict[str, str]:
    return {
        "ref": pipeline.ref,
        "ref_type": pipeline.ref_type,
        "ref_path": pipeline.ref_path,
        "ref_protected": str(pipeline.protected).lower(),
    }


def _environment_claims(job: Job, name: str | None) -> dict[str, str]:
    environment = job.definition.environment
    if environment is None or name is None:
        return {}
    return {
        "environment": name,
        "environment_protected": "false",
        "deployment_tier": environment.deployment_tier,
        "environment_action": environment.action,
    }
