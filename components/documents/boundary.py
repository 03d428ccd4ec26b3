"""The permissions boundary: the most that a delegated role, or a role that a deployment creates, can ever do.

One per account for all stacks, kept by the foundation. It grants nothing by itself. It lets deployments create roles only
under `/deploy/` and only with this same boundary, and it closes everything that could reach back to the platform.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.documents import statements
from components.documents.statements import Document, document
from config.names import DEPLOY_ROLE_PATH, boundary_arn

if TYPE_CHECKING:
    from config.sections import Organization

PASSABLE_TO = ("apigateway.amazonaws.com", "ecs-tasks.amazonaws.com")
"""Services that a deployment may hand a role to."""
SERVICE_LINKED_FOR = ("ecs.amazonaws.com", "elasticloadbalancing.amazonaws.com", "ops.apigateway.amazonaws.com")
"""Services whose service-linked role a deployment may bring into being."""

CLOSED_SERVICES = (
    *("iam:*", "sts:*", "organizations:*", "account:*", "sso:*", "identitystore:*", "controltower:*", "cloudtrail:*"),
)
"""What decides who may do what; opened piece by piece below."""
ROLE_GRANTS = (
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy"),
    "iam:PutRolePermissionsBoundary",
)
"""What gives a role rights: only for roles that carry the boundary."""
ROLE_CARE = (
    *("iam:DeleteRole", "iam:UpdateRole", "iam:UpdateRoleDescription", "iam:TagRole", "iam:UntagRole"),
    *("iam:CreatePolicy", "iam:DeletePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicyVersion"),
    *("iam:SetDefaultPolicyVersion", "iam:TagPolicy", "iam:UntagPolicy"),
)
"""What a deployment does with its own roles and policies besides."""
OUT_OF_REACH = (
    *("role/cicd*/*", "policy/cicd*/*", "oidc-provider/*", "saml-provider/*"),
    *("role/OrganizationAccountAccessRole", "role/AWSControlTowerExecution"),
    *("role/aws-controltower-*", "role/stacksets-exec-*", "role/aws-reserved/*"),
)
"""The platform's own, the organisation's, and whatever decides who may come in."""
WAYS_OUT = (
    *("iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary", "iam:UpdateAssumeRolePolicy"),
    *("iam:CreateUser", "iam:CreateAccessKey", "iam:CreateLoginProfile"),
    *("iam:CreateOpenIDConnectProvider", "iam:CreateSAMLProvider"),
)
BUCKET_SETTINGS = (
    *("s3:DeleteBucket*", "s3:PutBucket*", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"),
    "s3:DeleteObjectVersion",
)
"""Everything about a bucket but its objects; versions of objects too."""
KEY_SETTINGS = (
    *("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:CreateGrant"),
    *("kms:DeleteAlias", "kms:UpdateAlias"),
)


@dataclass(frozen=True, kw_only=True)
class BoundaryAccount:
    """The account that a boundary is written for."""

    organization: Organization
    account_id: str

    @property
    def arn(self) -> str:
        """The boundary's own ARN."""
        return boundary_arn(self.organization.partition, self.account_id)

    def iam(self, resource: str) -> str:
        """ARN of an IAM resource of the account, such as `role/deploy/*`."""
        return f"arn:{self.organization.partition}:iam::{self.account_id}:{resource}"


def boundary(of: BoundaryAccount) -> Document:
    """The whole document; at most 6,144 characters, IAM's limit for a managed policy."""
    return document(*_allowed(of), *_denied(of))


def _allowed(of: BoundaryAccount) -> list[Document]:
    deploy_role, deploy_policy = of.iam(f"role{DEPLOY_ROLE_PATH}*"), of.iam(f"policy{DEPLOY_ROLE_PATH}*")
    this_boundary = {"StringEquals": {"iam:PermissionsBoundary": of.arn}}
    passable = {"StringEquals": {"iam:PassedToService": list(PASSABLE_TO)}}
    linked = {"StringEquals": {"iam:AWSServiceName": list(SERVICE_LINKED_FOR)}}
    return [
        statements.allow_all_but("Services", CLOSED_SERVICES, "*"),
        statements.allow("Look", ("iam:Get*", "iam:List*", "sts:GetCallerIdentity"), "*"),
        statements.allow("RolesWithThisBoundary", ROLE_GRANTS, deploy_role, this_boundary),
        statements.allow("RolesAndPoliciesOfDeployments", ROLE_CARE, [deploy_role, deploy_policy]),
        statements.allow("PassOwnRoles", "iam:PassRole", deploy_role, passable),
        statements.allow(
            "ServiceLinkedRoles", "iam:CreateServiceLinkedRole", of.iam("role/aws-service-role/*"), linked
        ),
    ]


def _denied(of: BoundaryAccount) -> list[Document]:
    bucket = f"arn:{of.organization.partition}:s3:::{of.organization.id}"
    other_boundary = {"StringNotEquals": {"iam:PermissionsBoundary": of.arn}}
    own_keys = {"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/cicd*"}}
    new_roles = ("iam:CreateRole", "iam:PutRolePermissionsBoundary")
    return [
        statements.deny_all_but("ThePlatformsOwn", ("iam:Get*", "iam:List*"), [of.iam(each) for each in OUT_OF_REACH]),
        statements.deny("NoWayOut", WAYS_OUT, "*"),
        statements.deny("NoRoleWithoutThisBoundary", new_roles, "*", other_boundary),
        statements.deny("BucketsOfThePlatform", BUCKET_SETTINGS, [f"{bucket}-state-*", f"{bucket}-cache-*"]),
        statements.deny("KeysOfThePlatform", KEY_SETTINGS, "*", own_keys),
        statements.deny("TheTrail", "cloudtrail:*", "*"),
    ]
