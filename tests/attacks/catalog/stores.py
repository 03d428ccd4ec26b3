"""Mutations of stores: images, buckets, state, keys and the job cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi_aws as aws

from components.documents import capabilities, config_toml, registry, storage
from config import foundation
from config.capabilities import Capability, Level
from tests.attacks.change import GONE, adding_statement, put, with_inputs, with_result
from tests.attacks.mutation import seen_by
from tests.attacks.registered import admitting, granting, registered_first, with_document, with_further, with_values

if TYPE_CHECKING:
    from tests.attacks.change import Change, Edit

HERE = "arn:aws:ecr:eu-central-1:222222222222:repository"
CACHE = "arn:aws:s3:::o-senncloud01-cache-222222222222-eu-central-1"
STATE = "arn:aws:s3:::o-senncloud01-state-222222222222-eu-central-1"


def with_capability(capability: Capability, level: Level, edit: Edit) -> Change:
    """Change the document of a capability of a trust level in the platform account."""
    return with_result(
        capabilities.capability_document,
        edit,
        lambda arguments: (
            (arguments["capability"], arguments["grantee"].level, arguments["grantee"].account_id)
            == (capability, level, "222222222222")
        ),
    )


def everybody(document: Any) -> Any:
    """Return the policy of the cache bucket with read access for any principal."""
    return adding_statement({"Principal": "*", "Action": "s3:GetObject", "Resource": f"{CACHE}/*"})(document)


MUTATIONS = [
    seen_by(
        "P05 I01",
        "A16",
        "the open level pushes to every repository",
        with_capability(Capability.ECR_PUSH, Level.OPEN, put(f"{HERE}/*", "Statement", 1, "Resource")),
    ),
    seen_by(
        "P05",
        "A16",
        "the protected level pushes to open repositories, too",
        with_capability(Capability.ECR_PUSH, Level.PROTECTED, put(f"{HERE}/open/*", "Statement", 1, "Resource")),
    ),
    seen_by(
        "C01",
        "A16",
        "tags can be moved",
        with_inputs(aws.ecr.Repository, "registry-protected-runner", image_tag_mutability="MUTABLE"),
    ),
    seen_by(
        "C02",
        "A16",
        "every account of the organisation pushes",
        with_result(registry.pull_policy, put(lambda actions: [*actions, "ecr:PutImage"], "Statement", 0, "Action")),
    ),
    seen_by(
        "C02",
        "A16",
        "every account of AWS pulls",
        with_result(registry.pull_policy, put({}, "Statement", 0, "Condition")),
    ),
    seen_by(
        "P06",
        "A17",
        "the open class's manager writes every class's cache",
        with_result(
            storage.cache_access,
            put(f"{CACHE}/*", "Statement", 1, "Resource"),
            lambda arguments: arguments["prefix"] == "small",
        ),
    ),
    seen_by(
        "P06",
        "A17",
        "a manager writes the cache beyond all classes",
        with_result(
            storage.cache_access,
            put([f"{CACHE}/deploy/*", f"{CACHE}/?"], "Statement", 1, "Resource"),
            lambda arguments: arguments["prefix"] == "deploy",
        ),
    ),
    seen_by("S01", "A17", "the cache's bucket lets everybody in", with_result(storage.bucket_policy, everybody)),
    seen_by(
        "S01",
        "A17",
        "the cache's bucket can be made public",
        with_inputs(aws.s3.BucketPublicAccessBlock, "cache-public-access", block_public_policy=False),
    ),
    seen_by(
        "I01 P05",
        "A28",
        "the open level pushes to one protected repository",
        with_capability(
            Capability.ECR_PUSH,
            Level.OPEN,
            adding_statement({"Action": "ecr:PutImage", "Resource": f"{HERE}/protected/apps"}),
        ),
    ),
    seen_by(
        "I02 P10",
        "A29",
        "the open level writes the protected level's state",
        with_capability(
            Capability.ECR_PUSH,
            Level.OPEN,
            adding_statement({"Action": "s3:PutObject", "Resource": f"{STATE}/protected/*"}),
        ),
    ),
    seen_by(
        "I02 P10",
        "A29",
        "the protected level reads the open level's state",
        with_capability(
            Capability.STATE,
            Level.PROTECTED,
            put(f"{STATE}/*", "Statement", 1, "Resource"),
        ),
        settings={"accounts.cicd.open": ["ecr-push", "state"]},
    ),
    seen_by(
        "I02 S02",
        "A29",
        "classes share the root of the cache",
        with_result(config_toml.config_template, put("", "runners", 0, "cache", "Path")),
    ),
]
SMALL = "arn:aws:iam::222222222222:role/cicd/runner-small"
NAMED_LIKE_US = "arn:aws:iam::999999999999:role/222222222222"
BUCKET = CACHE.rpartition(":")[2]
EVERYTHING = [CACHE, f"{CACHE}/*"]
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
OPEN_BLOCK = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), False)


def policy_for(principal: Any, action: str, resource: Any = "*", **more: Any) -> str:
    """Return a policy with one statement."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource, **more}
    return json.dumps({"Statement": [statement]})


