"""What becomes of the keys of `[runners.docker]`, `[runners.cache]`, `[runners.machine]`, `[runners.autoscaler]`, and of rare executors."""

from __future__ import annotations

from typing import Final

from runner_platform.import_config.answers import built_in, none, of_table

EXECUTORS: Final = {
    "docker": {"docker", "docker+machine", "docker-autoscaler", "docker-windows", "docker-autoscaler-windows"},
    "machine": {"docker+machine"},
    "autoscaler": {"docker-autoscaler", "instance", "docker-autoscaler-windows"},
    "instance": {"instance"},
    "kubernetes": {"kubernetes"},
    "custom": {"custom"},
    "ssh": {"ssh", "parallels", "virtualbox"},
    "parallels": {"parallels"},
    "virtualbox": {"virtualbox"},
}
"""Executors that use a table below `runners`; the others ignore it. `gitlab-runner register` writes some empty ones into each file."""

_DEVICES = none("jobs get no devices and no GPU: no class has such instances")
_NETWORK = none("jobs use the resolver and the network of their class; reach other hosts by names that DNS knows")
_LIMITS = none(
    "jobs of a machine share its memory and cores equally; choose `instance`, `instances.types`, `concurrent` and `capacity` for it"
)
_SERVICES = none("services have fixed shares; name `services:` in the job, with variables of the job")
_HOST = none(
    "a job gets nothing of its host: it could change what other jobs and the manager use; use the cache, artifacts or a service"
)
_USER = none("the class decides; an image may have a user of its own")

