"""KMS: keys that are named by alias, used for a caller by S3, Logs and EKS, and never locked away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.tests.support.aws_network import cluster_request
from tests.support.aws_cases import ADMIN, DEV, REGION, Caller, Cloud, policy, refusal, trusting, unique

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)

THROUGH_S3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}
OWN = {"Principal": {"AWS": f"arn:aws:iam::{DEV}:root"}, "Action": "kms:*", "Resource": "*"}


def key_of(aws: Cloud, account: str = DEV, **fields: Any) -> tuple[str, str]:
    """Make a key with an alias; return its ARN and the alias."""
    kms, alias = aws.root(account).client("kms"), f"alias/{unique('cicd')}"
    arn = kms.create_key(**fields)["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName=alias, TargetKeyId=arn)
    return arn, alias


def bucket_under(aws: Cloud, key: str) -> str:
    """Make a bucket whose objects are encrypted with the key."""
    s3, name = aws.root(DEV).client("s3"), unique("state")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )
    return name


def caller_who(aws: Cloud, *statements: dict[str, Any]) -> Caller:
    """Return a session that may do just this."""
    iam, name = aws.root(DEV).client("iam"), unique("user")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(DEV))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy(*statements))
    return aws.root(DEV).assume(arn)


def use(alias: str, *actions: str, **equals: str) -> dict[str, Any]:
    """Return a statement about the key behind an alias."""
    condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
    if equals:
        condition["StringEquals"] = equals
    return {"Action": list(actions), "Resource": f"arn:aws:kms:{REGION}:{DEV}:key/*", "Condition": condition}


OBJECTS = {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::*/*"}


def test_objects_under_a_key_need_the_key_too(aws: Cloud) -> None:
    key, alias = key_of(aws)
    bucket = bucket_under(aws, key)
    both = use(alias, "kms:GenerateDataKey", "kms:Decrypt", **THROUGH_S3)
    writer = caller_who(aws, OBJECTS, both).client("s3")
    writer.put_object(Bucket=bucket, Key="k", Body=b"state")
    assert writer.get_object(Bucket=bucket, Key="k")["Body"].read() == b"state"
    without = caller_who(aws, OBJECTS).client("s3")
    assert refusal(without.put_object, Bucket=bucket, Key="k", Body=b"x") == (403, "AccessDenied")
    assert refusal(without.get_object, Bucket=bucket, Key="k") == (403, "AccessDenied")
    without.head_object(Bucket=bucket, Key="k")
    reader = caller_who(aws, OBJECTS, use(alias, "kms:Decrypt", **THROUGH_S3)).client("s3")
    assert reader.get_object(Bucket=bucket, Key="k")["Body"].read() == b"state"
    assert refusal(reader.put_object, Bucket=bucket, Key="k", Body=b"x") == (403, "AccessDenied")


def test_a_multipart_upload_needs_both_uses(aws: Cloud) -> None:
    key, alias = key_of(aws)
    bucket = bucket_under(aws, key)
    half = caller_who(aws, OBJECTS, use(alias, "kms:GenerateDataKey")).client("s3")
    assert refusal(half.create_multipart_upload, Bucket=bucket, Key="k") == (403, "AccessDenied")
    whole = caller_who(aws, OBJECTS, use(alias, "kms:GenerateDataKey", "kms:Decrypt")).client("s3")
    whole.create_multipart_upload(Bucket=bucket, Key="k")


def test_a_key_that_may_be_used_through_s3_is_not_used_directly(aws: Cloud) -> None:
    key, alias = key_of(aws)
    through = caller_who(aws, use(alias, "kms:Encrypt", "kms:GenerateDataKey", **THROUGH_S3)).client("kms")
    assert refusal(through.encrypt, KeyId=key, Plaintext=b"x")[1] == "AccessDeniedException"
    caller_who(aws, use(alias, "kms:Encrypt")).client("kms").encrypt(KeyId=key, Plaintext=b"x")


def test_a_request_by_alias_is_judged_on_the_key(aws: Cloud) -> None:
    key, alias = key_of(aws)
    caller_who(aws, {"Action": "kms:Encrypt", "Resource": key}).client("kms").encrypt(KeyId=alias, Plaintext=b"x")
    _other, wrong = key_of(aws)
    other = caller_who(aws, use(wrong, "kms:Encrypt")).client("kms")
    assert refusal(other.encrypt, KeyId=alias, Plaintext=b"x")[1] == "AccessDeniedException"


def test_a_denial_by_alias_protects_the_key_and_its_alias(aws: Cloud) -> None:
    key, alias = key_of(aws)
    denial = {
        "Effect": "Deny",
        "Action": ["kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DeleteAlias", "kms:UpdateAlias"],
        "Resource": "*",
        "Condition": {"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/cicd*"}},
    }
    kms = caller_who(aws, {"Action": "kms:*", "Resource": "*"}, denial).client("kms")
    for call, fields in (
        (kms.put_key_policy, {"KeyId": key, "Policy": policy(OWN), "PolicyName": "default"}),
        (kms.schedule_key_deletion, {"KeyId": key}),
        (kms.schedule_key_deletion, {"KeyId": key.rpartition("/")[2]}),
        (kms.delete_alias, {"AliasName": alias}),
    ):
        assert refusal(call, **fields)[1] == "AccessDeniedException", call.__name__
    free = aws.root(DEV).client("kms").create_key()["KeyMetadata"]["Arn"]
    kms.schedule_key_deletion(KeyId=free)


def test_a_bucket_under_a_key_that_is_gone_takes_nothing(aws: Cloud) -> None:
    key, alias = key_of(aws)
    bucket = bucket_under(aws, key)
    writer = caller_who(aws, OBJECTS, use(alias, "kms:*")).client("s3")
    aws.root(DEV).client("kms").disable_key(KeyId=key)
    assert refusal(writer.put_object, Bucket=bucket, Key="k", Body=b"x") == (400, "KMS.DisabledException")


def test_a_log_group_takes_only_a_key_that_lets_the_logs_service_in(aws: Cloud) -> None:
    logs, kms, name = aws.root(DEV).client("logs"), aws.root(DEV).client("kms"), unique("/logs")
    group = f"arn:aws:logs:{REGION}:{DEV}:log-group:{name}"
    service = {
        "Principal": {"Service": f"logs.{REGION}.amazonaws.com"},
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
        "Resource": "*",
        "Condition": {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": group}},
    }
    keys = [kms.create_key(Policy=policy(OWN, service))["KeyMetadata"]["Arn"] for _ in range(2)]
    missing = keys[0][:-8] + "00000000"
    closed = kms.create_key()["KeyMetadata"]["Arn"]
    for wrong in (missing, closed, "alias/nothing"):
        found = refusal(logs.create_log_group, logGroupName=name, kmsKeyId=wrong)
        assert found == (400, "InvalidParameterException")
    other = refusal(logs.create_log_group, logGroupName=f"{name}-other", kmsKeyId=keys[0])
    assert other == (400, "InvalidParameterException"), "the key's policy names one group"
    logs.create_log_group(logGroupName=name, kmsKeyId=keys[0])

    def key() -> str | None:
        found: str | None = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0].get("kmsKeyId")
        return found

    assert key() == keys[0]
    logs.associate_kms_key(logGroupName=name, kmsKeyId=keys[1])
    assert key() == keys[1]
    logs.disassociate_kms_key(logGroupName=name)
    assert key() is None
    gone = refusal(logs.associate_kms_key, logGroupName=f"{name}-other", kmsKeyId=keys[0])
    assert gone[0] == 400


def test_a_key_policy_is_one_and_locks_nobody_out(aws: Cloud) -> None:
    kms = aws.root(DEV).client("kms")
    stranger = {"Principal": {"AWS": f"arn:aws:iam::{ADMIN}:root"}, "Action": "kms:*", "Resource": "*"}
    for document in ("{", "{}", policy(stranger), policy(OWN | {"Action": "kms:Encrypt"})):
        assert refusal(kms.create_key, Policy=document) == (400, "MalformedPolicyDocumentException")
    key = kms.create_key(Policy=policy(OWN))["KeyMetadata"]["KeyId"]
    fields = {"KeyId": key, "PolicyName": "default", "Policy": policy(stranger)}
    assert refusal(kms.put_key_policy, **fields)[1] == "MalformedPolicyDocumentException"
    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == json.loads(policy(OWN))


def test_a_cluster_takes_a_key_that_its_maker_may_hand_out(aws: Cloud) -> None:
    key, _alias = key_of(aws)
    asked = cluster_request(aws, DEV, encryptionConfig=[{"resources": ["secrets"], "provider": {"keyArn": key}}])
    may = [{"Action": ["eks:*", "iam:PassRole"], "Resource": "*"}]
    assert refusal(caller_who(aws, *may).client("eks").create_cluster, **asked) == (403, "AccessDeniedException")
    may.append({"Action": ["kms:DescribeKey", "kms:CreateGrant"], "Resource": key})
    caller_who(aws, *may).client("eks").create_cluster(**asked)
