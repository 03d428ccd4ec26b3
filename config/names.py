"""All physical names of the platform.

IAM names are unique per account whatever their path, and so are ECR repositories, cluster names and a group's runner tags.
So every name ends with the stack's, except names of the stack `prod`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.capabilities import Level
from config.partitions import partition_domain

if TYPE_CHECKING:
    from config.sections import Organization

PLATFORM_ROLE_PATH = "/cicd-platform/"
"""Path of the foundation's own roles and policies."""
DEPLOY_ROLE_PATH = "/deploy/"
"""Path of roles and policies that deployments create."""
DEPLOYER_ROLE = "platform-deployer"
READER_ROLE = "platform-reader"
BOUNDARY_POLICY = "delegated-boundary"
STATE_KEY_ALIAS = "alias/cicd-platform/state"
MANAGER_SERVICE_ACCOUNT = "manager"
JOB_SERVICE_ACCOUNT = "job"
AWS_CONFIG_MAP = "aws-config"
IDENTITY_VOLUME = "runner-platform-aws"
IDENTITY_FOLDER = "/etc/runner-platform/aws"
MANAGERS_POOL = "managers"

LIMITS = {
    "role": 64,
    "policy": 128,
    "bucket": 63,
    "cluster": 100,
    "alias": 256,
    "repository": 256,
    "release": 53,
    "namespace": 63,
}
"""Longest name per kind, in characters. Sources: the API references of IAM, S3, EKS, KMS, ECR; Helm; RFC 1123."""


def state_bucket(organization: Organization, account_id: str) -> str:
    """Return the name of an account's state bucket; all stacks share it."""
    return f"{organization.id}-state-{account_id}-{organization.region}"


def namespace_manager(runner_class: str) -> str:
    """Return the namespace of a class's manager."""
    return f"runner-{runner_class}"


def namespace_jobs(runner_class: str) -> str:
    """Return the namespace of a class's job pods."""
    return f"jobs-{runner_class}"


