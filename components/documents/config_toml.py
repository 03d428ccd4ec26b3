"""The class's runner configuration: the template that the chart hands to `gitlab-runner register`.

Only one `[[runners]]`, only keys that the runner knows, nothing that the chart or `register` would silently drop (global keys,
`name`, the three keys with built-in flag defaults). Overwrites by jobs are closed one by one.
Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomli_w
import yaml

from components.documents import job_identity, pods
from components.documents.disruption import disruption
from config.capabilities import Level
from config.names import JOB_SERVICE_ACCOUNT, namespace_jobs, partition_domain
from config.quantities import cpu_text, memory_text
from config.versions import RUNNER_IMAGE_TAG

if TYPE_CHECKING:
    from config.sections import Runner
    from config.settings import Settings

JOB_USER = 1000
OVERWRITES = (
    "namespace_overwrite_allowed",
    "service_account_overwrite_allowed",
    "pod_annotations_overwrite_allowed",
    "pod_labels_overwrite_allowed",
    "node_selector_overwrite_allowed",
    "node_tolerations_overwrite_allowed",
)
"""Regular expressions that GitLab does not anchor; empty means that jobs may overwrite nothing."""


def registry_host(settings: Settings) -> str:
    """Host of the platform's container registry."""
    organization = settings.organization
    return f"{settings.platform_account.id}.dkr.ecr.{organization.region}.{partition_domain(organization.partition)}"


def runner_image(settings: Settings) -> str:
    """The runner image, pinned."""
    return f"{registry_host(settings)}/{settings.names.runner_image()}:{RUNNER_IMAGE_TAG}"


def config_toml(settings: Settings, runner_class: str) -> str:
    """The configuration template of a class, as TOML text."""
    return tomli_w.dumps(config_template(settings, runner_class), multiline_strings=True)


def config_template(settings: Settings, runner_class: str) -> dict[str, Any]:
    """The configuration template of a class, as a document."""
    runner = settings.runners[runner_class]
    return {
        "runners": [
            {
                "request_concurrency": request_concurrency(runner.concurrent),
                "feature_flags": {
                    job_identity.FEATURE_FLAG: True,
                    "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION": True,
                    "FF_USE_POD_ACTIVE_DEADLINE_SECONDS": True,
                },
                "cache": _cache(settings, runner_class),
                "kubernetes": _kubernetes(settings, runner_class, runner),
            }
        ]
    }


def request_concurrency(concurrent: int) -> int:
    """How many job requests may wait at GitLab at once; with one, long polling holds up a busy class."""
    return min(concurrent, max(2, concurrent // 4))


def _cache(settings: Settings, runner_class: str) -> dict[str, Any]:
    return {
        "Type": "s3",
        "Path": runner_class,
        "Shared": True,
        "s3": {
            "BucketName": settings.names.cache_bucket(settings.platform_account.id),
            "BucketLocation": settings.organization.region,
            "AuthenticationType": "iam",
        },
    }


def _kubernetes(settings: Settings, runner_class: str, runner: Runner) -> dict[str, Any]:
    times = disruption(runner.longest_job)
    return {
        "namespace": namespace_jobs(runner_class),
        "image": runner_image(settings),
        "service_account": JOB_SERVICE_ACCOUNT,
        "automount_service_account_token": False,
        **dict.fromkeys(OVERWRITES, ""),
        **_resources(runner),
        **_security(runner),
        **_images(settings, runner),
        "poll_timeout": times.poll_timeout,
        # One budget per job pod: a drain waits for the job. Runners before 18.11 do not know the key and pass over it.
        "pod_disruption_budget": True,
        "pod_termination_grace_period_seconds": times.pod_grace,
        "cleanup_grace_period_seconds": times.pod_grace,
        "node_selector": {pods.CLASS_LABEL: runner_class, "kubernetes.io/arch": runner.arch},
        "node_tolerations": {f"{pods.CLASS_LABEL}={runner_class}": "NoSchedule"},
        "pod_labels": {pods.CLASS_LABEL: runner_class},
        "pod_annotations": {
            "karpenter.sh/do-not-disrupt": "true",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        },
        "pod_spec": [
            {
                "name": job_identity.PATCH_NAME,
                "patch_type": "strategic",
                "patch": yaml.safe_dump(job_identity.pod_patch(), sort_keys=False),
            }
        ],
    }


def _resources(runner: Runner) -> dict[str, str]:
    result: dict[str, str] = {}
    for prefix, request in (("", pods.build(runner)), ("helper_", pods.HELPER), ("service_", pods.SERVICE)):
        result |= {
            f"{prefix}cpu_request": cpu_text(request.cpu),
            f"{prefix}memory_request": memory_text(request.memory),
            f"{prefix}memory_limit": memory_text(request.memory),
            f"{prefix}ephemeral_storage_request": memory_text(request.disk),
            f"{prefix}ephemeral_storage_limit": memory_text(request.disk),
        }
    return result


def _security(runner: Runner) -> dict[str, Any]:
    pod_context: dict[str, Any] = {"seccomp_profile": {"type": "RuntimeDefault"}}
    if runner.pod_security == "restricted":
        # The token's mode depends on both: never one without the other.
        pod_context |= {
            "run_as_non_root": True,
            "run_as_user": JOB_USER,
            "run_as_group": JOB_USER,
            "fs_group": JOB_USER,
        }
    return {
        "privileged": False,
        "allow_privilege_escalation": False,
        "cap_drop": ["ALL"] if runner.pod_security == "restricted" else ["NET_RAW"],
        "pod_security_context": pod_context,
    }


def _images(settings: Settings, runner: Runner) -> dict[str, Any]:
    result: dict[str, Any] = {"pull_policy": ["always"], "allowed_pull_policies": ["always"]}
    if runner.level is Level.PROTECTED:
        # Integrity: what an open class can push, a protected class never runs.
        own = f"{registry_host(settings)}/{settings.names.repository_prefix(Level.PROTECTED)}**"
        result |= {"allowed_images": [own], "allowed_services": [own]}
    return result
