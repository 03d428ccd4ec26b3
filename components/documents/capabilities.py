"""Permission documents, one per capability, and those of the platform's own roles.

Every ARN is composed from settings, so that a first preview shows and judges whole documents. Least privilege: a document
names the actions that the deployment tools really send. Where an API has no resource-level permission the reason stands beside
the `*`. Source: https://docs.aws.amazon.com/service-authorization/latest/reference/
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
    """For whom a capability is written: a level of a stack in an account."""

    names: Names
    account_id: str
    level: Level

    def arn(self, service: str, resource: str) -> str:
        """ARN of a regional resource of the account."""
        organization = self.names.organization
        return f"arn:{organization.partition}:{service}:{organization.region}:{self.account_id}:{resource}"

    def iam(self, resource: str) -> str:
        """ARN of an IAM resource of the account."""
        return f"arn:{self.names.organization.partition}:iam::{self.account_id}:{resource}"


def capability_document(capability: Capability, grantee: Grantee) -> Document:
    """The document of one capability."""
    return _BUILDERS[capability](grantee)


ECS_KINDS = ("cluster", "service", "task", "task-definition", "service-deployment", "service-revision")
ECS_ON_RESOURCES = (
    *("ecs:CreateCluster", "ecs:UpdateCluster", "ecs:DeleteCluster", "ecs:DescribeClusters"),
    *("ecs:PutClusterCapacityProviders", "ecs:CreateService", "ecs:UpdateService", "ecs:DeleteService"),
    *("ecs:DescribeServices", "ecs:RunTask", "ecs:StopTask", "ecs:DescribeTasks", "ecs:TagResource"),
    *("ecs:UntagResource", "ecs:ListTagsForResource"),
    # What OpenTofu waits with, and stops when it is interrupted, since ECS has deployments of its own.
    *("ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment"),
    "ecs:DescribeServiceRevisions",
)
ECS_WITHOUT_RESOURCES = (
    *("ecs:RegisterTaskDefinition", "ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition"),
    *("ecs:ListTasks", "ecs:ListServices", "ecs:ListTaskDefinitions"),
)
"""These have no resource-level permission."""
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
"""`UpdateAssumeRolePolicy` is not among them: the boundary denies it, a role with another trust is another role."""


def _ecs(to: Grantee) -> Document:
    """Services with the roles of their tasks: whoever registers a task definition has to make those first."""
    return document(
        allow("Services", ECS_ON_RESOURCES, [to.arn("ecs", f"{kind}/*") for kind in ECS_KINDS]),
        allow("TaskDefinitions", ECS_WITHOUT_RESOURCES, "*"),
        allow("Logs", LOG_GROUP_CARE, to.arn("logs", "log-group:/ecs/*")),
        allow("FindLogs", "logs:DescribeLogGroups", "*"),  # a search: AWS judges it on all groups
        *_roles(to),
        _pass_role(to, "ecs-tasks.amazonaws.com"),
        _service_linked_role(to, "ecs.amazonaws.com"),
    )


def _ecr_push(to: Grantee) -> Document:
    return document(
        allow("Login", "ecr:GetAuthorizationToken", "*"),  # has no resource
        allow("Push", IMAGE_PUSH, to.arn("ecr", f"repository/{to.names.repository_prefix(to.level)}*")),
    )


def _api_gateway(to: Grantee) -> Document:
    organization = to.names.organization
    verbs = [f"apigateway:{verb}" for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")]
    paths = ("/apis", "/apis/*", "/restapis", "/restapis/*", "/vpclinks", "/vpclinks/*", "/tags/*")
    resources = [f"arn:{organization.partition}:apigateway:{organization.region}::{path}" for path in paths]
    return document(
        allow("Apis", verbs, resources),
        _pass_role(to, "apigateway.amazonaws.com"),
        _service_linked_role(to, "ops.apigateway.amazonaws.com"),
    )


def _state(to: Grantee) -> Document:
    organization = to.names.organization
    bucket = f"arn:{organization.partition}:s3:::{state_bucket(organization, to.account_id)}"
    prefix = to.names.state_prefix(to.level)
    # OpenTofu's lock files and all that Pulumi keeps; a deleted object stays as a version.
    locks = [f"{bucket}/{prefix}*.tflock", f"{bucket}/{prefix}*/.pulumi/*"]
    return document(
        allow("List", "s3:ListBucket", bucket, {"StringLike": {"s3:prefix": [f"{prefix}*"]}}),
        allow("State", ("s3:GetObject", "s3:PutObject"), f"{bucket}/{prefix}*"),
        allow("Locks", "s3:DeleteObject", locks),
        key_use(to, STATE_KEY_ALIAS),
    )


def _pulumi(to: Grantee) -> Document:
    return document(*_roles(to), *(_pass_role(to, service) for service in PASSABLE_TO))


_BUILDERS: dict[Capability, Callable[[Grantee], Document]] = {
    Capability.ECS: _ecs,
    Capability.ECR_PUSH: _ecr_push,
    Capability.API_GATEWAY: _api_gateway,
    Capability.STATE: _state,
    Capability.PULUMI: _pulumi,
}


def _roles(to: Grantee) -> list[Document]:
    """Statements: roles and policies of deployments, below their path, and rights only for roles with the boundary."""
    boundary = boundary_arn(to.names.organization.partition, to.account_id)
    role, policy = to.iam(f"role{DEPLOY_ROLE_PATH}*"), to.iam(f"policy{DEPLOY_ROLE_PATH}*")
    return [
        allow("RolesWithTheBoundary", ROLE_GRANTS, role, {"StringEquals": {"iam:PermissionsBoundary": boundary}}),
        allow("RolesAndPolicies", ROLE_CARE, [role, policy]),
    ]


def _service_linked_role(to: Grantee, service: str) -> Document:
    """Statement: the first use of a service in an account brings its own role into being, on behalf of the caller."""
    linked = {"StringEquals": {"iam:AWSServiceName": service}}
    return allow(
        "ServiceLinkedRole", "iam:CreateServiceLinkedRole", to.iam(f"role/aws-service-role/{service}/*"), linked
    )


def _pass_role(to: Grantee, service: str) -> Document:
    name = service.partition(".")[0].replace("-", " ").title().replace(" ", "")
    passed = {"StringEquals": {"iam:PassedToService": service}}
    return allow(f"PassRoleTo{name}", "iam:PassRole", to.iam(f"role{DEPLOY_ROLE_PATH}*"), passed)


def key_use(to: Grantee, alias: str) -> Document:
    """Statement: read and write with a bucket's key, through S3."""
    actions = ("kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey")
    return key_by_alias(to.names.organization, to.account_id, alias, actions)
