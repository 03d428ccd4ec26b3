"""What the platform's own roles may do: the deployer that changes it, and the reader that looks at it.

The deployer is powerful in each account, because it makes clusters, networks and roles. It cannot touch what the foundation owns
(its own role, the boundary, the GitLab provider, the trail, the organisation's roles) by itself. It makes the platform's roles without a
boundary, so one that it made for that purpose could: `access` shows this reach, and reviews of the platform's project guard it. The reader sees everything, and opens one secret: the key of the platform's own stacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.documents import statements
from components.documents.boundary import BUCKET_SETTINGS
from components.documents.statements import Document, document
from config.names import PLATFORM_ROLE_PATH

if TYPE_CHECKING:
    from config.sections import Organization

SECRETS_KEY_ALIAS = "alias/cicd-platform/secrets"
"""Key of the platform's own stack secrets, in the account of the common state."""
READ_ONLY_POLICIES = ("SecurityAudit", "job-function/ViewOnlyAccess")
"""AWS managed policies of the reader: metadata of everything, data of nothing."""

CLOSED_SERVICES = ("iam:*", "organizations:*", "account:*", "sso:*", "identitystore:*", "sts:*")
"""What the deployer gets piece by piece, or not at all."""


@dataclass(frozen=True, kw_only=True)
class PlatformRoleAccount:
    """The account that a document is written for."""

    organization: Organization
    account_id: str
    state_bucket: str
    """Bucket with the platform's own state."""

    def iam(self, resource: str) -> str:
        """ARN of an IAM resource of the account."""
        return f"arn:{self.organization.partition}:iam::{self.account_id}:{resource}"


def deployer(of: PlatformRoleAccount) -> Document:
    """Everything but the organisation, people's access, and what the foundation owns."""
    own = [
        of.iam(each)
        for each in ("role/cicd/*", "role/cicd-*/*", "policy/cicd/*", "policy/cicd-*/*", "oidc-provider/oidc.eks.*")
    ]
    foundation = [of.iam(f"role{PLATFORM_ROLE_PATH}*"), of.iam(f"policy{PLATFORM_ROLE_PATH}*")]
    linked = {"StringLike": {"iam:AWSServiceName": ["eks*.amazonaws.com", "spot.amazonaws.com", "ec2.amazonaws.com"]}}
    look = ("iam:Get*", "iam:List*", "iam:SimulatePrincipalPolicy", "sts:GetCallerIdentity")
    trail = ("cloudtrail:Delete*", "cloudtrail:Stop*", "cloudtrail:Update*", "cloudtrail:Put*")
    state_buckets = f"arn:{of.organization.partition}:s3:::{of.organization.id}-state-*"
    return document(
        statements.allow_all_but("Services", CLOSED_SERVICES, "*"),
        statements.allow("Look", look, "*"),
        statements.allow("OwnRolesAndPolicies", "iam:*", own),
        statements.allow(
            "ServiceLinkedRoles", "iam:CreateServiceLinkedRole", of.iam("role/aws-service-role/*"), linked
        ),
        statements.deny_all_but("NothingOfTheFoundation", ("iam:Get*", "iam:List*"), foundation),
        statements.deny("NotTheTrail", trail, "*"),
        statements.deny("StateBucketsStayAsTheyAre", BUCKET_SETTINGS, state_buckets),
    )


def reader(of: PlatformRoleAccount) -> Document:
    """The platform's own state, and the one key that opens its stacks' secrets."""
    bucket = f"arn:{of.organization.partition}:s3:::{of.state_bucket}"
    keys = f"arn:{of.organization.partition}:kms:{of.organization.region}:{of.account_id}:key/*"
    return document(
        {
            "Sid": "List",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket,
            "Condition": {"StringLike": {"s3:prefix": ["platform/*"]}},
        },
        {"Sid": "OwnState", "Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{bucket}/platform/*"},
        {
            "Sid": "OwnSecrets",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:DescribeKey"],
            "Resource": keys,
            "Condition": {
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": [SECRETS_KEY_ALIAS, "alias/cicd-platform/state"]}
            },
        },
        {
            # What the engine reads when it compares resources, and the managed policies leave out.
            "Sid": "Compare",
            "Effect": "Allow",
            "Action": [
                "kms:GetKeyPolicy",
                "kms:GetKeyRotationStatus",
                "kms:ListAliases",
                "kms:ListResourceTags",
                "eks:Describe*",
                "eks:List*",
                "ecr:Describe*",
                "ecr:Get*",
                "logs:ListTagsForResource",
                "logs:DescribeMetricFilters",
                "cloudwatch:DescribeAlarms",
                "cloudwatch:ListTagsForResource",
                "s3:GetBucket*",
                "s3:GetEncryptionConfiguration",
                "s3:GetLifecycleConfiguration",
            ],
            "Resource": "*",
        },
    )
