"""FargateTasks: where a class's Fargate tasks run: ECS cluster, task definition, execution role, log, and a security group for the manager alone.

The job role and the manager's permissions are `runner_identity`'s. The values are in `documents/machines/tasks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from components.documents.machines import roles, tasks
from config.runners import FargateRunner
from config.tags import class_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.network import Network
    from config.settings import MachineClassSettings

LOG_DAYS = 30
HTTPS = 443


@dataclass(frozen=True, kw_only=True)
class FargateTasksArgs:
    """Inputs of `FargateTasks`."""

    runner_class: MachineClassSettings
    """Settings of the class."""
    network: Network
    """Network of the tasks."""
    manager_security_group_id: pulumi.Input[str]
    """The only security group that reaches a task."""
    needs: Sequence[pulumi.Resource] = ()
    """Roles, routes, the cache: tasks use them until their end."""

    def __post_init__(self) -> None:
        if not isinstance(self.runner_class.runner, FargateRunner):
            raise ValueError(  # noqa: TRY004  # a wrong class of runners, not a wrong type of argument
                f"class {self.runner_class.name} is of executor {self.runner_class.runner.executor}, which has no tasks; "
                "make FargateTasks for executor fargate alone"
            )


class FargateTasks(pulumi.ComponentResource):
    """Where a class's tasks run."""

    parameter: aws.ssm.Parameter
    """Says to the driver where tasks start; the manager starts after it."""

    def __init__(self, name: str, args: FargateTasksArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:FargateTasks", name, None, opts)
        self._name, self._args = name, args
        self._names, self._class = args.runner_class.names, args.runner_class.name
        self._child = pulumi.ResourceOptions(parent=self, depends_on=list(args.needs))
        cluster = aws.ecs.Cluster(
            f"{name}-cluster",
            name=self._names.task_cluster(self._class),  # fixed: the manager's role and its settings name it
            tags=class_tags(self._class),
            opts=self._child,
        )
        definition, security_group = self._definition(), self._security_group()
        self.parameter = aws.ssm.Parameter(
            f"{name}-placement",
            name=self._names.tasks_parameter(self._class),  # fixed: the manager's role and its settings name it
            type="String",
            value=pulumi.Output.all(args.network.machine_subnet_ids, security_group.id, definition.arn).apply(
                lambda values: tasks.placement(*values)
            ),
            tags=class_tags(self._class),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[cluster]),
        )
        self.register_outputs({})

    def _definition(self) -> aws.ecs.TaskDefinition:
        settings, runner = self._args.runner_class, self._args.runner_class.runner
        log_group = aws.cloudwatch.LogGroup(
            f"{self._name}-logs",
            name=self._names.task_logs(self._class),  # fixed: the task definition names it
            retention_in_days=LOG_DAYS,
            tags=class_tags(self._class),
            opts=self._child,
        )
        role = self._execution_role()
        if not isinstance(runner, FargateRunner):
            raise TypeError(f"class {self._class} has no tasks")  # FargateTasksArgs has refused it
        return aws.ecs.TaskDefinition(
            f"{self._name}-definition",
            **tasks.task_definition(settings, runner),
            # Composed, so that a first preview shows both; the roles are among `needs`.
            task_role_arn=self._names.role_arn(settings.platform_account_id, self._names.job_role(self._class)),
            execution_role_arn=self._names.role_arn(settings.platform_account_id, self._names.task_role(self._class)),
            tags=class_tags(self._class),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self._args.needs, log_group, role]),
        )

    def _execution_role(self) -> aws.iam.RolePolicy:
        settings, names = self._args.runner_class, self._names
        role = aws.iam.Role(
            f"{self._name}-execution",
            name=names.task_role(self._class),  # fixed: the manager may pass this role alone
            path=names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(roles.job_trust(settings)),
            permissions_boundary=names.organization_boundary(settings.platform_account_id),
            tags=class_tags(self._class),
            opts=pulumi.ResourceOptions(parent=self),
        )
        ((policy_name, document),) = tasks.execution_permissions(settings).items()
        return aws.iam.RolePolicy(
            f"{self._name}-execution-{policy_name}",
            name=policy_name,
            role=role.name,
            policy=pulumi.Output.json_dumps(document),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _security_group(self) -> aws.ec2.SecurityGroup:
        """Make the security group of tasks: in by SSH from the manager; out to everything but the VPC, and to its endpoints."""
        name, args, names = self._name, self._args, self._names
        ssh = {
            "description": "the class's manager starts jobs by SSH",
            "protocol": "tcp",
            "from_port": tasks.SSH_PORT,
            "to_port": tasks.SSH_PORT,
            "security_groups": [args.manager_security_group_id],
        }
        internet = {
            "description": "jobs reach the internet and nothing in the VPC",
            "protocol": "-1",
            "from_port": 0,
            "to_port": 0,
            "cidr_blocks": args.network.vpc_cidrs.apply(tasks.open_networks),
        }
        endpoints = {
            "description": "interface endpoints of the VPC",
            "protocol": "tcp",
            "from_port": HTTPS,
            "to_port": HTTPS,
            "cidr_blocks": list(args.runner_class.endpoint_cidrs),
        }
        rules: dict[str, Any] = {
            "ingress": [ssh],
            "egress": [internet, endpoints] if args.runner_class.endpoint_cidrs else [internet],
        }
        return aws.ec2.SecurityGroup(
            f"{name}-security-group",
            description=f"tasks of {names.task_cluster(self._class)}",
            vpc_id=args.network.vpc_id,
            **rules,
            tags={"Name": f"{names.task_cluster(self._class)}-tasks", **class_tags(self._class)},
            opts=self._child,
        )
