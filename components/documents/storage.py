"""Policies of buckets and keys.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html and
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.documents.statements import Document, allow, document
from config.partitions import partition_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.sections import Organization


def bucket_policy(organization: Organization, bucket: str) -> Document:
    """Refuse requests without TLS, and principals outside the organisation except AWS's own services."""
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
    """Leave the key to the account's own IAM policies alone."""
    return document(
        {
            "Sid": "Account",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{organization.partition}:iam::{account_id}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    )


def key_by_alias(organization: Organization, account_id: str, alias: str, actions: Sequence[str]) -> Document:
    """Statement for using a bucket's key through S3. Its alias names the key, because key ids are not known beforehand.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html
    """
    through_s3 = f"s3.{organization.region}.{partition_domain(organization.partition)}"
    keys = f"arn:{organization.partition}:kms:{organization.region}:{account_id}:key/*"
    condition = {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": alias},
        "StringEquals": {"kms:ViaService": through_s3},
    }
    return allow("Key", actions, keys, condition)


def cache_access(organization: Organization, *, account_id: str, bucket: str, prefix: str, key_alias: str) -> Document:
    """Permit a class's manager to use its own prefix of the cache, and the bucket's key.

    Without `ListBucket` a missing object would read as forbidden. The manager signs the URLs that jobs use, so jobs need no
    permission of their own. Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/
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
        key_by_alias(organization, account_id, key_alias, ("kms:Decrypt", "kms:GenerateDataKey")),
    )
