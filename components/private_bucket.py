"""PrivateBucket: a bucket with its own key, for roles of the organisation only.

Owns: bucket, key and alias, versioning, encryption, ownership, public access block, TLS-only and organisation-only policy,
lifecycle. Leaves out permissions to read and write: roles bring these in their own policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents.storage import bucket_policy, key_policy

if TYPE_CHECKING:
    from config.sections import Organization


@dataclass(frozen=True, kw_only=True)
class PrivateBucketArgs:
    """Inputs of `PrivateBucket`."""

    organization: Organization
    """Partition, region and id; the bucket's policy admits the organisation."""
    account_id: str
    """Account that owns the bucket."""
    bucket: str
    """Physical name; fixed, because policies of roles name it before it exists."""
    key_alias: str
    """Alias of the bucket's key; fixed for the same reason."""
    versioned: bool
    """Keep earlier versions of objects."""
    expire_days: int = 0
    """Days until an object is deleted; 0 keeps objects for ever."""
    noncurrent_days: int = 90
    """Days until a replaced version is deleted; only with `versioned`."""
    protect: bool
    """Guard bucket and key against deletion."""
    force_destroy: bool = False
    """Delete the objects with the bucket; for caches only."""


class PrivateBucket(pulumi.ComponentResource):
    """A private bucket with its key."""

    name: pulumi.Output[str]
    """Physical name of the bucket."""
    key_arn: pulumi.Output[str]
    """ARN of its key."""

    def __init__(self, name: str, args: PrivateBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:PrivateBucket", name, None, opts)
        self._args, self._name = args, name
        child = pulumi.ResourceOptions(parent=self)
        guarded = pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect)
        key = aws.kms.Key(
            f"{name}-key",
            description=f"objects of {args.bucket}",
            enable_key_rotation=True,
            deletion_window_in_days=30 if args.protect else 7,
            policy=pulumi.Output.json_dumps(key_policy(args.organization, args.account_id)),
            opts=guarded,
        )
        aws.kms.Alias(f"{name}-alias", name=args.key_alias, target_key_id=key.key_id, opts=child)
        bucket = aws.s3.Bucket(f"{name}-bucket", bucket=args.bucket, force_destroy=args.force_destroy, opts=guarded)
        guards = self._guards(bucket, key)
        # The name waits for the guards, so that no resource writes to the bucket before.
        self.name = pulumi.Output.all(bucket.bucket, *(guard.id for guard in guards)).apply(
            lambda values: str(values[0])
        )
        self.key_arn = key.arn
        self.register_outputs({"name": self.name, "key_arn": self.key_arn})

    def _guards(self, bucket: aws.s3.Bucket, key: aws.kms.Key) -> list[pulumi.CustomResource]:
        name, args = self._name, self._args
        child = pulumi.ResourceOptions(parent=self)
        block = aws.s3.BucketPublicAccessBlock(
            f"{name}-public-access",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        encryption = aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=child,
        )
        ownership = aws.s3.BucketOwnershipControls(
            f"{name}-ownership", bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
        )
        policy = aws.s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.bucket,
            policy=pulumi.Output.json_dumps(bucket_policy(args.organization, args.bucket)),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[block]),
        )
        return [block, encryption, ownership, policy, *self._history(bucket)]

    def _history(self, bucket: aws.s3.Bucket) -> list[pulumi.CustomResource]:
        name, args = self._name, self._args
        versioning: list[pulumi.CustomResource] = []
        if args.versioned:
            versioning.append(
                aws.s3.BucketVersioning(
                    f"{name}-versioning",
                    bucket=bucket.bucket,
                    versioning_configuration={"status": "Enabled"},
                    opts=pulumi.ResourceOptions(parent=self),
                )
            )
        lifecycle = aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.bucket,
            rules=self._lifecycle_rules(),
            opts=pulumi.ResourceOptions(parent=self, depends_on=versioning),
        )
        return [*versioning, lifecycle]

    def _lifecycle_rules(self) -> list[aws.s3.BucketLifecycleConfigurationRuleArgsDict]:
        args = self._args
        rules: list[aws.s3.BucketLifecycleConfigurationRuleArgsDict] = [
            {
                "id": "unfinished",
                "status": "Enabled",
                "filter": {},
                "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
            }
        ]
        if args.versioned:
            rules.append(
                {
                    "id": "versions",
                    "status": "Enabled",
                    "filter": {},
                    "noncurrent_version_expiration": {"noncurrent_days": args.noncurrent_days},
                }
            )
        if args.expire_days:
            rules.append({"id": "expiry", "status": "Enabled", "filter": {}, "expiration": {"days": args.expire_days}})
        return rules
