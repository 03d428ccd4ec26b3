"""Permissions of delegated roles and GitLab roles: one document for each capability.

To add a capability: name it in `config/capabilities.py`, write a function here, and add the function to `_DOCUMENTS`.

Every ARN is composed from settings, so that the policy pack sees whole documents in a first preview. A document names the
actions that the deployment tools really send. Where an API has no resource-level permission, the reason stands beside the `*`.
Source: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.documents.boundary import PASSABLE_TO
from components.documents.statements import Document, allow, document
from components.documents.storage import key_by_alias
from config.capabilities import Capability, Level
from config.names import DEPLOY_ROLE_PATH, STATE_KEY_ALIAS, boundary_arn, state_bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.names import Names


@dataclass(frozen=True, kw_only=True)
class Grantee:
    """The level, stack and account that a capability is written for."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the role."""
    level: Level
    """Trust level of the role."""

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a regional resource of the account."""
        organization = self.names.organization
        return f"arn:{organization.partition}:{service}:{organization.region}:{self.account_id}:{resource}"

    def iam(self, resource: str) -> str:
        """Return the ARN of an IAM resource of the account."""
        return f"arn:{self.names.organization.partition}:iam::{self.account_id}:{resource}"


def capability_document(capability: Capability, grantee: Grantee) -> Document:
    """Return the permissions of one capability."""
    return _DOCUMENTS[capability](grantee)


ECS_KINDS = ("cluster", "service", "task", "task-definition", "service-deployment", "service-revision")
ECS_ON_RESOURCES = (
    *("ecs:CreateCluster", "ecs:UpdateCluster", "ecs:DeleteCluster", "ecs:DescribeClusters"),
    *("ecs:PutClusterCapacityProviders", "ecs:CreateService", "ecs:UpdateService", "ecs:DeleteService"),
    *("ecs:DescribeServices", "ecs:RunTask", "ecs:StopTask", "ecs:DescribeTasks", "ecs:TagResource"),
    *("ecs:UntagResource", "ecs:ListTagsForResource"),
    # OpenTofu waits with these for ECS's own deployments, and stops them when it is interrupted.
    *("ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment"),
    "ecs:DescribeServiceRevisions",
)
ECS_WITHOUT_RESOURCES = (
    *("ecs:RegisterTaskDefinition", "ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition"),
    *("ecs:ListTasks", "ecs:ListServices", "ecs:ListTaskDefinitions"),
)
"""Actions without resource-level permission."""
LOG_GROUP_CARE = (
    *("logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy", "logs:DeleteRetentionPolicy"),
    *("logs:TagResource", "logs:UntagResource", "logs:ListTagsForResource"),
    *("logs:GetLogEvents", "logs:FilterLogEvents"),
)
IMAGE_PUSH = (
    *("ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
    *("ecr:PutImage", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:DescribeImages", "ecr:ListImages"),
    *("ecr:DescribeRepositories", "ecr:ListTagsForResource"),
)
ROLE_GRANTS = (
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy"),
)
ROLE_CARE = (
    *("iam:GetRole", "iam:DeleteRole", "iam:UpdateRole", "iam:UpdateRoleDescription", "iam:TagRole", "iam:UntagRole"),
    *("iam:ListRolePolicies", "iam:ListAttachedRolePolicies", "iam:GetRolePolicy", "iam:ListInstanceProfilesForRole"),
    *("iam:CreatePolicy", "iam:DeletePolicy", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListPolicyVersions"),
    *("iam:CreatePolicyVersion", "iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion"),
    *("iam:TagPolicy", "iam:UntagPolicy"),
)
"""Actions on deployments' roles and policies. Not `UpdateAssumeRolePolicy`: the boundary denies it, so a role never changes its trust."""


def _ecs(grantee: Grantee) -> Document:
    """Services, and the roles of their tasks: a deployment makes the roles before it registers a task definition."""
    return document(
        allow("Services", ECS_ON_RESOURCES, [grantee.arn("ecs", f"{kind}/*") for kind in ECS_KINDS]),
        allow("TaskDefinitions", ECS_WITHOUT_RESOURCES, "*"),
        allow("Logs", LOG_GROUP_CARE, grantee.arn("logs", "log-group:/ecs/*")),
        allow("FindLogs", "logs:DescribeLogGroups", "*"),  # a search: AWS evaluates it on all groups
        *_roles(grantee),
        _pass_role(grantee, "ecs-tasks.amazonaws.com"),
        _service_linked_role(grantee, "ecs.amazonaws.com"),
    )


