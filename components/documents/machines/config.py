"""The runner's configuration on an EC2 instance: the whole `config.toml`, without the token, which the instance adds at each start.

Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/,
https://docs.gitlab.com/runner/executors/docker_autoscaler/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomli_w

from components.documents.config_toml import cache_table, images_table, request_concurrency, runner_image
from components.documents.disruption import disruption
from components.documents.job_identity import job_environment
from components.documents.machines import tasks
from config.machine_types import machine_type
from config.names import IDENTITY_FOLDER
from config.runner_checks import job_memory_mib
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner
from config.versions import FLEETING_PLUGIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import MachineClassSettings

HOST_IDENTITY = "/run/runner-platform/aws"
"""Folder of the machine with the jobs' AWS config and credentials. It is in memory."""
CA_FILE = "/etc/runner-platform/gitlab-ca.pem"
CHECK_SECONDS = 3
DRIVER_SECONDS = 60
"""A stage of the driver that waits for no task."""
KILL_SECONDS = 20
SERVICES_AT_ONCE = 4
WORKER_USER = "ubuntu"
READY_SECONDS = 10 * 60
"""How long a manager waits for a new instance: image, cloud-init and first credentials."""
CONNECT_TIMEOUT = "2m"
"""A try to reach an instance ends so early that a lost spot host is noticed within three tries, six minutes. The plugin's default is ten
minutes a try."""
READY_COMMAND = f"systemctl is-active --quiet runner-platform-network && test -s {HOST_IDENTITY}/credentials.json"


def config_toml(runner_class: MachineClassSettings) -> str:
    """Return the configuration of a class's manager, as TOML text without a token."""
    return tomli_w.dumps(config_document(runner_class), multiline_strings=True)


def config_document(runner_class: MachineClassSettings) -> dict[str, Any]:
    """Return the configuration of a class's manager, as a dictionary."""
    runner, jobs = runner_class.runner, runner_class.runner.jobs_at_once
    entry: dict[str, Any] = {
        "name": runner_class.name,
        "url": runner_class.gitlab.url,
        "executor": "custom" if isinstance(runner, FargateRunner) else runner.executor,
        "limit": jobs,
        "request_concurrency": request_concurrency(jobs),
        **({"tls-ca-file": CA_FILE} if runner_class.gitlab.ca_bundle else {}),
    }
    if isinstance(runner, FargateRunner):
        entry |= _custom(runner_class)
    if isinstance(runner, DockerRunner | AutoscalerRunner):
        entry["environment"] = [f"{name}={value}" for name, value in job_environment().items()]
        entry["feature_flags"] = {
            # Jobs on one host have networks of their own, and do not see each other.
            "FF_NETWORK_PER_BUILD": True,
            "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION": True,
            # Would run jobs in other containers than the ones that the platform's rules and tests know.
            "FF_CONCRETE": False,
            "FF_SUSPENDABLE_ENVIRONMENTS": False,
        }
        entry["cache"] = cache_table(runner_class)
        entry["docker"] = _docker(runner_class, runner)
    if isinstance(runner, AutoscalerRunner):
        entry["autoscaler"] = _autoscaler(runner_class, runner)
    return {
        "concurrent": jobs,
        "check_interval": CHECK_SECONDS,
        "shutdown_timeout": disruption(runner.longest_job).manager_grace,
        "log_format": "json",
        "runners": [entry],
    }


def _custom(runner_class: MachineClassSettings) -> dict[str, Any]:
    """Return the parts of a manager whose driver runs each job in a Fargate task."""
    stages = ("config", "prepare", "run", "cleanup")
    return {
        "shell": "bash",
        "builds_dir": tasks.BUILDS_FOLDER,
        "cache_dir": tasks.CACHE_FOLDER,
        "environment": [f"{name}={value}" for name, value in job_environment().items()],
        "feature_flags": {"FF_DISABLE_AUTOMATIC_TOKEN_ROTATION": True},
        "cache": cache_table(runner_class),
        "custom": {
            **{f"{stage}_exec": tasks.DRIVER for stage in stages},
            **{f"{stage}_args": [stage] for stage in stages},
            "config_exec_timeout": DRIVER_SECONDS,
            # The driver gives up earlier, and says why.
            "prepare_exec_timeout": tasks.START_SECONDS + DRIVER_SECONDS,
            "cleanup_exec_timeout": 2 * DRIVER_SECONDS,
            "graceful_kill_timeout": KILL_SECONDS,
            "force_kill_timeout": KILL_SECONDS,
        },
    }


def _docker(runner_class: MachineClassSettings, runner: DockerRunner | AutoscalerRunner) -> dict[str, Any]:
    memory = _memory_of_a_job(runner)
    return {
        "image": runner_image(runner_class.names, runner_class.platform_account_id),
        "privileged": False,
        "security_opt": ["no-new-privileges:true"],
        # The runner gives services neither of the two others: they keep NET_RAW, in a network of their job alone.
        "services_security_opt": ["no-new-privileges:true"],
        "cap_drop": ["NET_RAW"],
        "volumes": [f"{HOST_IDENTITY}:{IDENTITY_FOLDER}:ro"],
        # Without it, folders of a job stay on the host for later jobs.
        "disable_cache": True,
        "memory": f"{memory * 3 // 4}m",
        "memory_swap": f"{memory * 3 // 4}m",
        "service_memory": f"{memory // 4}m",
        "service_memory_swap": f"{memory // 4}m",
        "services_limit": SERVICES_AT_ONCE,
        **images_table(runner_class),
    }


def _memory_of_a_job(runner: DockerRunner | AutoscalerRunner) -> int:
    """Return MiB that a job and its services have: an equal share of the smallest instance type."""
    names = (runner.instance,) if isinstance(runner, DockerRunner) else runner.instances.types
    jobs = runner.concurrent if isinstance(runner, DockerRunner) else runner.capacity
    machines = [machine for name in names if (machine := machine_type(name)) is not None]
    return min(job_memory_mib(machine, jobs) for machine in machines)


def _autoscaler(runner_class: MachineClassSettings, runner: AutoscalerRunner) -> Mapping[str, Any]:
    return {
        "plugin": FLEETING_PLUGIN,
        "capacity_per_instance": runner.capacity,
        "max_use_count": runner.uses,
        "max_instances": runner.max_instances,
        "instance_ready_command": READY_COMMAND,
        "instance_acquire_timeout": f"{READY_SECONDS // 60}m",
        "delete_instances_on_shutdown": True,
        "plugin_config": {"name": runner_class.names.worker_group(runner_class.name)},
        "connector_config": {"username": WORKER_USER, "use_external_addr": False, "timeout": CONNECT_TIMEOUT},
        "policy": [{"idle_count": 0, "idle_time": "10m0s"}],
    }
