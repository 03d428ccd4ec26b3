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
        ("C02", PULL, "policy.Statement.0.Condition", ABSENT, "lets anybody read"),
        ("C02", PULL, "policy.Statement.0.Condition.StringEquals", {"aws:PrincipalOrgID": "o-somebodyelse"}, "lets any account read"),
        ("C02", PULL, "policy.Statement.0.Condition", {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-senncloud01"}}, "lets anybody read"),
        ("C02", PULL, "policy.Statement.0.Principal", {"AWS": "arn:aws:iam::999999999999:root"}, "999999999999"),
        ("C02", PULL, "policy.Statement.0.Action", "ecr:*", "lets account admin write"),
        ("C02", PULL, "policy.Statement.0.Action", ["ecr:BatchGetImage", "ecr:PutImage"], "write (ecr:PutImage)"),
        ("S01", "cache-public-access", "blockPublicPolicy", False, "not blocked in all four ways"),
        ("S01", "cache-public-access", "blockPublicAcls", ABSENT, "not blocked in all four ways"),
        ("S01", "cache-ownership", "rule.objectOwnership", "ObjectWriter", "BucketOwnerEnforced"),
        ("S01", "cache-policy", "policy.Statement.0.Condition", {"Bool": {"aws:SecureTransport": "true"}}, "without TLS"),
        ("S01", "cache-policy", "policy.Statement.1.Effect", "Allow", "from outside organisation"),
        ("S01", "cache-policy", "policy.Statement.1.Condition.StringNotEqualsIfExists", {"aws:PrincipalOrgID": "o-other"}, "from outside organisation"),
        ("S01", "cache-policy", "policy", '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}}', "no statement refuses all requests without TLS"),
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


@pytest.mark.parametrize(
    "name", ["cache-public-access", "cache-ownership", "cache-policy", "cache-encryption", "cache-lifecycle", PULL]
)
def test_two_resources_that_set_the_same_of_one_store_are_both_violations(name: str) -> None:
    original = resource_named("prod", name)
    rule = "C02" if name == PULL else "S01"
    second = new_resource(original, "second", **original.inputs)
    messages = report(rule, second)
    assert len([text for text in messages if "the last one that is written wins" in text]) == 2, messages


def test_a_guard_of_a_bucket_that_another_stack_makes_is_a_violation() -> None:
    block = with_input(
        resource_named("prod", "cache-public-access"), "bucket", "o-senncloud01-state-222222222222-eu-central-1"
    )
    assert_violation("S01", block, "does not make the bucket o-senncloud01-state-222222222222-eu-central-1")


SMALL = "arn:aws:iam::222222222222:role/cicd/runner-small"


@pytest.mark.parametrize(
    ("rule", "name", "message"),
    [
        ("S01", "cache-policy", "runner-small write"),
        ("K01", "cache-key", "runner-small read"),
        ("C02", PULL, "runner-small write"),
    ],
)
def test_a_policy_that_admits_a_role_is_a_violation(rule: str, name: str, message: str) -> None:
    store = resource_named("prod", name)
    document = json.loads(store.inputs["policy"])
    actions = {"S01": "s3:PutObject", "K01": "kms:Decrypt", "C02": "ecr:PutImage"}
    statement = {"Effect": "Allow", "Principal": {"AWS": SMALL}, "Action": actions[rule], "Resource": "*"}
    document["Statement"].append(statement)
    assert_violation(rule, with_input(store, "policy", json.dumps(document)), message)


def test_a_registry_policy_is_evaluated_like_a_repository_policy() -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "ecr:ReplicateImage"}
    registry = new_resource(
        resource_named("prod", PULL),
        "r",
        "aws:ecr/registryPolicy:RegistryPolicy",
        policy=json.dumps({"Statement": statement}),
    )
    assert_violation("C02", registry, "lets anybody write")
    assert (
        report("C02", new_resource(resource_named("prod", PULL), "r", "aws:ecr/registryPolicy:RegistryPolicy")) == []
    ), "an absent policy grants nothing"


def test_an_action_that_is_not_known_may_be_any_for_whom_a_policy_names() -> None:
    role = "arn:aws:iam::222222222222:role/cicd/runner-small"
    for rule, name in (("S01", "cache-policy"), ("C02", PULL)):
        policy = resource_named("prod", name)
        document = json.loads(policy.inputs["policy"])
        document["Statement"].append(
            {"Effect": "Allow", "Principal": {"AWS": role}, "Action": UNKNOWN, "Resource": "*"}
        )
        assert_violation(rule, with_input(policy, "policy", document), "write (")
