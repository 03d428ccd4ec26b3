"""Every key that the `config.toml` of a class on EC2 may have, and the values that the key may have.

Rule M10 refuses a key that is not here, and a value that its key may not have. The values are written down a second time on purpose, and not
taken from `components/documents/machines/`: a change there must not change what is expected of it. How tables work: `release_table.py`.
Sources: https://docs.gitlab.com/runner/configuration/advanced-configuration/, https://docs.gitlab.com/runner/executors/docker_autoscaler/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from config.capabilities import Level
from config.names import IDENTITY_FOLDER
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner
from config.versions import FLEETING_PLUGIN
from policies.release_table import DAY, FLAG, Expected, exact, one_of, optional, runner_image, whole

if TYPE_CHECKING:
    from config.settings import MachineClassSettings
    from policies.release_table import Table

SESSIONS = "/run/runner-platform/aws"
"""Folder of a machine with the AWS config and the sessions of its jobs; the only folder of the machine that jobs see."""
_MEBIBYTES = re.compile(r"[1-9][0-9]{1,6}m")
MEBIBYTES = Expected(
    text="a size such as 512m",
    allows=lambda value: isinstance(value, str) and _MEBIBYTES.fullmatch(value) is not None,
)
_MINUTES = re.compile(r"([1-9]|[1-5][0-9])m(0s)?")
MINUTES = Expected(
    text="minutes such as 10m",
    allows=lambda value: isinstance(value, str) and _MINUTES.fullmatch(value) is not None,
)
JOB_ENVIRONMENT = [f"AWS_CONFIG_FILE={IDENTITY_FOLDER}/config", "AWS_SDK_LOAD_CONFIG=1"]
POLICY_KEYS = frozenset({"idle_count", "idle_time", "periods", "timezone", "scale_factor", "scale_factor_limit"})
POLICY = Expected(
    text="a list of policies with idle_count and idle_time",
    allows=lambda value: isinstance(value, list) and all(set(entry) <= POLICY_KEYS for entry in value),
)


def config_table(runner_class: MachineClassSettings) -> Table:
    """Return the table of the whole configuration, but for `runners`."""
    return {
        "concurrent": exact(runner_class.runner.jobs_at_once),
        "check_interval": whole(1, 60),
        "shutdown_timeout": whole(60, 8 * DAY),
        "log_format": optional(one_of("runner", "text", "json")),
        "log_level": optional(one_of("info", "warn", "error")),
    }


def runner_table(runner_class: MachineClassSettings) -> Table:
    """Return the table of the one `[[runners]]`. It has no token: the machine adds that at each start."""
    runner, gitlab = runner_class.runner, runner_class.gitlab
    table: dict[str, Any] = {
        "name": exact(runner_class.name),
        "url": exact(gitlab.url),
        "executor": exact("custom" if isinstance(runner, FargateRunner) else runner.executor),
        "limit": exact(runner.jobs_at_once),
        "request_concurrency": whole(1, 1000),
        "output_limit": optional(whole(1, 1_000_000)),
        **({"tls-ca-file": exact("/etc/runner-platform/gitlab-ca.pem")} if gitlab.ca_bundle else {}),
    }
    if isinstance(runner, DockerRunner | AutoscalerRunner):
        table |= {
            "environment": exact(JOB_ENVIRONMENT),
            "feature_flags": {
                **dict.fromkeys(("FF_NETWORK_PER_BUILD", "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION"), exact(True)),
                **dict.fromkeys(("FF_CONCRETE", "FF_SUSPENDABLE_ENVIRONMENTS"), optional(exact(False))),
            },
            "cache": _cache_table(runner_class),
            "docker": _docker_table(runner_class),
        }
    if isinstance(runner, FargateRunner):
        table |= _custom_table(runner_class)
    if isinstance(runner, AutoscalerRunner):
        table["autoscaler"] = _autoscaler_table(runner_class, runner)
    return table


def _cache_table(runner_class: MachineClassSettings) -> Table:
    names = runner_class.names
    return {
        "Type": exact("s3"),
        "Path": exact(runner_class.name),
        "Shared": exact(True),
        "s3": {
            "BucketName": exact(names.cache_bucket(runner_class.platform_account_id)),
            "BucketLocation": exact(names.organization.region),
            "AuthenticationType": exact("iam"),
        },
    }


def _docker_table(runner_class: MachineClassSettings) -> Table:
    image = runner_image(runner_class)
    return {
        "image": exact(image),
        "privileged": exact(False),
        "services_privileged": optional(exact(False)),
        "security_opt": exact(["no-new-privileges:true"]),
        "services_security_opt": optional(exact(["no-new-privileges:true"])),
        "cap_drop": one_of(["NET_RAW"], ["ALL"]),
        "volumes": exact([f"{SESSIONS}:{IDENTITY_FOLDER}:ro"]),
        "disable_cache": exact(True),
        **dict.fromkeys(("memory", "memory_swap", "service_memory", "service_memory_swap"), MEBIBYTES),
        "services_limit": whole(0, 50),
        **dict.fromkeys(("pull_policy", "allowed_pull_policies"), exact(["always"])),
        **_images_table(runner_class, image),
    }


def _images_table(runner_class: MachineClassSettings, image: str) -> Table:
    """Leave images to open classes; a protected class runs those of the protected repositories, helper included."""
    if runner_class.runner.level is not Level.PROTECTED:
        return {}
    names = runner_class.names
    registry = names.registry_host(runner_class.platform_account_id)
    images = exact([f"{registry}/{names.repository_prefix(Level.PROTECTED)}**"])
    return {**dict.fromkeys(("allowed_images", "allowed_services"), images), "helper_image": exact(f"{image}-helper")}


def _custom_table(runner_class: MachineClassSettings) -> Table:
    """Return the table of a manager whose driver starts a task for each job."""
    stages = ("config", "prepare", "run", "cleanup")
    return {
        "shell": exact("bash"),
        "builds_dir": exact("/builds"),
        "cache_dir": exact("/builds/.cache"),
        "environment": exact(JOB_ENVIRONMENT),
        "feature_flags": {"FF_DISABLE_AUTOMATIC_TOKEN_ROTATION": exact(True)},
        "cache": _cache_table(runner_class),
        "custom": {
            **{f"{stage}_exec": exact("/usr/local/lib/runner-platform/fargate.py") for stage in stages},
            **{f"{stage}_args": exact([stage]) for stage in stages},
            **{f"{stage}_exec_timeout": whole(10, 3600) for stage in stages if stage != "run"},
            **dict.fromkeys(("graceful_kill_timeout", "force_kill_timeout"), whole(1, 600)),
        },
    }


def _autoscaler_table(runner_class: MachineClassSettings, runner: AutoscalerRunner) -> Table:
    ready = f"systemctl is-active --quiet runner-platform-network && test -s {SESSIONS}/credentials.json"
    return {
        "plugin": exact(FLEETING_PLUGIN),
        "capacity_per_instance": exact(runner.capacity),
        "max_use_count": exact(runner.uses),
        "max_instances": exact(runner.max_instances),
        "instance_ready_command": exact(ready),
        "instance_acquire_timeout": MINUTES,
        "delete_instances_on_shutdown": FLAG,
        "plugin_config": {"name": exact(runner_class.names.worker_group(runner_class.name))},
        "connector_config": {
            "username": exact("ubuntu"),
            "use_external_addr": exact(False),
            "timeout": one_of("1m", "2m"),
        },
        "policy": POLICY,
    }
