"""Policies of buckets and keys.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html and
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents.trust import Document, document

if TYPE_CHECKING:
    from config.sections import Organization


def bucket_policy(organization: Organization, bucket: str) -> Document:
    """Refuse everything that comes without TLS, and everybody from outside the organisation but AWS's own services."""
    arn = f"arn:{organization.partition}:s3:::{bucket}"
    everything = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [arn, f"{arn}/*"]}
    return document(
        {"Sid": "OnlyWithTls", **everything, "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {
            "Sid": "OnlyOurOrganization",
            **everything,
            "Condition": {
                "StringNotEqualsIfExists": {"aws:PrincipalOrgID": organization.id},
                "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
            },
        },
    )


def key_policy(organization: Organization, account_id: str) -> Document:
    """Leave the key to the account's own IAM policies; nobody else."""
    return document(
        {
            "Sid": "Account",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{organization.partition}:iam::{account_id}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    )


def cache_access(organization: Organization, *, bucket: str, prefix: str, key_arn: Any) -> Document:
    """What a class's manager may do in the cache: five S3 actions on its own prefix, and the bucket's key.

    `ListBucket` is among them because without it a missing object reads as forbidden. The manager signs the URLs that jobs use, so
    jobs need no right of their own. Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/
    """
    arn = f"arn:{organization.partition}:s3:::{bucket}"
    return document(
        {
            "Sid": "List",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": arn,
            "Condition": {"StringLike": {"s3:prefix": [f"{prefix}/*"]}},
        },
        {
            "Sid": "Objects",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject"],
            "Resource": f"{arn}/{prefix}/*",
        },
        {"Sid": "Key", "Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": key_arn},
    )


def flow_log_writer(organization: Organization, account_id: str, log_group: str) -> Document:
    """What VPC flow logs need to write to one log group.

    Source: https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
    """
    arn = f"arn:{organization.partition}:logs:{organization.region}:{account_id}:log-group:{log_group}"
    return document(
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            "Resource": [arn, f"{arn}:*"],
        }
    )
