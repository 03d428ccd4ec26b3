"""Fargate tasks of a class: the task definition, the roles' permissions, the network, and the settings of the manager's driver.

A task is one job. Its container has one user without capabilities, no other container beside it and no shell for anybody but the manager. Its root
file system is not read-only: the user can write only the folders that the image gives it, and the task ends with its job.
Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

from components.documents.config_toml import runner_image
from components.documents.disruption import MINUTE, disruption
from components.documents.job_identity import job_environment
from components.documents.statements import Document, allow, document
from config.names import IDENTITY_FOLDER
from config.quantities import GIBIBYTE, MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.runners import FargateRunner
    from config.settings import MachineClassSettings

CONTAINER = "job"
SSH_PORT = 2222
"""The container's user has no capability to listen below 1024."""
JOB_USER_NAME = "runner"
STATE_FOLDER = "/var/lib/runner-platform"
DRIVER = "/usr/local/lib/runner-platform/fargate.py"
ENTRY_POINT = "/usr/local/lib/runner-platform/task.py"
BUILDS_FOLDER = "/builds"
CACHE_FOLDER = f"{BUILDS_FOLDER}/.cache"
START_SECONDS = 10 * MINUTE
"""How long the manager waits for a task: capacity, network interface, image, SSH."""
SLACK_SECONDS = 10 * MINUTE
STOP_SECONDS = 10
"""Seconds from the first signal to the end of a task: what it runs is over by then."""
DISK_OF_EVERY_TASK = 20 * GIBIBYTE


def task_image(runner_class: MachineClassSettings) -> str:
    """Return the image of a class's tasks: the runner image with an SSH server and the runner's helper."""
    return f"{runner_image(runner_class.names, runner_class.platform_account_id)}-fargate"


