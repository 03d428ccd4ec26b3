"""S3: what a caller learns about objects that are not there, and buckets of other accounts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.aws_cases import ADMIN, CICD, DEV, STRANGER, Caller, Cloud, policy, refusal, trusting, unique

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)


def bucket_of(aws: Cloud, account: str) -> str:
    """Make a bucket with one object."""
    s3, name = aws.root(account).client("s3"), unique("bucket")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket=name, Key="open/app/state", Body=b"{}")
    return name


def session(aws: Cloud, account: str, *statements: dict[str, Any]) -> tuple[str, Caller]:
    """Return a role with these permissions and a session of it."""
    iam, name = aws.root(account).client("iam"), unique("reader")
    arn = iam.create_role(RoleName=name, Path="/cicd/", AssumeRolePolicyDocument=trusting(account))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy(*statements))
    return arn, aws.root(account).assume(arn)


def missing(caller: Caller, bucket: str, key: str = "open/app/nothing") -> set[int]:
    """Return the statuses of reading and of asking for an object that does not exist."""
    s3 = caller.client("s3")
    return {refusal(call, Bucket=bucket, Key=key)[0] for call in (s3.get_object, s3.head_object)}


def test_a_missing_object_is_forbidden_to_those_who_may_not_list(aws: Cloud) -> None:
    bucket = bucket_of(aws, DEV)
    _role, caller = session(aws, DEV, {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"})
    assert missing(caller, bucket) == {403}
    assert refusal(caller.client("s3").get_object, Bucket=bucket, Key="nothing")[1] == "AccessDenied"
    assert caller.client("s3").get_object(Bucket=bucket, Key="open/app/state")["Body"].read() == b"{}"


def test_a_missing_object_is_missing_to_those_who_may_list(aws: Cloud) -> None:
    bucket = bucket_of(aws, DEV)
    read = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    _role, caller = session(aws, DEV, read, {"Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"})
    assert missing(caller, bucket) == {404}
    assert refusal(caller.client("s3").get_object, Bucket=bucket, Key="nothing")[1] == "NoSuchKey"
    assert missing(aws.root(DEV), bucket) == {404}


def test_a_listing_that_is_limited_to_a_prefix_counts_for_its_keys(aws: Cloud) -> None:
    bucket = bucket_of(aws, DEV)
    listing = {
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
        "Condition": {"StringLike": {"s3:prefix": "open/*"}},
    }
    _role, caller = session(aws, DEV, {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}, listing)
    assert missing(caller, bucket, "open/app/nothing") == {404}
    assert missing(caller, bucket, "protected/app/nothing") == {403}


def test_a_missing_bucket_is_missing(aws: Cloud) -> None:
    _role, caller = session(aws, DEV, {"Action": "s3:*", "Resource": "*"})
    assert refusal(caller.client("s3").get_object, Bucket=unique("none"), Key="k") == (404, "NoSuchBucket")


def test_a_policy_that_names_a_role_of_another_account_admits_that_role_alone(aws: Cloud) -> None:
    bucket = bucket_of(aws, ADMIN)
    everything = {"Action": "s3:*", "Resource": "*"}
    named, reader = session(aws, CICD, everything)
    _other, other = session(aws, CICD, everything)
    statement = {"Principal": {"AWS": named}, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    aws.root(ADMIN).client("s3").put_bucket_policy(Bucket=bucket, Policy=policy(statement))
    assert reader.client("s3").get_object(Bucket=bucket, Key="open/app/state")["Body"].read() == b"{}"
    assert missing(reader, bucket) == {403}, "the policy lets nobody list"
    for caller in (other, aws.root(STRANGER)):
        assert refusal(caller.client("s3").get_object, Bucket=bucket, Key="open/app/state") == (403, "AccessDenied")
    listing = {"Principal": {"AWS": named}, "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
    aws.root(ADMIN).client("s3").put_bucket_policy(Bucket=bucket, Policy=policy(statement, listing))
    assert missing(reader, bucket) == {404}


def test_a_role_of_another_account_needs_its_own_permission_too(aws: Cloud) -> None:
    bucket = bucket_of(aws, ADMIN)
    named, reader = session(aws, CICD, {"Action": "s3:ListAllMyBuckets", "Resource": "*"})
    statement = {"Principal": {"AWS": named}, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    aws.root(ADMIN).client("s3").put_bucket_policy(Bucket=bucket, Policy=policy(statement))
    assert refusal(reader.client("s3").get_object, Bucket=bucket, Key="open/app/state")[0] == 403


def test_a_bucket_for_the_organisation_refuses_everybody_else(aws: Cloud) -> None:
    bucket = bucket_of(aws, ADMIN)
    everything = {"Action": "s3:*", "Resource": "*"}
    resource = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    whole = {"Principal": "*", "Action": "s3:*", "Resource": resource}
    members = whole | {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-example1234"}}}
    owner = aws.root(ADMIN).client("s3")
    owner.put_bucket_policy(Bucket=bucket, Policy=policy(members))
    _role, member = session(aws, DEV, everything)
    _role, stranger = session(aws, STRANGER, everything)
    assert member.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert refusal(stranger.client("s3").list_objects_v2, Bucket=bucket) == (403, "AccessDenied")


def test_a_policy_that_asks_for_tls_takes_loopback_for_it(aws: Cloud) -> None:
    bucket = bucket_of(aws, DEV)
    _role, caller = session(aws, DEV, {"Action": "s3:*", "Resource": "*"})
    whole = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}"}
    owner = aws.root(DEV).client("s3")
    owner.put_bucket_policy(
        Bucket=bucket, Policy=policy(whole | {"Condition": {"Bool": {"aws:SecureTransport": "false"}}})
    )
    assert caller.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    owner.put_bucket_policy(
        Bucket=bucket, Policy=policy(whole | {"Condition": {"Bool": {"aws:SecureTransport": "true"}}})
    )
    assert refusal(caller.client("s3").list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
