"""Rules about images, buckets and caches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from access.resource import UNKNOWN
from tests.support.policy_cases import (
    ABSENT,
    assert_undecided,
    assert_violation,
    findings_on_stack,
    new_resource,
    report,
    resource_named,
    stack_without,
    with_input,
    with_toml,
)

PULL = "registry-protected-runner-pull"


@pytest.mark.parametrize(
    ("rule", "name", "path", "value", "message"),
    [
        ("C01", "registry-protected-runner", "imageTagMutability", "MUTABLE", "is MUTABLE, not IMMUTABLE"),
        ("C01", "registry-protected-runner", "imageTagMutability", ABSENT, "is MUTABLE, not IMMUTABLE"),
        ("C01", "registry-protected-runner", "imageScanningConfiguration", ABSENT, "scanOnPush is off"),
        ("C02", PULL, "policy.Statement.0.Condition", ABSENT, "admits everybody"),
        ("C02", PULL, "policy.Statement.0.Condition.StringEquals", {"aws:PrincipalOrgID": "o-somebodyelse"}, "admits everybody"),
        ("C02", PULL, "policy.Statement.0.Condition", {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-senncloud01"}}, "admits everybody"),
        ("C02", PULL, "policy.Statement.0.Principal", {"AWS": "arn:aws:iam::999999999999:root"}, "999999999999"),
        ("C02", PULL, "policy.Statement.0.Action", "ecr:*", "allows more than to pull: ecr:*"),
        ("C02", PULL, "policy.Statement.0.Action", ["ecr:BatchGetImage", "ecr:PutImage"], "ecr:putimage"),
        ("S01", "cache-public-access", "blockPublicPolicy", False, "not blocked in all four ways"),
        ("S01", "cache-public-access", "blockPublicAcls", ABSENT, "not blocked in all four ways"),
        ("S01", "cache-ownership", "rule.objectOwnership", "ObjectWriter", "BucketOwnerEnforced"),
        ("S01", "cache-policy", "policy.Statement.0.Condition", {"Bool": {"aws:SecureTransport": "true"}}, "without TLS"),
        ("S01", "cache-policy", "policy.Statement.1.Effect", "Allow", "from outside organisation"),
        ("S01", "cache-policy", "policy.Statement.1.Condition.StringNotEqualsIfExists", {"aws:PrincipalOrgID": "o-other"}, "from outside organisation"),
        ("S01", "cache-policy", "policy", '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}}', "admits everybody"),
    ],
)  # fmt: skip
def test_an_input_that_opens_a_store_is_a_violation(rule: str, name: str, path: str, value: Any, message: str) -> None:
    assert_violation(rule, with_input(resource_named("prod", name), path, value), message)


@pytest.mark.parametrize(
    ("rule", "name", "path"),
    [
        ("C01", "registry-protected-runner", "imageTagMutability"),
        ("C02", PULL, "policy"),
        ("S01", "cache-public-access", "blockPublicPolicy"),
        ("S01", "cache-policy", "policy"),
    ],
)
def test_an_unknown_input_of_a_store_is_undecided(rule: str, name: str, path: str) -> None:
    assert_undecided(rule, with_input(resource_named("prod", name), path, UNKNOWN), path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("cache-public-access", "not blocked"), ("cache-ownership", "access lists"), ("cache-policy", "no bucket policy")],
)
def test_a_bucket_without_a_protecting_resource_is_a_violation(name: str, message: str) -> None:
    assert any(message in finding.text for finding in findings_on_stack("S01", stack_without(name)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("cache.Path", "deploy", "is deploy, not medium"),
        ("cache.Path", "medium/../deploy", "is medium/../deploy, not medium"),
        ("cache.Path", "", "is missing, not medium"),
        ("cache.Path", ABSENT, "is missing, not medium"),
        ("cache.s3.BucketName", "somebody-elses", "is somebody-elses, not o-senncloud01-cache"),
    ],
)
def test_a_cache_outside_of_the_classs_own_prefix_is_a_violation(path: str, value: Any, message: str) -> None:
    assert_violation("S02", with_toml(resource_named("prod", "medium-runner-release"), path, value), message)


@pytest.mark.parametrize("text", [UNKNOWN, "no toml"])
def test_an_unreadable_cache_is_undecided(text: Any) -> None:
    release = with_input(resource_named("prod", "small-runner-release"), "values.runners.config", text)
    assert_undecided("S02", release, "values.runners.config")


def test_a_registry_policy_is_evaluated_like_a_repository_policy() -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "ecr:ReplicateImage"}
    registry = new_resource(
        resource_named("prod", PULL),
        "r",
        "aws:ecr/registryPolicy:RegistryPolicy",
        policy=json.dumps({"Statement": statement}),
    )
    assert_violation("C02", registry, "admits everybody")
    assert (
        report("C02", new_resource(resource_named("prod", PULL), "r", "aws:ecr/registryPolicy:RegistryPolicy")) == []
    ), "an absent policy grants nothing"
