"""The permissions boundary: the most that a delegated role, or a role that a deployment creates, can ever do.

One per account for all stacks, kept by the foundation. It grants nothing by itself. It lets deployments create roles only
under `/deploy/` and only with this same boundary, and it closes everything that could reach back to the platform.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.documents.trust import Document, document
from config.names import DEPLOY_ROLE_PATH, boundary_arn

if TYPE_CHECKING:
    from config.sections import Organization

PASSABLE_TO = ("apigateway.amazonaws.com", "ecs-tasks.amazonaws.com")
"""Services that a deployment may hand a role to."""
SERVICE_LINKED_FOR = ("ecs.amazonaws.com", "elasticloadbalancing.amazonaws.com", "ops.apigateway.amazonaws.com")
"""Services whose service-linked role a deployment may bring into being."""


@dataclass(frozen=True, kw_only=True)
class BoundaryOf:
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


def boundary(of: BoundaryOf) -> Document:
    """The whole document; at most 6,144 characters, IAM's limit for a managed policy."""
    return document(*_allowed(of), *_denied(of))


def _allowed(of: BoundaryOf) -> list[Document]:
    deploy_role, deploy_policy = of.iam(f"role{DEPLOY_ROLE_PATH}*"), of.iam(f"policy{DEPLOY_ROLE_PATH}*")
    return [
        {
            "Sid": "Services",
            "Effect": "Allow",
            "NotAction": [
                "iam:*",
                "sts:*",
                "organizations:*",
                "account:*",
                "sso:*",
                "identitystore:*",
                "controltower:*",
                "cloudtrail:*",
            ],
            "Resource": "*",
        },
        {
            "Sid": "Look",
            "Effect": "Allow",
            "Action": ["iam:Get*", "iam:List*", "sts:GetCallerIdentity"],
            "Resource": "*",
        },
        {
            "Sid": "RolesWithThisBoundary",
            "Effect": "Allow",
            "Action": [
                "iam:CreateRole",
                "iam:PutRolePolicy",
                "iam:DeleteRolePolicy",
                "iam:AttachRolePolicy",
                "iam:DetachRolePolicy",
                "iam:PutRolePermissionsBoundary",
            ],
            "Resource": deploy_role,
            "Condition": {"StringEquals": {"iam:PermissionsBoundary": of.arn}},
        },
        {
            "Sid": "RolesAndPoliciesOfDeployments",
            "Effect": "Allow",
            "Action": [
                *("iam:DeleteRole", "iam:UpdateRole", "iam:UpdateRoleDescription", "iam:TagRole", "iam:UntagRole"),
                *("iam:CreatePolicy", "iam:DeletePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicyVersion"),
                *("iam:SetDefaultPolicyVersion", "iam:TagPolicy", "iam:UntagPolicy"),
            ],
            "Resource": [deploy_role, deploy_policy],
        },
        {
            "Sid": "PassOwnRoles",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": deploy_role,
            "Condition": {"StringEquals": {"iam:PassedToService": list(PASSABLE_TO)}},
        },
        {
            "Sid": "ServiceLinkedRoles",
            "Effect": "Allow",
            "Action": "iam:CreateServiceLinkedRole",
            "Resource": of.iam("role/aws-service-role/*"),
            "Condition": {"StringEquals": {"iam:AWSServiceName": list(SERVICE_LINKED_FOR)}},
        },
    ]


def _denied(of: BoundaryOf) -> list[Document]:
    organization, partition = of.organization, of.organization.partition
    return [
        {
            "Sid": "ThePlatformsOwn",
            "Effect": "Deny",
            "NotAction": ["iam:Get*", "iam:List*"],
            "Resource": [
                *(
                    of.iam("role/cicd*/*"),
                    of.iam("policy/cicd*/*"),
                    of.iam("oidc-provider/*"),
                    of.iam("saml-provider/*"),
                ),
                *(of.iam("role/OrganizationAccountAccessRole"), of.iam("role/AWSControlTowerExecution")),
                *(of.iam("role/aws-controltower-*"), of.iam("role/stacksets-exec-*"), of.iam("role/aws-reserved/*")),
            ],
        },
        {
            "Sid": "NoWayOut",
            "Effect": "Deny",
            "Action": [
                *(
                    "iam:DeleteRolePermissionsBoundary",
                    "iam:DeleteUserPermissionsBoundary",
                    "iam:UpdateAssumeRolePolicy",
                ),
                *(
                    "iam:CreateUser",
                    "iam:CreateAccessKey",
                    "iam:CreateLoginProfile",
                    "iam:CreateOpenIDConnectProvider",
                    "iam:CreateSAMLProvider",
                ),
            ],
            "Resource": "*",
        },
        {
            "Sid": "NoRoleWithoutThisBoundary",
            "Effect": "Deny",
            "Action": ["iam:CreateRole", "iam:PutRolePermissionsBoundary"],
            "Resource": "*",
            "Condition": {"StringNotEquals": {"iam:PermissionsBoundary": of.arn}},
        },
        {
            "Sid": "BucketsOfThePlatform",
            "Effect": "Deny",
            "Action": [
                "s3:DeleteBucket*",
                "s3:PutBucket*",
                "s3:PutEncryptionConfiguration",
                "s3:PutLifecycleConfiguration",
                "s3:DeleteObjectVersion",
            ],
            "Resource": [
                f"arn:{partition}:s3:::{organization.id}-state-*",
                f"arn:{partition}:s3:::{organization.id}-cache-*",
            ],
        },
        {
            "Sid": "KeysOfThePlatform",
            "Effect": "Deny",
            "Action": [
                "kms:PutKeyPolicy",
                "kms:ScheduleKeyDeletion",
                "kms:DisableKey",
                "kms:CreateGrant",
                "kms:DeleteAlias",
                "kms:UpdateAlias",
            ],
            "Resource": "*",
            "Condition": {"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/cicd*"}},
        },
        {"Sid": "TheTrail", "Effect": "Deny", "Action": "cloudtrail:*", "Resource": "*"},
    ]