def narrowed(index: int, operator: str, key: str, value: str) -> Edit:
    """Return an edit that adds a condition to a denial."""
    return put({key: value}, "Statement", index, "Condition", operator)


MUTATIONS += [
    seen_by("S01", "A17", name, edit=with_document("cache-policy", edit))
    for name, edit in {
        "plain HTTP is refused from some addresses only": narrowed(0, "IpAddress", "aws:SourceIp", "10.0.0.0/8"),
        "plain HTTP is refused but in one network": narrowed(0, "StringNotEquals", "aws:SourceVpc", "vpc-1"),
        "plain HTTP is refused but to one account": narrowed(
            0, "StringNotEquals", "aws:PrincipalAccount", "999999999999"
        ),
        "plain HTTP is refused for some objects only": put(f"{CACHE}/deploy/*", "Statement", 0, "Resource"),
        "plain HTTP is refused for the bucket only": put(CACHE, "Statement", 0, "Resource"),
        "plain HTTP is refused for one action only": put("s3:PutObject", "Statement", 0, "Action"),
        "plain HTTP is refused for one account only": put({"AWS": "222222222222"}, "Statement", 0, "Principal"),
        "strangers are refused but for one role": narrowed(
            1, "ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::999999999999:role/*"
        ),
        "strangers are refused but for one tag": narrowed(1, "StringNotEquals", "aws:PrincipalTag/team", "partner"),
        "strangers are refused from some addresses only": narrowed(1, "NotIpAddress", "aws:SourceIp", "203.0.113.0/24"),
        "strangers are refused for objects only": put(f"{CACHE}/*", "Statement", 1, "Resource"),
        "strangers are refused but one, by NotPrincipal": lambda document: put(
            {"AWS": "arn:aws:iam::999999999999:root"}, "Statement", 1, "NotPrincipal"
        )(put(GONE, "Statement", 1, "Principal")(document)),
    }.items()
]
MUTATIONS += [
    seen_by(
        "S01", "A17", f"the cache's bucket admits {name}", edit=admitting("cache-policy", principal, action, **more)
    )
    for name, principal, action, more in (
        ("the open class, to write", {"AWS": SMALL}, "s3:PutObject", {"Resource": f"{CACHE}/deploy/*"}),
        ("the open class, to change the policy", {"AWS": SMALL}, "s3:PutBucketPolicy", {"Resource": CACHE}),
        (
            "the open class, by a condition",
            {"AWS": "222222222222"},
            "s3:*",
            {"Resource": EVERYTHING, "Condition": {"ArnEquals": {"aws:PrincipalArn": SMALL}}},
        ),
        ("the account dev", {"AWS": "333333333333"}, "s3:GetObject", {"Resource": f"{CACHE}/*"}),
        ("a stranger with our id in its name", {"AWS": NAMED_LIKE_US}, "s3:GetObject", {"Resource": f"{CACHE}/*"}),
        ("a service for anybody", {"Service": "cloudfront.amazonaws.com"}, "s3:GetObject", {"Resource": f"{CACHE}/*"}),
        ("a canonical user", {"CanonicalUser": "0123456789abcdef"}, "s3:GetObject", {"Resource": f"{CACHE}/*"}),
    )
]
MUTATIONS += [
    seen_by("S01", "A17", name, edit=registered_first(with_further(token, "cache-policy", bucket=bucket, **inputs)))
    for name, token, bucket, inputs in (
        (
            "a second policy of the cache's bucket, registered first",
            BUCKET_POLICY,
            BUCKET,
            {"policy": policy_for({"AWS": SMALL}, "s3:*", EVERYTHING)},
        ),
        (
            "a second block of public access that blocks nothing, registered first",
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            BUCKET,
            OPEN_BLOCK,
        ),
        (
            "a second ownership that switches access lists on",
            "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
            BUCKET,
            {"rule": {"objectOwnership": "ObjectWriter"}},
        ),
        (
            "a policy of the foundation's state bucket",
            BUCKET_POLICY,
            STATE.rpartition(":")[2],
            {"policy": policy_for({"AWS": SMALL}, "s3:*", [STATE, f"{STATE}/*"])},
        ),
        (
            "public access is not blocked for the account",
            "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
            None,
            OPEN_BLOCK,
        ),
    )
]
MUTATIONS += [
    seen_by(
        "S01",
        "A17",
        "the bucket itself has a policy, too",
        edit=with_values("cache-bucket", policy=policy_for({"AWS": SMALL}, "s3:*", EVERYTHING)),
    ),
    seen_by(
        "S01",
        "A29",
        "prod's state bucket admits dev's delegated role",
        edit=admitting(
            "state-prod-policy",
            {"AWS": "arn:aws:iam::333333333333:role/cicd/delegated-role-open"},
            "s3:GetObject",
            Resource="arn:aws:s3:::o-senncloud01-state-444444444444-eu-central-1/*",
        ),
        stack=foundation.STACK,
    ),
]
VIA_S3 = {"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}
MUTATIONS += [
    seen_by("K01", "A29", f"the cache's key admits {name}", edit=admitting("cache-key", principal, action, **more))
    for name, principal, action, more in (
        ("the open class, to decrypt", {"AWS": SMALL}, "kms:Decrypt", {"Resource": "*"}),
        ("the open class, to hand it on, as `kms:Create*`", {"AWS": SMALL}, "kms:Create*", {"Resource": "*"}),
        ("the account dev", {"AWS": "333333333333"}, "kms:GenerateDataKey", {"Resource": "*"}),
        ("everybody through S3", {"AWS": "*"}, "kms:Decrypt", {"Resource": "*", "Condition": VIA_S3}),
        ("a service", {"Service": "logs.eu-central-1.amazonaws.com"}, "kms:Decrypt", {"Resource": "*"}),
        ("a stranger with our id in its name", {"AWS": NAMED_LIKE_US}, "kms:Decrypt", {"Resource": "*"}),
    )
]
MUTATIONS += [
    seen_by(
        "K01",
        "A29",
        "a second policy of the cache's key",
        edit=with_further(
            "aws:kms/keyPolicy:KeyPolicy", "cache-key", keyId="cache-key", policy=policy_for({"AWS": SMALL}, "kms:*")
        ),
    ),
    seen_by(
        "K01",
        "A29",
        "a grant of the cache's key",
        edit=with_further(
            "aws:kms/grant:Grant", "cache-key", keyId="cache-key", granteePrincipal=SMALL, operations=["Decrypt"]
        ),
    ),
]
PULL = "registry-protected-runner-pull"
MUTATIONS += [
    seen_by(
        "C02", "A16", f"the runner image's repository admits {name}", edit=admitting(PULL, principal, action, **more)
    )
    for name, principal, action, more in (
        ("the open class, to push", {"AWS": SMALL}, ["ecr:PutImage"], {}),
        (
            "the open class, to push, by a condition",
            {"AWS": "222222222222"},
            "ecr:Put*",
            {"Condition": {"ArnEquals": {"aws:PrincipalArn": SMALL}}},
        ),
        ("the open class, to change the policy", {"AWS": SMALL}, "ecr:SetRepositoryPolicy", {}),
        ("a stranger with our id in its name", {"AWS": NAMED_LIKE_US}, "ecr:BatchGetImage", {}),
        ("a service for anybody", {"Service": "codebuild.amazonaws.com"}, "ecr:BatchGetImage", {}),
    )
]
MUTATIONS += [
    seen_by(
        "C02",
        "A16",
        "the registry takes images that another account replicates",
        edit=with_further(
            "aws:ecr/registryPolicy:RegistryPolicy",
            PULL,
            policy=policy_for({"AWS": "333333333333"}, "ecr:ReplicateImage", f"{HERE}/*"),
        ),
    ),
    seen_by(
        "C02",
        "A16",
        "a second policy of the runner image's repository",
        edit=with_further(
            "aws:ecr/repositoryPolicy:RepositoryPolicy", PULL, repository="protected/runner", policy='{"Statement": []}'
        ),
    ),
]
MUTATIONS += [
    seen_by(
        "Q01",
        "A15",
        f"a topic or queue admits {name}",
        edit=with_further(token, "cache-bucket", **store, policy=policy_for(principal, action, **more)),
    )
    for name, token, store, principal, action, more in (
        ("everybody", "aws:sns/topicPolicy:TopicPolicy", {"arn": "~"}, "*", "sns:Publish", {}),
        (
            "a service for anybody",
            "aws:sns/topicPolicy:TopicPolicy",
            {"arn": "~"},
            {"Service": "cloudwatch.amazonaws.com"},
            "sns:Publish",
            {},
        ),
        (
            "a topic of an account with our id in a name",
            "aws:sqs/queuePolicy:QueuePolicy",
            {"queueUrl": "~"},
            "*",
            "sqs:SendMessage",
            {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:999999999999:222222222222*"}}},
        ),
        (
            "a stranger, to read",
            "aws:sqs/queuePolicy:QueuePolicy",
            {"queueUrl": "~"},
            {"AWS": "999999999999"},
            "sqs:*",
            {},
        ),
    )
]
PROD_STATE, OPEN_STATE = (
    f"arn:aws:s3:::o-senncloud01-state-{account}-eu-central-1" for account in ("444444444444", "333333333333")
)
MUTATIONS += [
    seen_by("P10", "A29", f"{name}: {action}", edit=granting(policy, action, resource))
    for name, policy, action, resource in (
        (
            "protected state in prod",
            "delegated-prod-protected-state",
            "s3:DeleteObjectVersion",
            f"{PROD_STATE}/protected/*",
        ),
        ("protected state in prod", "delegated-prod-protected-state", "s3:DeleteObject", f"{PROD_STATE}/protected/*"),
        ("open state in prod", "delegated-prod-protected-state", "s3:Get*", f"{PROD_STATE}/open/*"),
        ("the platform's state in dev", "delegated-dev-open-state", "s3:GetObject", f"{OPEN_STATE}/platform/*"),
        *(
            ("prod's state bucket", "delegated-prod-protected-state", action, PROD_STATE)
            for action in (
                *("s3:PutBucketPolicy", "s3:PutReplicationConfiguration", "s3:PutLifecycleConfiguration"),
                *("s3:PutBucketVersioning", "s3:*PublicAccessBlock"),
            )
        ),
    )
]
MUTATIONS += [
    seen_by("P06", "A17", f"the cache: {action} of {policy}", edit=granting(policy, action, resource))
    for policy, action, resource in (
        ("small-identity-manager-cache", "s3:PutLifecycleConfiguration", CACHE),
        ("small-identity-manager-cache", "s3:Put?bject", f"{CACHE}/*"),
        ("delegated-cicd-open-ecr-push", "s3:GetObjectVersion", f"{CACHE}/deploy/*"),
        ("network-flow-log-policy", "s3:PutObject", f"{CACHE}/*"),
    )
]
MUTATIONS += [
    seen_by(
        "P05",
        "A16",
        f"the open level and its images: {action}",
        edit=granting("delegated-cicd-open-ecr-push", action, where),
    )
    for action, where in (
        *((f"ecr:{name}", f"{HERE}/open/*") for name in ("PutImageTagMutability", "BatchDeleteImage", "TagResource")),
        *((f"ecr:{name}", "*") for name in ("PutReplicationConfiguration", "PutRegistryPolicy", "CreatePullThrough*")),
    )
]
MUTATIONS += [
    seen_by(
        # What reads every parameter reads the runners' tokens, too.
        "P11 P13" if action.startswith("ssm:") else "P11",
        "A29",
        f"the open level in dev and keys: {action}",
        edit=granting("delegated-dev-open-ecs", action),
    )
    for action in (
        *("kms:PutKeyPolicy", "kms:CreateGrant", "kms:ScheduleKeyDeletion", "kms:UpdateAlias", "kms:ReEncrypt*"),
        *("kms:Decrypt", "secretsmanager:GetSecretValue", "ssm:GetParameter*"),
    )
]
MUTATIONS += [
    seen_by(
        "P11",
        "A29",
        "the platform's reader decrypts with every key",
        edit=granting("access-cicd-reader-policy", "kms:Decrypt"),
        stack=foundation.STACK,
    )
]
