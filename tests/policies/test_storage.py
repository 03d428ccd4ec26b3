"""Rules of images, buckets and caches."""

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
    resources_of,
    stack_without,
    with_input,
    with_toml,
)

PULL = "registry-protected-runner-pull"


@pytest.mark.parametrize(
    ("rule", "name", "path", "value", "said"),
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
def test_what_opens_a_store_is_found(rule: str, name: str, path: str, value: Any, said: str) -> None:
    assert_violation(rule, with_input(resource_named("prod", name), path, value), said)


@pytest.mark.parametrize(
    ("rule", "name", "path"),
    [
        ("C01", "registry-protected-runner", "imageTagMutability"),
        ("C02", PULL, "policy"),
        ("S01", "cache-public-access", "blockPublicPolicy"),
        ("S01", "cache-policy", "policy"),
    ],
)
def test_what_is_not_known_of_a_store_is_undecided(rule: str, name: str, path: str) -> None:
    assert_undecided(rule, with_input(resource_named("prod", name), path, UNKNOWN), path)


@pytest.mark.parametrize(
    ("name", "said"),
    [("cache-public-access", "not blocked"), ("cache-ownership", "access lists"), ("cache-policy", "no bucket policy")],
)
def test_a_bucket_without_one_of_its_guards_is_found(name: str, said: str) -> None:
    assert any(said in each.text for each in findings_on_stack("S01", stack_without(name)))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("cache.Path", "deploy", "uses deploy"),
        ("cache.Path", "deploy/deeper", "uses deploy"),
        ("cache.Path", "", "is empty"),
        ("cache.Path", ABSENT, "is empty"),
        ("cache.s3.BucketName", "somebody-elses", "the stack's cache bucket"),
    ],
)
def test_a_cache_that_two_classes_share_is_found(path: str, value: Any, said: str) -> None:
    found = [
        each.text
        for each in findings_on_stack(
            "S02", _with(with_toml(resource_named("prod", "medium-runner-release"), path, value))
        )
    ]
    assert any(said in each or "uses" in each for each in found), found


def _with(release: Any) -> list[Any]:
    # Last, so that the other classes have taken their paths.

    return [*(each for each in resources_of("prod") if each.urn != release.urn), release]


def test_a_cache_by_a_variable_and_one_that_is_not_known() -> None:
    release = resource_named("prod", "small-runner-release")
    assert_violation(
        "S02", with_input(release, "values.extraEnv", {"CACHE_PATH": "deploy"}), "sets the cache outside of"
    )
    assert_undecided("S02", with_input(release, "values.runners.config", UNKNOWN), "values.runners.config")
    assert_undecided("S02", with_input(release, "values.runners.config", "no toml"), "values.runners.config")


def test_a_registry_policy_is_judged_like_a_repositorys() -> None:
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
    ), "absent: nothing is granted"
