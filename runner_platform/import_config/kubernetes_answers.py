"""What becomes of the keys of `[runners.kubernetes]`."""

from __future__ import annotations

from typing import Final

from runner_platform.import_config.answers import TIMES, built_in, none, of_table

_CLUSTER = built_in("the platform has a cluster of its own, and the chart connects the manager to it")
_OVERWRITES = built_in(
    "jobs overwrite nothing: not the namespace, account, labels, nodes or sizes; make a class for each size"
)
_PLACE = built_in(
    "each class has nodes of its own, and only its pods run there; `arch` and `spot` of the class choose them"
)
_SHARES = built_in("helper and services have fixed shares, for which the nodes are sized")
_RIGHTS = built_in(
    "the class fixes the rights of pods; pod_security: restricted narrows them further, and nothing widens them"
)
_VOLUMES = none(
    "jobs mount nothing but their folder and their AWS files; use the cache, artifacts, a CI/CD variable of type file, or an AWS profile"
)
_REGISTRIES = none(
    "no registry passwords in the cluster; nodes pull from the platform's ECR, and DOCKER_AUTH_CONFIG as a CI/CD variable opens others"
)
_SIZES = tuple(
    f"{prefix}{size}_{bound}"
    for prefix in ("", "service_", "helper_")
    for size in ("cpu", "memory", "ephemeral_storage")
    for bound in ("limit", "request")
)
_POD_SIZES = "pod_cpu_limit pod_cpu_request pod_memory_limit pod_memory_request"
_OVERWRITTEN_SIZES = " ".join(f"{size}_overwrite_max_allowed" for size in (*_SIZES, *_POD_SIZES.split()))
_SHARES_OF_OTHERS = " ".join(size for size in _SIZES if size.startswith(("service_", "helper_")))

KUBERNETES: Final = of_table(
    "runners.kubernetes",
    {
        "host context cert_file key_file ca_file bearer_token": _CLUSTER,
        "namespace namespace_per_job": built_in("each class has a namespace for its jobs"),
        "namespace_overwrite_allowed bearer_token_overwrite_allowed node_selector_overwrite_allowed node_tolerations_overwrite_allowed "
        "pod_labels_overwrite_allowed service_account_overwrite_allowed pod_annotations_overwrite_allowed": _OVERWRITES,
        _OVERWRITTEN_SIZES: _OVERWRITES,
        _SHARES_OF_OTHERS: _SHARES,
        "cpu_limit": none("`cpu` of a class is reserved and no limit: a job may use what its node has left"),
        "cpu_request memory_limit memory_request ephemeral_storage_limit ephemeral_storage_request": none(
            "the class has one size of each kind, reserved and, but for cpu, a limit at once"
        ),
        _POD_SIZES: none("sizes are those of the build container; helper and services come on top"),
        "image": none(
            "jobs without `image:` run in the platform's runner image; write `image:` into the jobs, or as `default:` of a template"
        ),
        "privileged": none(
            "privileged pods are refused: such a job owns its node; build images with `builder: plain` and templates/image.yml"
        ),
        "runtime_class_name scheduler_name priority_class_name": none(
            "pods use the cluster's defaults; a class has nodes of its own, so that no other class displaces its jobs"
        ),
        "allow_privilege_escalation cap_add cap_drop allowed_users allowed_groups pod_security_context init_permissions_container_security_context "
        "build_container_security_context helper_container_security_context service_container_security_context": _RIGHTS,
        "allowed_images allowed_services": built_in(
            "protected classes run images of the platform's protected/… repositories only; open classes run any"
        ),
        "pull_policy allowed_pull_policies": built_in(
            "each job pulls its images anew, since a copy on a node skips the registry's check of rights"
        ),
        "image_pull_secrets use_service_account_image_pull_secrets": _REGISTRIES,
        "node_selector node_tolerations affinity": _PLACE,
        "helper_image helper_image_flavor helper_image_autoset_arch_and_os": built_in(
            "GitLab's helper; protected classes have it from the platform's registry"
        ),
        "pod_termination_grace_period_seconds cleanup_grace_period_seconds cleanup_resources_timeout poll_interval poll_timeout": TIMES,
        "resource_availability_check_max_attempts retry_limit retry_backoff_max retry_limits": built_in(
            "the runner's default"
        ),
        "pod_labels pod_annotations": built_in("the class's own, by which rules and network policies select its pods"),
        "service_account": built_in("each class has an account of its own with its own AWS role; jobs name a profile"),
        "automount_service_account_token": built_in("jobs get no token of the Kubernetes API"),
        "pod_spec": none(
            "jobs' pods are checked by the API server, which refuses patches of yours; ask for a setting of the class"
        ),
        "volumes": _VOLUMES,
        "host_aliases dns_policy dns_config": none(
            "jobs use the cluster's resolver; reach other hosts by names that DNS knows"
        ),
        "services": none("no services for all jobs; write `services:` into the jobs, or as `default:` of a template"),
        "suspend_pvc_size suspend_pvc_storage_class": none(
            "environments are not suspended: a job's pod ends with the job"
        ),
        "container_lifecycle": none("containers have no hooks; use before_script and after_script of the job"),
        "logs_base_dir scripts_base_dir": built_in("the runner's default"),
        "print_pod_warning_events": built_in("the runner's default"),
        "pod_disruption_budget": built_in("the class has one budget for all of its pods"),
        "autoscaler": none("no pause pods keep nodes warm: a job waits for its node; an empty node stays for 5m"),
    },
)
