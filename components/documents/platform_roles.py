"""Permissions of the platform's own roles: the deployer changes the platform, the reader previews it.

The deployer is powerful in each account, because it makes clusters, networks and roles. By itself it cannot change resources of the
foundation: its own role, the boundary, the GitLab provider, the trail, the organisation's roles. But it makes the platform's roles
without a boundary, so it could make a role that changes them: `access` shows this chain, and reviews of the platform's project guard it.
The reader sees all metadata, and can use one key: that of the platform's own stacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.documents import statements, trust
from components.documents.boundary import BUCKET_SETTINGS
from components.documents.statements import Document, document, merged
from config.names import PLATFORM_ROLE_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.sections import Organization

SECRETS_KEY_ALIAS = "alias/cicd-platform/secrets"
"""Key of the platform's own stack secrets, in the account of the common state."""
READ_ONLY_POLICIES = ("SecurityAudit", "job-function/ViewOnlyAccess")
"""AWS managed policies of the reader: all metadata, no data."""

CLOSED_SERVICES = ("iam:*", "organizations:*", "account:*", "sso:*", "identitystore:*", "sts:*")
"""Services of which the deployer gets single actions, or no action."""


@dataclass(frozen=True, kw_only=True)
class PlatformRoleAccount:
    """The account that a document is written for."""

    organization: Organization
    """Partition, region and id."""
    account_id: str
    """Twelve digits."""
    state_bucket: str
    """Bucket with the platform's own state."""

    def iam(self, resource: str) -> str:
        """Return the ARN of an IAM resource of the account."""
        return f"arn:{self.organization.partition}:iam::{self.account_id}:{resource}"


def deployer(account: PlatformRoleAccount) -> Document:
    """Permit everything except the organisation, people's access, and the foundation's resources."""
    kinds = ("role", "policy", "instance-profile")
    own = [account.iam(f"{kind}/{path}") for kind in kinds for path in ("cicd/*", "cicd-*/*")]
    own.append(account.iam("oidc-provider/oidc.eks.*"))
    foundation = [account.iam(f"role{PLATFORM_ROLE_PATH}*"), account.iam(f"policy{PLATFORM_ROLE_PATH}*")]
    services = ("eks*", "spot", "ec2", "autoscaling", "ecs")
    linked = {"StringLike": {"iam:AWSServiceName": [f"{service}.amazonaws.com" for service in services]}}
    look = ("iam:Get*", "iam:List*", "iam:SimulatePrincipalPolicy", "sts:GetCallerIdentity")
    trail = ("cloudtrail:Delete*", "cloudtrail:Stop*", "cloudtrail:Update*", "cloudtrail:Put*")
    state_buckets = f"arn:{account.organization.partition}:s3:::{account.organization.id}-state-*"
    return document(
        statements.allow_all_but("Services", CLOSED_SERVICES, "*"),
        statements.allow("Look", look, "*"),
        statements.allow("OwnRolesAndPolicies", "iam:*", own),
        statements.allow(
            "ServiceLinkedRoles", "iam:CreateServiceLinkedRole", account.iam("role/aws-service-role/*"), linked
        ),
        statements.deny_all_but("NothingOfTheFoundation", ("iam:Get*", "iam:List*"), foundation),
        statements.deny("NotTheTrail", trail, "*"),
        statements.deny("StateBucketsStayAsTheyAre", BUCKET_SETTINGS, state_buckets),
    )


def reader(account: PlatformRoleAccount) -> Document:
    """Permit to read the platform's own state, and to use the key of its stacks' secrets."""
    bucket = f"arn:{account.organization.partition}:s3:::{account.state_bucket}"
    keys = f"arn:{account.organization.partition}:kms:{account.organization.region}:{account.account_id}:key/*"
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
            # The engine reads these when it compares resources, and the managed policies leave them out.
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


def platform_trust(
    *,
    organization: Organization,
    account_id: str,
    gitlab_url: str,
    project: str,
    ref: str,
    operators: Sequence[str],
) -> Document:
    """Trust GitLab's ID tokens of one project and branch, and the roles of people who operate the platform.

    Args:
        organization: partition and id.
        account_id: account of the roles and of GitLab's OIDC provider.
        gitlab_url: root of the instance; also the audience of its tokens.
        project: full path of the project that holds this program.
        ref: protected branch of the project.
        operators: ARNs of the people's roles.
    """
    pipeline = trust.gitlab(
        partition=organization.partition,
        account_id=account_id,
        url=gitlab_url,
        audience=gitlab_url,
        subjects=[trust.gitlab_subject(project, ref=ref)],
    )
    by_account: dict[str, list[str]] = {}
    for arn in operators:
        by_account.setdefault(arn.split(":")[4], []).append(arn)
    people = [
        trust.roles_of_account(
            partition=organization.partition, account_id=account, role_arns=arns, organization_id=organization.id
        )
        for account, arns in sorted(by_account.items())
    ]
    return merged(pipeline, *people)
