"""The permissions boundary: the ceiling of every delegated role, and of every role that a deployment creates.

One per account for all stacks, kept by the foundation. It grants nothing by itself. It lets deployments create roles only
below `/deploy/` and only with the same boundary, and it denies everything that could reach back to the platform.
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
"""Services whose service-linked role a deployment may create."""

CLOSED_SERVICES = (
    *("iam:*", "sts:*", "organizations:*", "account:*", "sso:*", "identitystore:*", "controltower:*", "cloudtrail:*"),
)
"""Services that decide about access; `_allowed` opens single actions of them."""
ROLE_GRANTS = (
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy"),
    "iam:PutRolePermissionsBoundary",
)
"""Actions that give permissions to a role; allowed for roles with the boundary only."""
ROLE_CARE = (
    *("iam:DeleteRole", "iam:UpdateRole", "iam:UpdateRoleDescription", "iam:TagRole", "iam:UntagRole"),
    *("iam:CreatePolicy", "iam:DeletePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicyVersion"),
    *("iam:SetDefaultPolicyVersion", "iam:TagPolicy", "iam:UntagPolicy"),
)
"""Further actions of a deployment on its own roles and policies."""
OUT_OF_REACH = (
    *("role/cicd*/*", "policy/cicd*/*", "oidc-provider/*", "saml-provider/*"),
    *("role/OrganizationAccountAccessRole", "role/AWSControlTowerExecution"),
    *("role/aws-controltower-*", "role/stacksets-exec-*", "role/aws-reserved/*"),
)
"""Roles and policies of the platform and the organisation, and all identity providers."""
ESCAPES = (
    *("iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary", "iam:UpdateAssumeRolePolicy"),
    *("iam:CreateUser", "iam:CreateAccessKey", "iam:CreateLoginProfile"),
    *("iam:CreateOpenIDConnectProvider", "iam:CreateSAMLProvider"),
)
"""Actions that would leave the boundary: drop it, change a trust, or create a principal without it."""
BUCKET_SETTINGS = (
    *("s3:DeleteBucket*", "s3:PutBucket*", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"),
    "s3:DeleteObjectVersion",
)
"""Actions on a bucket itself, and on versions of its objects."""
KEY_SETTINGS = (
    *("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:CreateGrant"),
    *("kms:DeleteAlias", "kms:UpdateAlias"),
)
"""Actions on a key itself."""


@dataclass(frozen=True, kw_only=True)
class BoundaryAccount:
    """The account that a boundary is written for."""

    organization: Organization
    """Partition and id."""
    account_id: str
    """Twelve digits."""

    @property
    def arn(self) -> str:
        """ARN of the boundary."""
        return boundary_arn(self.organization.partition, self.account_id)

    def iam(self, resource: str) -> str:
        """Return the ARN of an IAM resource of the account, such as `role/deploy/*`."""
        return f"arn:{self.organization.partition}:iam::{self.account_id}:{resource}"


def boundary(account: BoundaryAccount) -> Document:
    """Return the whole document; at most 6,144 characters, IAM's limit for a managed policy."""
    return document(*_allowed(account), *_denied(account))


def _allowed(account: BoundaryAccount) -> list[Document]:
    deploy_role, deploy_policy = account.iam(f"role{DEPLOY_ROLE_PATH}*"), account.iam(f"policy{DEPLOY_ROLE_PATH}*")
    this_boundary = {"StringEquals": {"iam:PermissionsBoundary": account.arn}}
    passable = {"StringEquals": {"iam:PassedToService": list(PASSABLE_TO)}}
    linked = {"StringEquals": {"iam:AWSServiceName": list(SERVICE_LINKED_FOR)}}
    return [
        statements.allow_all_but("Services", CLOSED_SERVICES, "*"),
        statements.allow("Look", ("iam:Get*", "iam:List*", "sts:GetCallerIdentity"), "*"),
        statements.allow("RolesWithThisBoundary", ROLE_GRANTS, deploy_role, this_boundary),
        statements.allow("RolesAndPoliciesOfDeployments", ROLE_CARE, [deploy_role, deploy_policy]),
        statements.allow("PassOwnRoles", "iam:PassRole", deploy_role, passable),
        statements.allow(
            "ServiceLinkedRoles", "iam:CreateServiceLinkedRole", account.iam("role/aws-service-role/*"), linked
        ),
    ]


def _denied(account: BoundaryAccount) -> list[Document]:
    bucket = f"arn:{account.organization.partition}:s3:::{account.organization.id}"
    other_boundary = {"StringNotEquals": {"iam:PermissionsBoundary": account.arn}}
    own_keys = {"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/cicd*"}}
    new_roles = ("iam:CreateRole", "iam:PutRolePermissionsBoundary")
    return [
        statements.deny_all_but(
            "ThePlatformsOwn", ("iam:Get*", "iam:List*"), [account.iam(path) for path in OUT_OF_REACH]
        ),
        statements.deny("NoWayOut", ESCAPES, "*"),
        statements.deny("NoRoleWithoutThisBoundary", new_roles, "*", other_boundary),
        statements.deny("BucketsOfThePlatform", BUCKET_SETTINGS, [f"{bucket}-state-*", f"{bucket}-cache-*"]),
        statements.deny("KeysOfThePlatform", KEY_SETTINGS, "*", own_keys),
        statements.deny("TheTrail", "cloudtrail:*", "*"),
    ]
