"""S3 buckets, and their settings: one resource type each, with the bucket's name as id.

Leaves out the deprecated properties that hold the settings inside the bucket (they are refused),
`expectedBucketOwner`, which makes the id two-part, and `mfa`.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/s3/.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import from_api, tag_list, tag_map, to_api
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler
from runner_platform_sandbox.providers.aws.session import AwsError, Client
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError

GONE = {"404", "NoSuchBucket", "NotFound"}
_DELETE_BATCH = 1000
# Zone ids of S3's static website endpoints, from AWS's general reference.
_ZONES = {"eu-central-1": "Z21DNDUVLTQW6Q", "eu-west-1": "Z1BKCTXD74EZPE", "us-east-1": "Z3AQBSTGFYJSTF"}


_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


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
                f"{error}. Bucket names are unique in all of AWS; choose another name, or import the bucket if it is yours"
            ) from error
        return name

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        s3 = call.client("s3")
        if _tags(s3, identifier) == (inputs.get("tags") or {}):
            return
        pairs = tag_list(inputs.get("tags"))
        if pairs:
            s3.call("put_bucket_tagging", Bucket=identifier, Tagging={"TagSet": pairs})
        else:
            s3.call("delete_bucket_tagging", Bucket=identifier)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
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
    return tag_map((answer or {}).get("TagSet"))


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


class _Setting(Handler):
    """A setting that AWS replaces as a whole, so that create and update are the same call."""

    immutable = frozenset({"bucket"})
    remove: ClassVar[str]
    """botocore's operation that removes the setting."""

    @abstractmethod
    def put(self, call: Call, bucket: str, inputs: Properties) -> None:
        """Apply the setting."""

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        # S3 returns a conflict if two settings of a bucket change at the same time.
        call.retry(lambda: self.put(call, inputs["bucket"], inputs), {"OperationAborted", "ConflictException"})
        return str(inputs["bucket"])

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        self.create(call, {**news, "bucket": identifier})

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        call.client("s3").find(self.remove, GONE, Bucket=identifier)


class BucketVersioning(_Setting):
    """Versioning. AWS cannot remove it, only suspend it."""

    token = "aws:s3/bucketVersioning:BucketVersioning"  # noqa: S105 - a type token
    modelled = frozenset({"bucket", "versioningConfiguration"})
    computed = frozenset({"versioningConfiguration.mfaDelete"})

    @override
    def put(self, call: Call, bucket: str, inputs: Properties) -> None:
        configuration = to_api(inputs["versioningConfiguration"])
        if (
            configuration.get("Status") != "Disabled"
        ):  # the provider's value for "never enabled", which AWS does not have
            configuration["MFADelete"] = configuration.pop("MfaDelete", None) or "Disabled"
            call.client("s3").call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration=configuration)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        answer = call.client("s3").find("get_bucket_versioning", GONE, Bucket=identifier)
        if answer is None:
            return None
        status = {"status": answer.get("Status", "Disabled"), "mfaDelete": answer.get("MFADelete", "Disabled")}
        return {"bucket": identifier, "versioningConfiguration": status}

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        if outputs.get("versioningConfiguration", {}).get("status") == "Enabled":
            suspended = {"Status": "Suspended"}
            call.client("s3").find("put_bucket_versioning", GONE, Bucket=identifier, VersioningConfiguration=suspended)


