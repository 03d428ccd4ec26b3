"""S3 buckets.

Owns the bucket itself. Its settings are resources of their own in `s3_settings`; the deprecated properties that hold
them inside the bucket are refused. Source: https://www.pulumi.com/registry/packages/aws/api-docs/s3/bucket/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from runner_platform_sandbox.providers.aws.naming import AutoName
from runner_platform_sandbox.providers.aws.resource import Call, Handler
from runner_platform_sandbox.providers.aws.session import AwsError, Client
from runner_platform_sandbox.providers.aws.tags import as_list, as_map
from runner_platform_sandbox.providers.base import Properties, ProviderError

GONE = {"404", "NoSuchBucket", "NotFound"}
_DELETE_BATCH = 1000
# Zone ids of S3's static website endpoints, from AWS's general reference.
_ZONES = {"eu-central-1": "Z21DNDUVLTQW6Q", "eu-west-1": "Z1BKCTXD74EZPE", "us-east-1": "Z3AQBSTGFYJSTF"}


class Bucket(Handler):
    """A bucket. Its id is its name."""

    token = "aws:s3/bucket:Bucket"  # noqa: S105 - a type token
    naming = AutoName(field="bucket", longest=63, lower=True)
    immutable = frozenset({"bucket", "bucketPrefix", "objectLockEnabled"})
    defaults: ClassVar[Mapping[str, Any]] = {"forceDestroy": False}
    computed = frozenset({"objectLockEnabled", "requestPayer"})
    kept = frozenset({"forceDestroy", "bucketPrefix"})
    modelled = frozenset({"bucket", "bucketPrefix", "forceDestroy", "objectLockEnabled"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name = self.name_of(inputs)
        place = None if call.region == "us-east-1" else {"LocationConstraint": call.region}
        lock = True if inputs.get("objectLockEnabled") else None
        try:
            call.client("s3").call(
                "create_bucket", Bucket=name, CreateBucketConfiguration=place, ObjectLockEnabledForBucket=lock
            )
        except AwsError as error:
            if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise
            raise ProviderError(
                f"{error}. Bucket names are unique in all of AWS; import the bucket if it is yours"
            ) from error
        return name

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        s3 = call.client("s3")
        if _tags(s3, identifier) == (inputs.get("tags") or {}):
            return
        pairs = as_list(inputs.get("tags"))
        if pairs:
            s3.call("put_bucket_tagging", Bucket=identifier, Tagging={"TagSet": pairs})
        else:
            s3.call("delete_bucket_tagging", Bucket=identifier)

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        s3 = call.client("s3")
        if s3.find("head_bucket", GONE, Bucket=identifier) is None:
            return None
        region = s3.call("get_bucket_location", Bucket=identifier).get("LocationConstraint") or "us-east-1"
        suffix = "amazonaws.com.cn" if call.session.partition == "aws-cn" else "amazonaws.com"
        lock = s3.find(
            "get_object_lock_configuration", {*GONE, "ObjectLockConfigurationNotFoundError"}, Bucket=identifier
        )
        return {
            "arn": f"arn:{call.session.partition}:s3:::{identifier}",
            "bucket": identifier,
            "bucketDomainName": f"{identifier}.s3.{suffix}",
            "bucketRegion": region,
            "bucketRegionalDomainName": f"{identifier}.s3.{region}.{suffix}",
            "hostedZoneId": _ZONES.get(region),
            "objectLockEnabled": lock is not None,
            "requestPayer": "BucketOwner",
            "tags": _tags(s3, identifier),
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        s3 = call.client("s3")
        if outputs.get("forceDestroy"):
            _empty(s3, identifier)
        try:
            s3.find("delete_bucket", GONE, Bucket=identifier)
        except AwsError as error:
            if error.code != "BucketNotEmpty":
                raise
            remedy = "empty it, or set force_destroy on the bucket, run `up`, and destroy again"
            raise ProviderError(f"{error}. Bucket {identifier} still holds objects; {remedy}") from error


def _tags(s3: Client, bucket: str) -> dict[str, str]:
    answer = s3.find("get_bucket_tagging", {"NoSuchTagSet"}, Bucket=bucket)
    return as_map((answer or {}).get("TagSet"))


def _empty(s3: Client, bucket: str) -> None:
    """Delete every version of every object."""
    try:
        versions = s3.pages("list_object_versions", "Versions", Bucket=bucket)
        versions += s3.pages("list_object_versions", "DeleteMarkers", Bucket=bucket)
    except AwsError as error:
        if error.code in GONE:
            return
        raise
    objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in versions]
    for start in range(0, len(objects), _DELETE_BATCH):
        batch = {"Objects": objects[start : start + _DELETE_BATCH], "Quiet": True}
        s3.call("delete_objects", Bucket=bucket, Delete=batch)
