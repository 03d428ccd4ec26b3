"""MachineRunner: a runner class on EC2, from the token's parameter to the groups of its machines.

Leaves out the roles of manager and jobs (`runner_identity`) and the runner in GitLab (`runner_object`), which stay the same when a class
changes its executor. An autoscaled class has a role and a group more, for the instances of its jobs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from components.documents import trust
from components.documents.disruption import disruption
from components.documents.machines import launch, roles, user_data
from components.fargate_tasks import FargateTasks, FargateTasksArgs
from components.machine_group import MachineGroup, MachineGroupArgs
from config.runners import AutoscalerRunner, FargateRunner, arch_of
from config.tags import class_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.network import Network
    from config.settings import MachineClassSettings

LOG_DAYS = 30
TOKEN_TAG = "platform:token"  # noqa: S105  # the name of a tag
"""Tag of a manager's instance with the hash of the token's generation: a new token makes a new template, and so a new machine."""


@dataclass(frozen=True, kw_only=True)
class MachineRunnerArgs:
    """Inputs of `MachineRunner`."""

    runner_class: MachineClassSettings
    """Settings of the class."""
    token: pulumi.Input[str]
    """Runner authentication token; secret."""
    network: Network
    """Network of the machines."""
    tags: Mapping[str, str]
    """Tags of everything in the stack, for instances and volumes."""
    needs: Sequence[pulumi.Resource] = ()
    """Roles, the runner in GitLab, the cache: jobs use them until their end, so they outlive the machines."""
    after: Sequence[pulumi.Resource] = ()
    """Managers of earlier classes: they roll one class at a time."""


class MachineRunner(pulumi.ComponentResource):
    """A runner class on EC2."""

    manager: aws.autoscaling.Group
    """Group of the class's manager, for resources that wait until the manager has rolled."""

    def __init__(self, name: str, args: MachineRunnerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:MachineRunner", name, None, opts)
        self._name, self._args = name, args
        self._names, self._class = args.runner_class.names, args.runner_class
        needs = [*args.needs, *args.network.routes, self._parameter(), self._log_group()]
        # The manager depends on the workers' group: at the end it finishes its jobs before the workers go.
        runner = args.runner_class.runner
        workers = self._workers(runner, needs) if isinstance(runner, AutoscalerRunner) else None
        self.manager = self._manager(workers, [*needs, *args.after]).group
        self.register_outputs({})

    def _parameter(self) -> aws.ssm.Parameter:
        return aws.ssm.Parameter(
            f"{self._name}-token",
            name=self._names.token_parameter(self._class.name),  # fixed: the manager's role and its user data name it
            type="SecureString",
            value=self._args.token,
            tags=class_tags(self._class.name),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _log_group(self) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            f"{self._name}-logs",
            name=self._names.machine_logs(self._class.name),  # fixed: the manager's role and its user data name it
            retention_in_days=LOG_DAYS,
            tags=class_tags(self._class.name),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _manager(self, workers: MachineGroup | None, needs: Sequence[pulumi.Resource]) -> MachineGroup:
        generation = pulumi.Output.unsecret(
            pulumi.Output.from_input(self._args.token).apply(lambda token: hashlib.sha256(token.encode()).hexdigest())
        )
        return self._machines(
            "manager",
            role=self._names.manager_role(self._class.name),
            group=launch.manager_group(self._class),
            instance_type=launch.manager_type(self._class),
            user_data=user_data.manager_user_data(self._class),
            tags={TOKEN_TAG: generation},
            ssh_to=workers.security_group_id if workers else None,
            needs=[*needs, workers.group] if workers else needs,
            reaches=self._tasks if isinstance(self._class.runner, FargateRunner) else None,
        )

    def _tasks(self, manager_security_group_id: pulumi.Output[str]) -> Sequence[pulumi.Resource]:
        args = FargateTasksArgs(
            runner_class=self._class,
            network=self._args.network,
            manager_security_group_id=manager_security_group_id,
            needs=[*self._args.needs, *self._args.network.routes],
        )
        return [FargateTasks(f"{self._name}-tasks", args, pulumi.ResourceOptions(parent=self)).parameter]

    def _workers(self, runner: AutoscalerRunner, needs: Sequence[pulumi.Resource]) -> MachineGroup:
        role, policies = self._worker_role()
        return self._machines(
            "workers",
            role=role.name,
            group=launch.worker_group(self._class, runner),
            instance_type=runner.instances.types[0],
            user_data=user_data.worker_user_data(self._class),
            mixed_instances=launch.mixed_instances(runner.instances.types, spot=runner.spot),
            ignore_capacity=True,
            needs=[*needs, *policies],
        )

    def _machines(
        self,
        kind: str,
        *,
        role: pulumi.Input[str],
        instance_type: str,
        user_data: str,
        tags: Mapping[str, pulumi.Input[str]] | None = None,
        **more: Any,
    ) -> MachineGroup:
        args, settings = self._args, self._class
        template = launch.launch_template(
            settings,
            instance_type=instance_type,
            arch=arch_of(instance_type),
            disk=launch.disk_gib(settings, worker=kind == "workers"),
            user_data=user_data,
        )
        return MachineGroup(
            f"{self._name}-{kind}",
            MachineGroupArgs(
                template=template,
                role_name=role,
                role_path=self._names.role_path,
                runner_class=settings.name,
                vpc_id=args.network.vpc_id,
                subnet_ids=args.network.machine_subnet_ids,
                public=settings.public,
                tags={**args.tags, **class_tags(settings.name), **(tags or {})},
                delete_seconds=disruption(settings.runner.longest_job).delete_timeout,
                **more,
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _worker_role(self) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
        settings, names = self._class, self._names
        role = aws.iam.Role(
            f"{self._name}-worker",
            name=names.worker_role(settings.name),  # fixed: the job role's trust names it
            path=names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(trust.service(roles.EC2)),
            permissions_boundary=names.organization_boundary(settings.platform_account_id),
            tags=class_tags(settings.name),
            opts=pulumi.ResourceOptions(parent=self),
        )
        policies: list[pulumi.Resource] = [
            aws.iam.RolePolicy(
                f"{self._name}-worker-{policy_name}",
                name=policy_name,
                role=role.name,
                policy=pulumi.Output.json_dumps(document),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for policy_name, document in roles.worker_permissions(settings).items()
        ]
        return role, policies
