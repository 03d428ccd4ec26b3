"""Mutations of stores: images, buckets, state and the job cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi_aws as aws

from components.documents import capabilities, config_toml, registry, storage
from config.capabilities import Capability, Level
from tests.attacks.change import adding_statement, put, with_inputs, with_result
from tests.attacks.mutation import seen_by

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
        "I02",
        "A29",
        "the open level writes the protected level's state",
        with_capability(
            Capability.ECR_PUSH,
            Level.OPEN,
            adding_statement({"Action": "s3:PutObject", "Resource": f"{STATE}/protected/*"}),
        ),
    ),
    seen_by(
        "I02",
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