class BucketServerSideEncryptionConfiguration(_Setting):
    """Default encryption."""

    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"  # noqa: S105 - a type token
    modelled = frozenset({"bucket", "rules"})
    sets = frozenset({"rules"})
    computed = frozenset({"rules.bucketKeyEnabled", "rules.blockedEncryptionTypes"})
    remove = "delete_bucket_encryption"

    @override
    def put(self, call: Call, bucket: str, inputs: Properties) -> None:
        rules = to_api(inputs["rules"], {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"})
        call.client("s3").call(
            "put_bucket_encryption", Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules}
        )

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        missing = {*GONE, "ServerSideEncryptionConfigurationNotFoundError"}
        answer = call.client("s3").find("get_bucket_encryption", missing, Bucket=identifier)
        if answer is None:
            return None
        rules = from_api(
            answer["ServerSideEncryptionConfiguration"]["Rules"],
            {"SSEAlgorithm": "sseAlgorithm", "KMSMasterKeyID": "kmsMasterKeyId"},
        )
        return {"bucket": identifier, "rules": rules}


class BucketPublicAccessBlock(_Setting):
    """The four switches against public access."""

    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"  # noqa: S105 - a type token
    defaults: ClassVar[Mapping[str, Any]] = dict.fromkeys(_BLOCKS, False)
    kept = frozenset({"skipDestroy"})
    remove = "delete_public_access_block"

    @override
    def put(self, call: Call, bucket: str, inputs: Properties) -> None:
        switches = to_api({name: inputs[name] for name in _BLOCKS})
        call.client("s3").call("put_public_access_block", Bucket=bucket, PublicAccessBlockConfiguration=switches)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        missing = {*GONE, "NoSuchPublicAccessBlockConfiguration"}
        answer = call.client("s3").find("get_public_access_block", missing, Bucket=identifier)
        if answer is None:
            return None
        return {"bucket": identifier, **from_api(answer["PublicAccessBlockConfiguration"])}

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        if not outputs.get("skipDestroy"):
            super().delete(call, identifier, outputs)


class BucketPolicy(_Setting):
    """The bucket's resource policy."""

    token = "aws:s3/bucketPolicy:BucketPolicy"  # noqa: S105 - a type token
    documents = frozenset({"policy"})
    remove = "delete_bucket_policy"

    @override
    def put(self, call: Call, bucket: str, inputs: Properties) -> None:
        # S3 may not know a principal that was created a second ago.
        call.retry(
            lambda: call.client("s3").call("put_bucket_policy", Bucket=bucket, Policy=inputs["policy"]),
            {"MalformedPolicy"},
        )

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        answer = call.client("s3").find("get_bucket_policy", {*GONE, "NoSuchBucketPolicy"}, Bucket=identifier)
        return None if answer is None else {"bucket": identifier, "policy": answer["Policy"]}


class BucketOwnershipControls(_Setting):
    """The owner of objects that other accounts write."""

    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"  # noqa: S105 - a type token
    remove = "delete_bucket_ownership_controls"

    @override
    def put(self, call: Call, bucket: str, inputs: Properties) -> None:
        controls = {"Rules": [to_api(inputs["rule"])]}
        call.client("s3").call("put_bucket_ownership_controls", Bucket=bucket, OwnershipControls=controls)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        missing = {*GONE, "OwnershipControlsNotFoundError"}
        answer = call.client("s3").find("get_bucket_ownership_controls", missing, Bucket=identifier)
        if answer is None:
            return None
        return {"bucket": identifier, "rule": from_api(answer["OwnershipControls"]["Rules"][0])}


class BucketLifecycleConfiguration(_Setting):
    """Expiry and transitions of objects."""

    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"  # noqa: S105 - a type token
    modelled = frozenset({"bucket", "rules", "timeouts", "transitionDefaultMinimumObjectSize"})
    computed = frozenset({"transitionDefaultMinimumObjectSize", "rules.filter", "rules.prefix"})
    nested_defaults: ClassVar[Mapping[str, Any]] = {"rules.expiration.days": 0}
    kept = frozenset({"timeouts"})
    remove = "delete_bucket_lifecycle"

    @override
    def put(self, call: Call, bucket: str, inputs: Properties) -> None:
        call.client("s3").call(
            "put_bucket_lifecycle_configuration",
            Bucket=bucket,
            LifecycleConfiguration={"Rules": [_rule_to_api(rule) for rule in inputs.get("rules", [])]},
            TransitionDefaultMinimumObjectSize=inputs.get("transitionDefaultMinimumObjectSize"),
        )

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        missing = {*GONE, "NoSuchLifecycleConfiguration"}
        answer = call.client("s3").find("get_bucket_lifecycle_configuration", missing, Bucket=identifier)
        if answer is None:
            return None
        size = answer.get("TransitionDefaultMinimumObjectSize", "all_storage_classes_128K")
        rules = [_rule_from_api(rule) for rule in answer["Rules"]]
        return {"bucket": identifier, "rules": rules, "transitionDefaultMinimumObjectSize": size}


def _rule_to_api(rule: dict[str, Any]) -> dict[str, Any]:
    api_rule: dict[str, Any] = to_api({key: value for key, value in rule.items() if key != "filter"}, {"id": "ID"})
    condition = rule.get("filter")
    if "Prefix" in api_rule:
        return api_rule
    parts = to_api({key: value for key, value in (condition or {}).items() if key != "and"})
    if condition and condition.get("and"):
        both = to_api({key: value for key, value in condition["and"].items() if key != "tags"})
        pairs = [{"Key": key, "Value": value} for key, value in condition["and"].get("tags", {}).items()]
        parts["And"] = {**both, **({"Tags": pairs} if pairs else {})}
    api_rule["Filter"] = parts or {"Prefix": ""}
    return api_rule


def _rule_from_api(rule: dict[str, Any]) -> dict[str, Any]:
    sdk_rule: dict[str, Any] = from_api(rule, {"ID": "id"})
    both = sdk_rule.get("filter", {}).get("and")
    if both and "tags" in both:
        both["tags"] = {tag["key"]: tag["value"] for tag in both["tags"]}
    return sdk_rule
