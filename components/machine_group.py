"""MachineGroup: EC2 instances of one kind in an Auto Scaling group, with their instance profile, launch template and security group.

Nothing connects to a machine: there is no inbound rule (an autoscaled instance admits its manager's SSH), no key pair, and people come in
by Session Manager. The arithmetic and the values are in `documents/machines/launch.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from config.tags import class_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ANYWHERE = "0.0.0.0/0"
SSH_PORT = 22


@dataclass(frozen=True, kw_only=True)
class MachineGroupArgs:
    """Inputs of `MachineGroup`."""

    group: Mapping[str, Any]
    """Parts of the group that settings decide (`launch.manager_group`, `launch.worker_group`)."""
    template: Mapping[str, Any]
    """Parts of the launch template that settings decide (`launch.launch_template`)."""
    mixed_instances: Mapping[str, Any] | None = None
    """Distribution over instance types; None starts the template's own type."""
    role_name: pulumi.Input[str]
    """Role of the machines; the instance profile has the same name."""
    role_path: str
    """IAM path of the role and of its profile: the deployer may make profiles below the platform's paths alone."""
    runner_class: str
    """The class, for tags."""
    vpc_id: pulumi.Input[str]
    """Network of the security group."""
    subnet_ids: pulumi.Input[Sequence[str]]
    """Subnets of the machines."""
    public: bool
    """Whether machines have public addresses."""
    ssh_to: pulumi.Input[str] | None = None
    """Security group of machines whose SSH these machines reach; None opens nothing."""
    tags: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Tags of instances and volumes."""
    delete_seconds: int
    """How long the deletion of the group may take: machines finish their jobs first."""
    ignore_capacity: bool = False
    """Leaves the desired capacity alone, because somebody else sets it."""
    needs: Sequence[pulumi.Resource] = ()
    """Routes, roles, parameters: machines use them until their end."""
    reaches: Callable[[pulumi.Output[str]], Sequence[pulumi.Resource]] | None = None
    """Makes what admits the machines, from their security group: they start after it and end before it."""


class MachineGroup(pulumi.ComponentResource):
    """EC2 instances of one kind."""

    security_group_id: pulumi.Output[str]
    """Security group of the machines."""
    group: aws.autoscaling.Group
    """The Auto Scaling group."""

    def __init__(self, name: str, args: MachineGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:MachineGroup", name, None, opts)
        self._name, self._args = name, args
        security_group, rules = self._security_group()
        self.security_group_id = security_group.id
        template = self._template(security_group)
        reached = args.reaches(security_group.id) if args.reaches is not None else ()
        source = {"id": template.id, "version": template.latest_version.apply(str)}
        if args.mixed_instances is None:
            launch: dict[str, Any] = {"launch_template": source}
        else:
            specification = {"launch_template_id": template.id, "version": source["version"]}
            policy = {
                "instances_distribution": args.mixed_instances["instances_distribution"],
                "launch_template": {
                    "launch_template_specification": specification,
                    "overrides": args.mixed_instances["overrides"],
                },
            }
            launch = {"mixed_instances_policy": policy}
        self.group = aws.autoscaling.Group(
            f"{name}-group",
            **args.group,
            **launch,
            vpc_zone_identifiers=args.subnet_ids,
            tags=[
                {"key": key, "value": value, "propagate_at_launch": False}
                for key, value in {"Name": args.group["name"], **class_tags(args.runner_class)}.items()
            ],
            opts=pulumi.ResourceOptions(
                parent=self,
                # Machines that finish their jobs need their ways out until the end.
                depends_on=[*args.needs, *rules, *reached],
                ignore_changes=["desiredCapacity"] if args.ignore_capacity else None,
                custom_timeouts=pulumi.CustomTimeouts(delete=f"{args.delete_seconds}s"),
            ),
        )
        self.register_outputs({"security_group_id": self.security_group_id})

    def _security_group(self) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        name, args, child = self._name, self._args, pulumi.ResourceOptions(parent=self)
        security_group = aws.ec2.SecurityGroup(
            f"{name}-security-group",
            description=f"machines of {args.group['name']}",
            vpc_id=args.vpc_id,
            tags={"Name": args.group["name"], **class_tags(args.runner_class)},
            opts=child,
        )
        rules: list[pulumi.Resource] = []
        out = aws.vpc.SecurityGroupEgressRule(
            f"{name}-out",
            security_group_id=security_group.id,
            description="jobs and the runner reach the internet; the machine itself closes the VPC to jobs",
            ip_protocol="-1",
            cidr_ipv4=ANYWHERE,
            opts=child,
        )
        rules.append(out)
        if args.ssh_to is not None:
            ssh = aws.vpc.SecurityGroupIngressRule(
                f"{name}-ssh",
                security_group_id=args.ssh_to,
                description="the class's manager starts jobs by SSH",
                ip_protocol="tcp",
                from_port=SSH_PORT,
                to_port=SSH_PORT,
                referenced_security_group_id=security_group.id,
                opts=child,
            )
            rules.append(ssh)
        return security_group, rules

    def _template(self, security_group: aws.ec2.SecurityGroup) -> aws.ec2.LaunchTemplate:
        name, args = self._name, self._args
        profile = aws.iam.InstanceProfile(
            f"{name}-profile",
            name=args.role_name,  # fixed: one profile a role, under its name
            path=args.role_path,
            role=args.role_name,
            tags=class_tags(args.runner_class),
            opts=pulumi.ResourceOptions(parent=self),
        )
        tags = {"Name": args.group["name"], **args.tags}
        return aws.ec2.LaunchTemplate(
            f"{name}-template",
            name=args.group["name"],  # fixed: the group has the same name
            **args.template,
            iam_instance_profile={"name": profile.name},
            network_interfaces=[
                {
                    "device_index": 0,
                    "associate_public_ip_address": "true" if args.public else "false",
                    "delete_on_termination": "true",
                    "security_groups": [security_group.id],
                }
            ],
            tag_specifications=[
                {"resource_type": "instance", "tags": tags},
                {"resource_type": "volume", "tags": tags},
            ],
            tags=class_tags(args.runner_class),
            opts=pulumi.ResourceOptions(parent=self),
        )