DOCKER: Final = of_table(
    "runners.docker",
    {
        "image": none(
            "jobs without `image:` run in the platform's runner image; write `image:` into the jobs, or as `default:` of a template"
        ),
        "host tls_cert_path tls_verify": built_in("the manager talks to the Docker of its own machines"),
        "hostname mac_address": none("containers have names and addresses of their own"),
        "runtime isolation": none(
            "Docker's own runtime; for stronger walls give each job an instance: docker-autoscaler with uses: 1"
        ),
        "memory memory_swap memory_reservation cpus cpuset_cpus cpuset_mems cpu_shares oom_kill_disable oom_score_adjust cgroup_parent ulimit": _LIMITS,
        "dns dns_search extra_hosts network_mode network_mtu enable_ipv6 links": _NETWORK,
        "privileged services_privileged allowed_privileged_images allowed_privileged_services": none(
            "privileged containers are refused: such a job owns its host, and every later job there; build images with `builder: plain` and templates/image.yml"
        ),
        "disable_entrypoint_overwrite": none("jobs may name an entrypoint of their image"),
        "user allowed_users group_add userns_mode": _USER,
        "cap_add cap_drop security_opt services_security_opt sysctls pid_mode ipcmode": built_in(
            "the class fixes the rights of containers; a job cannot widen them"
        ),
        "devices device_cgroup_rules gpus services_devices service_gpus": _DEVICES,
        "disable_cache cache_dir": built_in(
            "caches go into the platform's bucket, per class; jobs use `cache:` as before"
        ),
        "volumes volumes_from volume_keep volume_driver volume_driver_ops tmpfs services_tmpfs": _HOST,
        "shm_size": none(
            "shared memory has Docker's default size, 64 MiB; let the program use files in $CI_PROJECT_DIR"
        ),
        "services": none("no services for all jobs; write `services:` into the jobs, or as `default:` of a template"),
        "services_limit wait_for_services_timeout": built_in("the same for every class"),
        "service_memory service_memory_swap service_memory_reservation service_cgroup_parent service_slot_cgroup_template "
        "service_cpuset_cpus service_cpus service_cpu_shares": _SERVICES,
        "allowed_images allowed_services": built_in(
            "protected classes run images of the platform's protected/… repositories only; open classes run any"
        ),
        "pull_policy allowed_pull_policies": built_in(
            "each job pulls its images anew, since a copy on a shared host skips the registry's check of rights"
        ),
        "helper_image helper_image_flavor": built_in(
            "GitLab's helper; protected classes have it from the platform's registry"
        ),
        "container_labels log_options": built_in("the class's own"),
    },
)
CACHE: Final = of_table(
    "runners.cache",
    {
        "Type Path Shared": built_in("S3, a bucket of the platform, one prefix for each class"),
        "MaxUploadedArchiveSize RedactURL": built_in("the runner's default"),
        "s3": built_in(
            "the platform has a bucket of its own and reaches it by the manager's role, without keys; `cache.expire_days` decides how long archives stay"
        ),
        "s3.AccessKey s3.SecretKey s3.SessionToken": built_in(
            "a secret, never printed: the manager's role signs; delete these keys in IAM when the old runner is gone"
        ),
        "s3.ServerAddress s3.Insecure s3.PathStyle s3.DualStack s3.Accelerate": built_in(
            "S3 of AWS in the platform's region, by TLS"
        ),
        "gcs azure": none("the cache is in S3; old archives are not copied, so the first jobs start without a cache"),
        "ServerAddress AccessKey SecretKey BucketName BucketLocation Insecure": built_in(
            "keys of runners before 12.0; the platform has a bucket of its own"
        ),
    },
)
_IDLE = none(
    "no instance starts ahead of a job: the job waits until it has started. One with uses left stays for ten minutes; jobs that cannot wait get a "
    "class of executor docker"
)
MACHINE: Final = of_table(
    "runners.machine",
    {
        "IdleCount IdleScaleFactor IdleCountMin IdleTime": _IDLE,
        "OffPeakPeriods OffPeakTimezone OffPeakIdleCount OffPeakIdleTime autoscaling": _IDLE,
        "MaxGrowthRate": built_in("instances are asked for as jobs come; EC2's own limits hold"),
        "MaxBuilds": none("0 is no end; here every instance ends after `uses` jobs"),
        "MachineDriver": built_in("machines are EC2 instances of an Auto Scaling group"),
        "MachineName": built_in("instances are named after their class"),
        "MachineOptions MachineOptionsWithName": none("an option of a machine that is not known here"),
        "MaxRemovalAttempts HeartbeatInterval": built_in(
            "the Auto Scaling group replaces lost instances; the runner notices one in minutes"
        ),
    },
)
AUTOSCALER: Final = of_table(
    "runners.autoscaler",
    {
        "capacity_per_instance max_use_count max_instances": none("0 is no limit; here the class has one"),
        "plugin": built_in("GitLab's fleeting plugin for AWS, pinned, inside the manager's image"),
        "plugin_config": none(
            "the platform makes a group of its own; `aws autoscaling describe-auto-scaling-groups` shows the types and the limits of the old one"
        ),
        "connector_config": built_in(
            "the manager logs in by EC2 Instance Connect with a key for each connection, and gives up in 2m instead of 10m"
        ),
        "policy": _IDLE,
        "instance_ready_command": built_in("an instance takes jobs when its own start has ended"),
        "instance_acquire_timeout update_interval update_interval_when_expecting scale_throttle reservation_throttling": built_in(
            "the same for every class"
        ),
        "deletion_retry_interval shutdown_deletion_interval shutdown_deletion_retries failure_threshold delete_instances_on_shutdown": built_in(
            "the same for every class"
        ),
        "log_internal_ip log_external_ip": built_in("the runner's default"),
        "vm_isolation": none("no virtual machines within an instance; uses: 1 gives each job an instance of its own"),
        "state_storage": built_in("a manager that starts takes its group over"),
        "instance_operation_time_buckets instance_creation_time_buckets instance_is_running_time_buckets instance_deletion_time_buckets "
        "instance_readiness_time_buckets instance_life_duration_buckets": built_in("the runner's default"),
    },
)
OTHER_CLOUD: Final = none(
    "this platform runs on AWS: sizes, network and keys of another cloud do not hold here, so choose instances.types"
)
_STAGES = none(
    "no programs of yours prepare or clean up: they would run with the manager's rights; executor: fargate has a driver of the platform's own"
)
RARE: Final = {
    **of_table("runners", {"custom": _STAGES}),
    **of_table(
        "runners",
        {
            "instance": none("jobs run in containers, not on the instance itself; write `image:` into the jobs"),
            "ssh": none(
                "no class logs in to a server of yours: it would need a key that all jobs share; let the job call the server's own interface"
            ),
            "parallels virtualbox": none(
                "no class has virtual machines of this kind; keep this runner for jobs that need macOS or Windows"
            ),
        },
    ),
}
