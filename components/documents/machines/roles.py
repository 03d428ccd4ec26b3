"""What the roles of machines may do: the manager's, and that of a class's autoscaled instances.

There is no managed policy of AWS among them: `AmazonSSMManagedInstanceCore` reads every parameter of the account, and with them the
tokens of all classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.documents import trust
from components.documents.machines import tasks
from components.documents.statements import Document, allow, document
from components.documents.trust import assume_roles
from config.capabilities import Level
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner

if TYPE_CHECKING:
    from config.settings import MachineClassSettings

EC2 = "ec2.amazonaws.com"
SESSION_MANAGER = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""What the SSM agent needs for sessions and commands.

Source: https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-add-permissions-to-existing-profile.html
"""
PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def job_trust(runner_class: MachineClassSettings) -> Document:
    """Return the trust of the class's job role: the machines on which jobs run, or the tasks that they are."""
    names, account_id, runner = runner_class.names, runner_class.platform_account_id, runner_class.runner
    organization = names.organization
    if isinstance(runner, FargateRunner):
        return trust.tasks(
            partition=organization.partition,
            account_id=account_id,
            region=organization.region,
        )
    host = names.manager_role if isinstance(runner, DockerRunner) else names.worker_role
    host_role = names.role_arn(account_id, host(runner_class.name))
    return trust.machine(partition=organization.partition, account_id=account_id, role_arn=host_role)


def manager_permissions(runner_class: MachineClassSettings) -> dict[str, Document]:
    """Return the inline policies of a class's manager, by name; the cache's is `components/documents/storage.py`'s."""
    arn = _Arns(runner_class)
    statements = [
        allow("Session", SESSION_MANAGER, "*"),
        allow("Token", "ssm:GetParameter", arn.parameter),
        allow("Logs", ("logs:CreateLogStream", "logs:PutLogEvents"), f"{arn.log_group}:log-stream:*"),
        allow("Login", "ecr:GetAuthorizationToken", "*"),
        allow("Pull", PULL, arn.repositories),
        allow(
            "Drain",
            ("autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"),
            arn.group(runner_class.names.manager_group(runner_class.name)),
        ),
    ]
    policies = {"machine": document(*statements)}
    if isinstance(runner_class.runner, DockerRunner):
        policies["jobs"] = assume_roles([arn.job_role])
    if isinstance(runner_class.runner, AutoscalerRunner):
        policies["workers"] = _fleeting(arn, runner_class.names.worker_group(runner_class.name))
    if isinstance(runner_class.runner, FargateRunner):
        policies["tasks"] = tasks.manager_permissions(runner_class)
    return policies


def worker_permissions(runner_class: MachineClassSettings) -> dict[str, Document]:
    """Return the inline policies of a class's autoscaled instances, by name. The manager gives them the right to pull."""
    arn = _Arns(runner_class)
    return {
        "machine": document(allow("Session", SESSION_MANAGER, "*")),
        "jobs": assume_roles([arn.job_role]),
    }


def _fleeting(arn: _Arns, group: str) -> Document:
    """Permit exactly what the fleeting plugin calls.

    Source: https://gitlab.com/gitlab-org/fleeting/plugins/aws (README, "Recommended IAM policy")
    """
    of_group = {"StringEquals": {"ec2:ResourceTag/aws:autoscaling:groupName": group}}
    return document(
        allow("Read", ("autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances"), "*"),
        allow(
            "Scale",
            ("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"),
            arn.group(group),
        ),
        allow("Connect", "ec2-instance-connect:SendSSHPublicKey", arn.instances, of_group),
    )


class _Arns:
    """ARNs of a class's own resources, composed, so that a first preview shows every document whole."""

    def __init__(self, runner_class: MachineClassSettings) -> None:
        names, account_id, name = runner_class.names, runner_class.platform_account_id, runner_class.name
        organization = names.organization
        self._prefix, self._place = f"arn:{organization.partition}", f"{organization.region}:{account_id}"
        self.parameter = f"{self._prefix}:ssm:{self._place}:parameter{names.token_parameter(name)}"
        self.log_group = f"{self._prefix}:logs:{self._place}:log-group:{names.machine_logs(name)}"
        self.repositories = [
            f"{self._prefix}:ecr:{self._place}:repository/{names.repository_prefix(level)}*" for level in Level
        ]
        self.instances = f"{self._prefix}:ec2:{self._place}:instance/*"
        self.job_role = names.role_arn(account_id, names.job_role(name))

    def group(self, name: str) -> str:
        """Return the ARN of an Auto Scaling group; its id in the ARN is not known beforehand."""
        return f"{self._prefix}:autoscaling:{self._place}:autoScalingGroup:*:autoScalingGroupName/{name}"
