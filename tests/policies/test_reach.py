"""Rules that follow chains: who becomes which role, and what an open class writes that a protected one takes in."""

from __future__ import annotations

from typing import Any

import pytest

from policies.fields import UNKNOWN
from tests.support.policy_cases import (
    ABSENT,
    assert_violation,
    findings_on_stack,
    granting,
    report,
    resource_named,
    resources_of,
    stack_without,
    with_input,
    with_toml,
)

pytestmark = pytest.mark.thorough

TRUST = "assumeRolePolicy"
JOB, DELEGATED = "deploy-identity-job", "delegated-prod-protected-role"
OPEN_JOB = "arn:aws:iam::222222222222:role/cicd/runner-small"
PROTECTED = "arn:aws:iam::444444444444:role/cicd/delegated-role"


@pytest.mark.parametrize(
    ("name", "path", "value", "principal"),
    [
        (DELEGATED, f"{TRUST}.Statement.0.Condition.ArnEquals", {"aws:PrincipalArn": [OPEN_JOB, "arn:aws:iam::222222222222:role/cicd/runner-deploy"]}, None),
        (DELEGATED, f"{TRUST}.Statement.0.Condition.ArnEquals", {"aws:PrincipalArn": [OPEN_JOB]}, "job:prod/deploy"),
        ("small-identity-job", f"{TRUST}.Statement.0.Condition.StringEquals", ABSENT, "job:prod/review"),
    ],
)  # fmt: skip
def test_undeclared_and_missing_access_is_reported(name: str, path: str, value: Any, principal: str | None) -> None:
    texts = report("T10", with_input(resource_named("prod", name), path, value))
    if principal is None:
        assert texts == [], (
            "a trust alone opens nothing across accounts: the permission is missing, which rule T11 reports"
        )
    else:
        assert any(principal in text and "the settings" in text for text in texts), texts


def test_both_sides_of_a_trust_open_a_door_that_is_found() -> None:
    both = [
        with_input(
            resource_named("prod", DELEGATED),
            f"{TRUST}.Statement.0.Condition.ArnEquals",
            {"aws:PrincipalArn": [OPEN_JOB]},
        ),
        granting("small-identity-job-delegated-roles", "sts:AssumeRole", PROTECTED),
    ]
    urns = {each.urn for each in both}
    found = findings_on_stack("T10", [*(each for each in resources_of("prod") if each.urn not in urns), *both])
    chains = [each.text for each in found if each.text.startswith(f"job:prod/small can become {PROTECTED}")]
    assert chains, [each.text for each in found]
    assert f"{OPEN_JOB} -> {PROTECTED}" in chains[0], "the shortest chain explains it"
    assert found[0].urn


@pytest.mark.parametrize("name", [JOB, DELEGATED])
def test_a_trust_that_is_not_known_leaves_the_matrix_undecided(name: str) -> None:
    found = report("T10", with_input(resource_named("prod", name), TRUST, UNKNOWN))
    assert any(each.startswith("UNDECIDED: the access matrix in ") for each in found), found


def test_a_role_that_is_missing_is_found() -> None:
    rest = [each for each in resources_of("prod") if each.name != DELEGATED]
    assert any("and the settings declare that it can" in each.text for each in findings_on_stack("T10", rest))


@pytest.mark.parametrize("lost", ["access-dev-deployer-policy", "access-dev-reader-role", "access-dev-deployer-role"])
def test_a_deployer_who_loses_what_the_foundation_gives_it_is_found(lost: str) -> None:
    found = findings_on_stack("T10", stack_without(lost, "foundation"), "foundation")
    role = "platform-deployer" if lost.endswith("deployer-role") else "platform-reader"
    assert any(
        each.text.startswith(
            f"deployer cannot become arn:aws:iam::333333333333:role/cicd-platform/{role}, and the settings declare that it can"
        )
        for each in found
    ), [each.text for each in found]


ECR = "arn:aws:ecr:eu-central-1:222222222222:repository/"
STATE = "arn:aws:s3:::o-senncloud01-state-"


def test_an_image_that_an_open_class_pushes_and_a_protected_one_runs_is_found() -> None:
    assert_violation(
        "I01", granting("delegated-cicd-open-ecr-push", "ecr:PutImage", f"{ECR}*"), "job:prod/small can write image"
    )
    release = resource_named("prod", "deploy-runner-release")
    open_images = ["222222222222.dkr.ecr.eu-central-1.amazonaws.com/open/**"]
    assert_violation("I01", with_toml(release, "kubernetes.allowed_images", open_images), "job:prod/deploy consumes it")
    assert_violation("I01", with_toml(release, "kubernetes.allowed_images", ["*"]), "job:prod/deploy consumes it")


def test_state_or_a_cache_that_an_open_class_writes_and_a_protected_one_reads_is_found() -> None:
    state = granting("delegated-cicd-open-ecr-push", "s3:PutObject", f"{STATE}222222222222-eu-central-1/*")
    assert_violation("I02", state, "job:prod/small can write state")
    release = with_toml(resource_named("prod", "small-runner-release"), "cache.Path", "deploy")
    assert_violation("I02", release, "job:prod/small can write cache")


def test_integrity_is_undecided_where_a_permission_is_not_known() -> None:
    for rule, name in (("I01", "delegated-cicd-open-ecr-push"), ("I02", "delegated-dev-open-state")):
        found = report(rule, with_input(resource_named("prod", name), "policy", UNKNOWN))
        assert any(each.startswith("UNDECIDED") for each in found), f"{rule}: {found}"