def _ecr_push(grantee: Grantee) -> Document:
    return document(
        allow("Login", "ecr:GetAuthorizationToken", "*"),  # has no resource
        allow("Push", IMAGE_PUSH, grantee.arn("ecr", f"repository/{grantee.names.repository_prefix(grantee.level)}*")),
    )


def _api_gateway(grantee: Grantee) -> Document:
    organization = grantee.names.organization
    verbs = [f"apigateway:{verb}" for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")]
    paths = ("/apis", "/apis/*", "/restapis", "/restapis/*", "/vpclinks", "/vpclinks/*", "/tags/*")
    resources = [f"arn:{organization.partition}:apigateway:{organization.region}::{path}" for path in paths]
    return document(
        allow("Apis", verbs, resources),
        _pass_role(grantee, "apigateway.amazonaws.com"),
        _service_linked_role(grantee, "ops.apigateway.amazonaws.com"),
    )


def _state(grantee: Grantee) -> Document:
    organization = grantee.names.organization
    bucket = f"arn:{organization.partition}:s3:::{state_bucket(organization, grantee.account_id)}"
    prefix = grantee.names.state_prefix(grantee.level)
    # OpenTofu's lock files and all that Pulumi keeps; a deleted object stays as a version.
    locks = [f"{bucket}/{prefix}*.tflock", f"{bucket}/{prefix}*/.pulumi/*"]
    return document(
        allow("List", "s3:ListBucket", bucket, {"StringLike": {"s3:prefix": [f"{prefix}*"]}}),
        allow("State", ("s3:GetObject", "s3:PutObject"), f"{bucket}/{prefix}*"),
        allow("Locks", "s3:DeleteObject", locks),
        key_use(grantee, STATE_KEY_ALIAS),
    )


def _pulumi(grantee: Grantee) -> Document:
    return document(*_roles(grantee), *(_pass_role(grantee, service) for service in PASSABLE_TO))


_DOCUMENTS: dict[Capability, Callable[[Grantee], Document]] = {
    Capability.ECS: _ecs,
    Capability.ECR_PUSH: _ecr_push,
    Capability.API_GATEWAY: _api_gateway,
    Capability.STATE: _state,
    Capability.PULUMI: _pulumi,
}


def _roles(grantee: Grantee) -> list[Document]:
    """Statements for roles and policies below `/deploy/`; only roles with the boundary get permissions."""
    boundary = boundary_arn(grantee.names.organization.partition, grantee.account_id)
    role, policy = grantee.iam(f"role{DEPLOY_ROLE_PATH}*"), grantee.iam(f"policy{DEPLOY_ROLE_PATH}*")
    return [
        allow("RolesWithTheBoundary", ROLE_GRANTS, role, {"StringEquals": {"iam:PermissionsBoundary": boundary}}),
        allow("RolesAndPolicies", ROLE_CARE, [role, policy]),
    ]


def _service_linked_role(grantee: Grantee, service: str) -> Document:
    """Statement for the first use of a service in an account, which creates the service's own role on behalf of the caller."""
    linked = {"StringEquals": {"iam:AWSServiceName": service}}
    return allow(
        "ServiceLinkedRole", "iam:CreateServiceLinkedRole", grantee.iam(f"role/aws-service-role/{service}/*"), linked
    )


def _pass_role(grantee: Grantee, service: str) -> Document:
    name = service.partition(".")[0].replace("-", " ").title().replace(" ", "")
    passed = {"StringEquals": {"iam:PassedToService": service}}
    return allow(f"PassRoleTo{name}", "iam:PassRole", grantee.iam(f"role{DEPLOY_ROLE_PATH}*"), passed)


def key_use(grantee: Grantee, alias: str) -> Document:
    """Statement for reading and writing with a bucket's key, through S3."""
    actions = ("kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey")
    return key_by_alias(grantee.names.organization, grantee.account_id, alias, actions)
