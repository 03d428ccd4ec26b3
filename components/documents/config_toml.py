"""A class's runner configuration: the template that the chart passes to `gitlab-runner register`.

It has one `[[runners]]`. It leaves out keys that the chart or `register` would silently drop: global keys, `name`, and the three
keys with built-in flag defaults. Jobs may overwrite nothing.
Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomli_w
import yaml

from components.documents import job_identity, pods
from components.documents.disruption import disruption
from config.capabilities import Level
from config.names import JOB_SERVICE_ACCOUNT, namespace_jobs
from config.quantities import cpu_text, memory_text
from config.versions import RUNNER_IMAGE_TAG

if TYPE_CHECKING:
    from config.names import Names
    from config.runners import KubernetesRunner
    from config.settings import KubernetesClassSettings, RunnerClassSettings

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


JOB_CACHE_FOLDER = "/builds/.cache"
"""The helper unpacks and packs cache archives here, on the volume that the containers share. The runner's default `/cache` is in the helper's
own file system: only root can make it, so restricted classes had no cache, and an archive above the helper's 1Gi of disk would evict the pod."""
FEATURE_FLAGS = {
    job_identity.FEATURE_FLAG: True,
    "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION": True,
    "FF_USE_POD_ACTIVE_DEADLINE_SECONDS": True,
    # Would add an init container that pulls the job's image with IfNotPresent, past `pull_policy`.
    "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR": False,
    # Would make other pods than the ones that the platform's rules and tests know.
    "FF_CONCRETE": False,
    "FF_SUSPENDABLE_ENVIRONMENTS": False,
    # Jobs could succeed before their last command.
    "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": False,
}
"""Feature flags that jobs cannot change: what the configuration sets, a job's variable does not overwrite."""


def runner_image(names: Names, account_id: str) -> str:
    """Return the runner image in the registry of the platform's account, with its pinned tag."""
    return f"{names.registry_host(account_id)}/{names.runner_image()}:{RUNNER_IMAGE_TAG}"


GITLAB_HELPER_IMAGE = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper"
"""GitLab's own helper image, which open classes use; the runner adds a tag with its architecture and version."""


def helper_image(names: Names, account_id: str) -> str:
    """Return the helper's image of protected classes: GitLab's, pushed to our registry. It clones with the job's credentials."""
    return f"{runner_image(names, account_id)}-helper"


def config_toml(runner_class: KubernetesClassSettings) -> str:
    """Return the configuration template of a class, as TOML text."""
    return tomli_w.dumps(config_template(runner_class), multiline_strings=True)


def config_template(runner_class: KubernetesClassSettings) -> dict[str, Any]:
    """Return the configuration template of a class, as a dictionary."""
    return {
        "runners": [
            {
                "request_concurrency": request_concurrency(runner_class.runner.concurrent),
                "cache_dir": JOB_CACHE_FOLDER,
                "feature_flags": dict(FEATURE_FLAGS),
                "cache": cache_table(runner_class),
                "kubernetes": _kubernetes(runner_class),
            }
        ]
    }


def request_concurrency(concurrent: int) -> int:
    """Return how many job requests may wait at GitLab at once; with one, long polling would hold up a busy class."""
    return min(concurrent, max(2, concurrent // 4))


def cache_table(runner_class: RunnerClassSettings) -> dict[str, Any]:
    """Return `[runners.cache]`: the class's prefix of the platform's bucket, with the credentials of the manager's role."""
    return {
        "Type": "s3",
        "Path": runner_class.name,
        "Shared": True,
        "s3": {
            "BucketName": runner_class.names.cache_bucket(runner_class.platform_account_id),
            "BucketLocation": runner_class.names.organization.region,
            "AuthenticationType": "iam",
        },
    }


def _kubernetes(runner_class: KubernetesClassSettings) -> dict[str, Any]:
    name, runner = runner_class.name, runner_class.runner
    times = disruption(runner.longest_job)
    return {
        "namespace": namespace_jobs(name),
        "image": runner_image(runner_class.names, runner_class.platform_account_id),
        "service_account": JOB_SERVICE_ACCOUNT,
        "automount_service_account_token": False,
        **dict.fromkeys(OVERWRITES, ""),
        **_resources(runner),
        **_security(runner),
        **images_table(runner_class),
        "poll_timeout": times.poll_timeout,
        # The class has one budget (`disruption.jobs_budget`); with the runner's own beside it, evictions would fail.
        "pod_disruption_budget": False,
        "pod_termination_grace_period_seconds": times.pod_grace,
        "cleanup_grace_period_seconds": times.cleanup_grace,
        "node_selector": {pods.CLASS_LABEL: name, "kubernetes.io/arch": runner.arch},
        "node_tolerations": {f"{pods.CLASS_LABEL}={name}": "NoSchedule"},
        "pod_labels": {pods.CLASS_LABEL: name},
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


def _resources(runner: KubernetesRunner) -> dict[str, str]:
    keys: dict[str, str] = {}
    for prefix, request in (("", pods.build(runner)), ("helper_", pods.HELPER), ("service_", pods.SERVICE)):
        keys |= {
            f"{prefix}cpu_request": cpu_text(request.cpu),
            f"{prefix}memory_request": memory_text(request.memory),
            f"{prefix}memory_limit": memory_text(request.memory),
            f"{prefix}ephemeral_storage_request": memory_text(request.disk),
            f"{prefix}ephemeral_storage_limit": memory_text(request.disk),
        }
    return keys


def _security(runner: KubernetesRunner) -> dict[str, Any]:
    pod_context: dict[str, Any] = {"seccomp_profile": {"type": "RuntimeDefault"}}
    if runner.pod_security == "restricted":
        # The mode of the token's file depends on user and group: set both.
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


def images_table(runner_class: RunnerClassSettings) -> dict[str, Any]:
    """Return the keys of an executor that say which images run, and that all of them are pulled anew."""
    keys: dict[str, Any] = {"pull_policy": ["always"], "allowed_pull_policies": ["always"]}
    if runner_class.runner.level is Level.PROTECTED:
        # A protected class never runs an image that an open class can push, or that only a foreign registry vouches for.
        names = runner_class.names
        prefix = names.repository_prefix(Level.PROTECTED)
        images = f"{names.registry_host(runner_class.platform_account_id)}/{prefix}**"
        keys |= {
            "allowed_images": [images],
            "allowed_services": [images],
            "helper_image": helper_image(names, runner_class.platform_account_id),
        }
    return keys
