"""How machines start: the launch template and the Auto Scaling group of a class's manager and of its instances.

A manager is a group of one. Its instance is replaced when it ends, and when the template changes; the one that ends finishes its jobs first, as
long as the lifecycle hook hears from it. The instances of an autoscaled class belong to the manager's fleeting plugin: it sets the desired
capacity and ends instances one by one, so that the group itself never takes one away.
Sources: https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html,
https://docs.gitlab.com/runner/executors/docker_autoscaler/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents.machines.user_data import HEARTBEAT, HOOK
from config.quantities import GIBIBYTE
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner
from config.versions import MACHINE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import MachineClassSettings

MANAGER_DISK_GIB = 20
ROOT_DEVICE = "/dev/sda1"
WARM_UP_SECONDS = 300
"""Seconds until a new manager counts as working: packages, image and first contact with GitLab."""
METADATA_OPTIONS = {
    "http_endpoint": "enabled",
    "http_tokens": "required",
    # The answer dies on the way into a container, so that no job reads the machine's role.
    "http_put_response_hop_limit": 1,
    "instance_metadata_tags": "disabled",
}


def manager_type(runner_class: MachineClassSettings) -> str:
    """Return the instance type of the class's manager."""
    runner = runner_class.runner
    return runner.instance if isinstance(runner, DockerRunner) else runner.manager


def disk_gib(runner_class: MachineClassSettings, *, worker: bool) -> int:
    """Return the size of a machine's volume, GiB."""
    runner = runner_class.runner
    if isinstance(runner, FargateRunner) or (isinstance(runner, AutoscalerRunner) and not worker):
        return MANAGER_DISK_GIB
    return runner.disk // GIBIBYTE


def launch_template(
    runner_class: MachineClassSettings, *, instance_type: str, arch: str, disk: int, user_data: str
) -> dict[str, Any]:
    """Return the parts of a launch template that settings decide, by the names of pulumi_aws; role and network are added.

    Args:
        runner_class: settings of the class.
        instance_type: type of the instance; a group may list further ones.
        arch: processor of the image.
        disk: GiB.
        user_data: in base64.
    """
    image = (runner_class.machines.image or MACHINE_IMAGE).replace("{arch}", arch)
    volume = {"volume_size": disk, "volume_type": "gp3", "encrypted": "true", "delete_on_termination": "true"}
    return {
        "image_id": f"resolve:ssm:{image}",
        "instance_type": instance_type,
        "user_data": user_data,
        "update_default_version": True,
        "instance_initiated_shutdown_behavior": "terminate",
        "metadata_options": METADATA_OPTIONS,
        "block_device_mappings": [{"device_name": ROOT_DEVICE, "ebs": volume}],
    }


def manager_group(runner_class: MachineClassSettings) -> dict[str, Any]:
    """Return the parts of a manager's group that settings decide.

    A manager that runs jobs itself overlaps with its successor, so that no job waits. One that starts instances or tasks leaves first: what it
    started belongs to it alone.
    """
    overlaps = isinstance(runner_class.runner, DockerRunner)
    most = {"min_healthy_percentage": 100, "max_healthy_percentage": 200}
    return {
        "name": runner_class.names.manager_group(runner_class.name),
        "min_size": 1,
        "max_size": 2 if overlaps else 1,
        "desired_capacity": 1,
        "health_check_type": "EC2",
        "default_instance_warmup": WARM_UP_SECONDS,
        "initial_lifecycle_hooks": [
            {
                "name": HOOK,
                "lifecycle_transition": "autoscaling:EC2_INSTANCE_TERMINATING",
                "heartbeat_timeout": HEARTBEAT,
                "default_result": "CONTINUE",
            }
        ],
        "instance_refresh": {
            "strategy": "Rolling",
            "preferences": most if overlaps else {"min_healthy_percentage": 0, "max_healthy_percentage": 100},
        },
    }


def worker_group(runner_class: MachineClassSettings, runner: AutoscalerRunner) -> dict[str, Any]:
    """Return the parts of the group of a class's instances that settings decide."""
    return {
        "name": runner_class.names.worker_group(runner_class.name),
        "min_size": 0,
        "max_size": runner.max_instances,
        "desired_capacity": 0,
        "health_check_type": "EC2",
        "protect_from_scale_in": True,
        # Rebalancing would end instances with jobs; the plugin then waits for instances that never come.
        "suspended_processes": ["AZRebalance"],
        "capacity_rebalance": False,
        "wait_for_capacity_timeout": "0",
    }


def mixed_instances(types: Sequence[str], *, spot: bool) -> dict[str, Any]:
    """Return the distribution of an autoscaled class over instance types; the launch template is added."""
    strategy = (
        {"spot_allocation_strategy": "price-capacity-optimized"}
        if spot
        else {"on_demand_allocation_strategy": "prioritized"}
    )
    return {
        "instances_distribution": {
            "on_demand_base_capacity": 0,
            "on_demand_percentage_above_base_capacity": 0 if spot else 100,
            **strategy,
        },
        "overrides": [{"instance_type": name} for name in types],
    }