def task_definition(runner_class: MachineClassSettings, runner: FargateRunner) -> dict[str, Any]:
    """Return the parts of the task definition that settings decide, by the names of pulumi_aws; the roles are added."""
    return {
        "family": runner_class.names.task_cluster(runner_class.name),
        "requires_compatibilities": ["FARGATE"],
        "network_mode": "awsvpc",
        "cpu": str(runner.cpu * 1024 // 1000),
        "memory": str(runner.memory // MEBIBYTE),
        "ephemeral_storage": {"size_in_gib": runner.disk // GIBIBYTE} if runner.disk > DISK_OF_EVERY_TASK else None,
        "runtime_platform": {
            "operating_system_family": "LINUX",
            "cpu_architecture": "X86_64",
        },
        "container_definitions": json.dumps([container(runner_class)]),
    }


def container(runner_class: MachineClassSettings) -> dict[str, Any]:
    """Return the container of a task, as the API of ECS writes it."""
    names, name = runner_class.names, runner_class.name
    variables = {
        **job_environment(),
        "TASK_PORT": str(SSH_PORT),
        "TASK_SECONDS": str(task_seconds(runner_class)),
    }
    return {
        "name": CONTAINER,
        "image": task_image(runner_class),
        "essential": True,
        "user": JOB_USER_NAME,
        "entryPoint": ["/usr/bin/python3", "-I", ENTRY_POINT],
        "environment": [{"name": key, "value": value} for key, value in sorted(variables.items())],
        "portMappings": [{"containerPort": SSH_PORT, "hostPort": SSH_PORT, "protocol": "tcp"}],
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "stopTimeout": STOP_SECONDS,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": names.task_logs(name),
                "awslogs-region": names.organization.region,
                "awslogs-stream-prefix": "task",
            },
        },
    }


def task_seconds(runner_class: MachineClassSettings) -> int:
    """Return the seconds after which a task ends by itself: later than GitLab ends its job."""
    return disruption(runner_class.runner.longest_job).gitlab_timeout + START_SECONDS + SLACK_SECONDS


def execution_permissions(runner_class: MachineClassSettings) -> dict[str, Document]:
    """Return the inline policies of the role with which ECS starts a task, by name: pull the one image, write the one log."""
    names, account_id = runner_class.names, runner_class.platform_account_id
    place = f"{names.organization.region}:{account_id}"
    prefix = f"arn:{names.organization.partition}"
    repository = f"{prefix}:ecr:{place}:repository/{names.runner_image()}"
    streams = f"{prefix}:logs:{place}:log-group:{names.task_logs(runner_class.name)}:log-stream:*"
    pull = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    return {
        "start": document(
            allow("Login", "ecr:GetAuthorizationToken", "*"),
            allow("Pull", pull, repository),
            allow("Logs", ("logs:CreateLogStream", "logs:PutLogEvents"), streams),
        )
    }


def manager_permissions(runner_class: MachineClassSettings) -> Document:
    """Permit the manager exactly what its driver calls.

    Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
    """
    names, account_id, name = runner_class.names, runner_class.platform_account_id, runner_class.name
    prefix, place = f"arn:{names.organization.partition}", f"{names.organization.region}:{account_id}"
    cluster = names.task_cluster(name)
    in_cluster = {"ArnEquals": {"ecs:cluster": f"{prefix}:ecs:{place}:cluster/{cluster}"}}
    task_arns = f"{prefix}:ecs:{place}:task/{cluster}/*"
    return document(
        allow("Start", "ecs:RunTask", f"{prefix}:ecs:{place}:task-definition/{cluster}:*", in_cluster),
        allow("Find", "ecs:ListTasks", "*", in_cluster),
        allow("Watch", ("ecs:DescribeTasks", "ecs:StopTask"), task_arns, in_cluster),
        allow("Tag", "ecs:TagResource", task_arns, {"StringEquals": {"ecs:CreateAction": "RunTask"}}),
        allow("Place", "ssm:GetParameter", f"{prefix}:ssm:{place}:parameter{names.tasks_parameter(name)}"),
        allow(
            "Pass",
            "iam:PassRole",
            [names.role_arn(account_id, names.job_role(name)), names.role_arn(account_id, names.task_role(name))],
            {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
    )


def driver_settings(runner_class: MachineClassSettings) -> dict[str, Any]:
    """Return the settings of the manager's driver (`machine/fargate.py`). What AWS decides is in a parameter (`placement`)."""
    names, name = runner_class.names, runner_class.name
    return {
        "class": name,
        "region": names.organization.region,
        "cluster": names.task_cluster(name),
        "container": CONTAINER,
        "parameter": names.tasks_parameter(name),
        "images": [task_image(runner_class), runner_image(names, runner_class.platform_account_id)],
        "port": SSH_PORT,
        "user": JOB_USER_NAME,
        "public": runner_class.public,
        "builds_dir": BUILDS_FOLDER,
        "cache_dir": CACHE_FOLDER,
        "identity_folder": IDENTITY_FOLDER,
        "state_folder": STATE_FOLDER,
        "start_seconds": START_SECONDS,
    }


def placement(subnet_ids: Sequence[str], security_group_id: str, definition_arn: str) -> str:
    """Return the text of the parameter that tells the driver where tasks start."""
    values = {"subnets": list(subnet_ids), "security_group": security_group_id, "task_definition": definition_arn}
    return json.dumps(values)


def open_networks(vpc_cidrs: Sequence[str]) -> list[str]:
    """Return the IPv4 networks that a task may reach: all but the VPC. DNS of the VPC is no matter of security groups.

    Source: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html
    """
    networks = [ipaddress.IPv4Network("0.0.0.0/0")]
    for closed in map(ipaddress.IPv4Network, vpc_cidrs):
        networks = [
            part
            for network in networks
            for part in (network.address_exclude(closed) if closed.subnet_of(network) else [network])
        ]
    return [str(network) for network in sorted(ipaddress.collapse_addresses(networks))]