def helm_release(runner_class: str) -> str:
    """Return the name of a class's Helm release, and of the objects in it."""
    return f"gitlab-runner-{runner_class}"


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of one stack of the platform."""

    organization: Organization
    """Id, region and partition."""
    stack: str
    """The stack's name."""
    organization_policy: str | None = None
    """The permissions boundary that the organisation demands (`platform.boundary`)."""

    @property
    def suffix(self) -> str:
        """`-<stack>`, empty for prod."""
        return "" if self.stack == "prod" else f"-{self.stack}"

    @property
    def prefix(self) -> str:
        """`<stack>/`, empty for prod; leads repositories and state keys."""
        return "" if self.stack == "prod" else f"{self.stack}/"

    @property
    def role_path(self) -> str:
        """IAM path of the stack's roles and policies."""
        return f"/cicd{self.suffix}/"

    @property
    def cluster(self) -> str:
        """Name of the EKS cluster."""
        return f"runner-platform{self.suffix}"

    def key_alias(self, use: str) -> str:
        """Return the alias of the stack's KMS key for a use, such as `cluster`."""
        return f"alias/cicd{self.suffix}/{use}"

    def cache_bucket(self, account_id: str) -> str:
        """Return the name of the job cache's bucket."""
        return f"{self.organization.id}-cache-{account_id}-{self.organization.region}{self.suffix}"

    def delegated_role(self, level: Level) -> str:
        """Return the name of the role that a level's jobs assume in a target account."""
        return f"delegated-role{self.suffix}" if level is Level.PROTECTED else f"delegated-role-open{self.suffix}"

    def job_role(self, runner_class: str) -> str:
        """Return the name of the role of a class's job pods."""
        return f"runner-{runner_class}{self.suffix}"

    def manager_role(self, runner_class: str) -> str:
        """Return the name of the role of a class's manager."""
        return f"runner-manager-{runner_class}{self.suffix}"

    def worker_role(self, runner_class: str) -> str:
        """Return the name of the role of a class's autoscaled instances."""
        return f"runner-worker-{runner_class}{self.suffix}"

    def manager_group(self, runner_class: str) -> str:
        """Return the name of the Auto Scaling group of a class's manager on EC2."""
        return f"runner-{runner_class}{self.suffix}"

    def worker_group(self, runner_class: str) -> str:
        """Return the name of the Auto Scaling group of a class's instances."""
        return f"runner-{runner_class}-workers{self.suffix}"

    def task_cluster(self, runner_class: str) -> str:
        """Return the name of the ECS cluster of a class's tasks."""
        return f"runner-{runner_class}{self.suffix}"

    def task_role(self, runner_class: str) -> str:
        """Return the name of the role with which ECS starts a class's tasks: it pulls the image and writes the log."""
        return f"runner-task-{runner_class}{self.suffix}"

    def tasks_parameter(self, runner_class: str) -> str:
        """Return the name of the parameter that says where a class's tasks start."""
        return f"{self.role_path}runner-{runner_class}/tasks"

    def task_logs(self, runner_class: str) -> str:
        """Return the name of the log group of a class's tasks."""
        return f"{self.machine_logs(runner_class)}/tasks"

    def token_parameter(self, runner_class: str) -> str:
        """Return the name of the parameter that holds a class's runner authentication token."""
        return f"{self.role_path}runner-{runner_class}/token"

    def machine_logs(self, runner_class: str) -> str:
        """Return the name of the log group of a class's manager on EC2."""
        return f"/runner-platform{self.suffix}/{runner_class}"

    def gitlab_role(self, name: str) -> str:
        """Return the name of a role that GitLab's ID tokens assume."""
        return f"gitlab-{name}{self.suffix}"

    def cluster_role(self) -> str:
        """Return the name of the EKS control plane's role."""
        return f"runner-platform-cluster{self.suffix}"

    def node_role(self) -> str:
        """Return the name of the nodes' role."""
        return f"runner-platform-node{self.suffix}"

    def flow_log_role(self) -> str:
        """Return the name of the role that writes the network's flow logs."""
        return f"runner-platform-flow-log{self.suffix}"

    def alarms_role(self) -> str:
        """Return the name of the CloudWatch agent's role."""
        return f"runner-platform-alarms{self.suffix}"

    def tag(self, runner_class: str) -> str:
        """Return the default GitLab tag of a class."""
        return f"{runner_class}{self.suffix}"

    def repository_prefix(self, level: Level) -> str:
        """Return the prefix of the ECR repositories that a level may push to."""
        return f"{self.prefix}{level.value}/"

    def runner_image(self) -> str:
        """Return the name of the runner image's repository."""
        return f"{self.repository_prefix(Level.PROTECTED)}runner"

    def registry_host(self, account_id: str) -> str:
        """Return the host of an account's container registry."""
        organization = self.organization
        return f"{account_id}.dkr.ecr.{organization.region}.{partition_domain(organization.partition)}"

    def state_prefix(self, level: Level) -> str:
        """Return the prefix of the state keys that a level may read and write."""
        return f"{self.prefix}{level.value}/"

    def role_arn(self, account_id: str, name: str) -> str:
        """Return the ARN of a role of the stack."""
        return role_arn(self.organization.partition, account_id, self.role_path, name)

    def boundary_arn(self, account_id: str) -> str:
        """Return the ARN of the boundary of an account's delegated roles and GitLab roles."""
        return boundary_arn(self.organization.partition, account_id)

    def organization_boundary(self, account_id: str) -> str | None:
        """Return the ARN of the boundary of the stack's further roles in an account: the organisation's, if it demands one."""
        return organization_boundary(self.organization.partition, account_id, self.organization_policy)


def role_arn(partition: str, account_id: str, path: str, name: str) -> str:
    """Return the ARN of a role: `arn:<partition>:iam::<account>:role<path><name>`."""
    return f"arn:{partition}:iam::{account_id}:role{path}{name}"


def boundary_arn(partition: str, account_id: str) -> str:
    """Return the ARN of the permissions boundary that the foundation keeps in an account."""
    return f"arn:{partition}:iam::{account_id}:policy{PLATFORM_ROLE_PATH}{BOUNDARY_POLICY}"


def organization_boundary(partition: str, account_id: str, policy: str | None) -> str | None:
    """Return the ARN of the organisation's boundary in an account.

    Args:
        partition: the organisation's.
        account_id: account of the role.
        policy: name or ARN of a managed policy (`platform.boundary`); None if the organisation demands none.
    """
    if policy is None or ":iam::aws:" in policy:
        return policy
    return f"arn:{partition}:iam::{account_id}:policy/{policy.partition(':policy/')[2] or policy}"


def length_problem(kind: str, name: str) -> str | None:
    """Return a message if a name is too long, else None; `kind` is a key of `LIMITS`."""
    limit = LIMITS[kind]
    if len(name) <= limit:
        return None
    return f"makes the {kind} name {name!r} of {len(name)} characters; the limit is {limit}: shorten it"
