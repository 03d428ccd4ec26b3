"""Rules that follow chains: access of principals to roles, and flows from open into protected classes."""

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
def test_a_changed_trust_reports_undeclared_and_missing_access(
    name: str, path: str, value: Any, principal: str | None
) -> None:
    texts = report("T10", with_input(resource_named("prod", name), path, value))
    if principal is None:
        assert texts == [], "access across accounts also needs a permission; rule T11 reports the missing one"
    else:
        assert any(principal in text and "the settings" in text for text in texts), texts


def test_undeclared_access_by_trust_and_permission_is_reported_with_its_chain() -> None:
    both = [
        with_input(
            resource_named("prod", DELEGATED),
            f"{TRUST}.Statement.0.Condition.ArnEquals",
            {"aws:PrincipalArn": [OPEN_JOB]},
        ),
        granting("small-identity-job-delegated-roles", "sts:AssumeRole", PROTECTED),
    ]
    changed_urns = {resource.urn for resource in both}
    findings = findings_on_stack(
        "T10", [*(resource for resource in resources_of("prod") if resource.urn not in changed_urns), *both]
    )
    chains = [finding.text for finding in findings if finding.text.startswith(f"job:prod/small can become {PROTECTED}")]
    assert chains, [finding.text for finding in findings]
    assert f"{OPEN_JOB} -> {PROTECTED}" in chains[0], "the message contains the shortest chain"
    assert findings[0].urn


@pytest.mark.parametrize("name", [JOB, DELEGATED])
def test_an_unknown_trust_leaves_the_access_matrix_undecided(name: str) -> None:
    messages = report("T10", with_input(resource_named("prod", name), TRUST, UNKNOWN))
    assert any(message.startswith("UNDECIDED: the access matrix in ") for message in messages), messages


def test_a_missing_role_is_reported() -> None:
    remaining = [resource for resource in resources_of("prod") if resource.name != DELEGATED]
    assert any(
        "and the settings declare that it can" in finding.text for finding in findings_on_stack("T10", remaining)
    )


@pytest.mark.parametrize(
    "missing_resource", ["access-dev-deployer-policy", "access-dev-reader-role", "access-dev-deployer-role"]
)
def test_a_deployer_that_loses_access_from_the_foundation_is_reported(missing_resource: str) -> None:
    findings = findings_on_stack("T10", stack_without(missing_resource, "foundation"), "foundation")
    role = "platform-deployer" if missing_resource.endswith("deployer-role") else "platform-reader"
    assert any(
        finding.text.startswith(
            f"deployer cannot become arn:aws:iam::333333333333:role/cicd-platform/{role}, and the settings declare that it can"
        )
        for finding in findings
    ), [finding.text for finding in findings]


ECR = "arn:aws:ecr:eu-central-1:222222222222:repository/"
STATE = "arn:aws:s3:::o-senncloud01-state-"


def test_pushing_an_image_that_a_protected_class_runs_is_a_violation() -> None:
    assert_violation(
        "I01", granting("delegated-cicd-open-ecr-push", "ecr:PutImage", f"{ECR}*"), "job:prod/small can write image"
    )
    release = resource_named("prod", "deploy-runner-release")
    open_images = ["222222222222.dkr.ecr.eu-central-1.amazonaws.com/open/**"]
    assert_violation("I01", with_toml(release, "kubernetes.allowed_images", open_images), "job:prod/deploy consumes it")
    assert_violation("I01", with_toml(release, "kubernetes.allowed_images", ["*"]), "job:prod/deploy consumes it")


def test_writing_state_or_a_cache_that_a_protected_class_reads_is_a_violation() -> None:
    state = granting("delegated-cicd-open-ecr-push", "s3:PutObject", f"{STATE}222222222222-eu-central-1/*")
    assert_violation("I02", state, "job:prod/small can write state")
    release = with_toml(resource_named("prod", "small-runner-release"), "cache.Path", "deploy")
    assert_violation("I02", release, "job:prod/small can write cache")


def test_rules_about_flows_are_undecided_with_an_unknown_permission() -> None:
    for rule, name in (("I01", "delegated-cicd-open-ecr-push"), ("I02", "delegated-dev-open-state")):
        messages = report(rule, with_input(resource_named("prod", name), "policy", UNKNOWN))
        assert any(message.startswith("UNDECIDED") for message in messages), f"{rule}: {messages}"
