"""Rules of permissions: what would make a role more than it is, in every spelling."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from access.resource import UNKNOWN
from policies.type_tokens import ATTACHMENT, POLICY, ROLE_POLICY
from tests.support.policy_cases import (
    ABSENT,
    assert_undecided,
    assert_violation,
    new_resource,
    report,
    resource_named,
    resources_with,
    run_with,
    with_input,
)
from tests.support.program import raw

if TYPE_CHECKING:
    from access.resource import Resource

pytestmark = pytest.mark.thorough

DEPLOYS, ACCOUNT = "delegated-prod-protected-ecs", "444444444444"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/cicd-platform/delegated-boundary"
DEPLOY = f"arn:aws:iam::{ACCOUNT}:role/deploy/*"
RULES = ("P01", "P02", "P03", "P07")


def granting(action: Any, resource: Any = "*", condition: Any = None, name: str = DEPLOYS) -> Resource:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return granting_all(statement if condition is None else {**statement, "Condition": condition}, name=name)


def granting_all(*statements: Any, name: str = DEPLOYS) -> Resource:
    return with_input(
        resource_named("prod", name), "policy", json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    )


@pytest.mark.parametrize(
    ("rule", "action", "resource", "condition", "said"),
    [
        ("P01", "*", "*", None, "grants *"),
        ("P01", "s3:*", "*", None, "grants s3:* on everything"),
        ("P01", "s3:**", "*", None, "grants s3:** on everything"),
        ("P01", "*:*", "arn:aws:s3:::b", None, "grants *:*"),
        ("P01", "i?m:GetRole", "*", None, "grants i?m:GetRole"),
        ("P02", "iam:CreatePolicyVersion", "*", None, "iam:CreatePolicyVersion beyond the boundary"),
        ("P02", "IAM:createpolicyversion", "*", None, "iam:CreatePolicyVersion"),
        ("P02", "iam:Create*", "*", None, "and more beyond the boundary"),
        ("P02", "iam:PutRolePolicy", DEPLOY, None, "iam:PutRolePolicy"),
        ("P02", "iam:PutRolePolicy", DEPLOY, {"StringEqualsIfExists": {"iam:PermissionsBoundary": BOUNDARY}}, "iam:PutRolePolicy"),
        ("P02", "iam:PutRolePolicy", DEPLOY, {"StringEquals": {"iam:PermissionsBoundary": f"{BOUNDARY}-other"}}, "iam:PutRolePolicy"),
        ("P02", "iam:PutRolePolicy", [DEPLOY, "*"], {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}, "iam:PutRolePolicy"),
        ("P02", "iam:UpdateAssumeRolePolicy", DEPLOY, {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}, "iam:UpdateAssumeRolePolicy"),
        ("P02", "iam:DeleteRolePermissionsBoundary", DEPLOY, None, "iam:DeleteRolePermissionsBoundary"),
        ("P02", "iam:CreateRole", "arn:aws:iam::111111111111:role/deploy/*", {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}, "iam:CreateRole"),
        ("P03", "iam:PassRole", "*", {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}, "passes roles beyond /deploy/"),
        ("P03", "iam:Pass*", DEPLOY, {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}, "services other than"),
        ("P03", "iam:passrole", DEPLOY, None, "services other than"),
        ("P03", "iam:PassRole", DEPLOY, {"StringLike": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}, "services other than"),
        ("P03", "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/cicd/delegated-role", {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}, "beyond /deploy/"),
        ("P07", "eks:CreateAccessEntry", "*", None, "eks:CreateAccessEntry"),
        ("P07", ["eks:Describe*", "eks:Associate*"], "*", None, "eks:AssociateAccessPolicy"),
        ("P07", "eks:CreatePodIdentityAssociation", "*", None, "eks:CreatePodIdentityAssociation"),
    ],
)  # fmt: skip
def test_what_makes_a_role_more_than_it_is_is_found(
    rule: str, action: Any, resource: Any, condition: Any, said: str
) -> None:
    assert_violation(rule, granting(action, resource, condition), said)


@pytest.mark.parametrize("rule", ["P01", "P02", "P03", "P07"])
def test_not_action_grants_all_the_rest(rule: str) -> None:
    assert_violation(rule, granting_all({"Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*"}), "")


def test_what_is_limited_to_deployments_and_the_boundary_passes() -> None:
    grants = granting(
        ["iam:CreateRole", "iam:PutRolePolicy"], DEPLOY, {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}
    )
    assert [text for rule in RULES for text in report(rule, grants)] == []


def test_a_denial_is_no_grant() -> None:
    denies = granting_all({"Effect": "Deny", "Action": "*", "Resource": "*"})
    assert [text for rule in RULES for text in report(rule, denies)] == []


def test_permissions_are_found_wherever_a_role_keeps_them() -> None:
    role = resource_named("prod", "delegated-prod-protected-role")
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*"}})
    assert_violation("P02", with_input(role, "inlinePolicies", [{"name": "x", "policy": document}]), "iam:CreateUser")
    assert_violation("P02", new_resource(role, "p", POLICY, name="p", policy=document), "iam:CreateUser")
    administrator = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert_violation(
        "P01",
        with_input(role, "managedPolicyArns", [administrator]),
        "AdministratorAccess, which is not in the option `managed_policies`",
    )
    assert_violation(
        "P01",
        new_resource(role, "a", ATTACHMENT, role="delegated-role", policyArn=administrator),
        "AdministratorAccess",
    )
    listed = new_resource(
        role, "a", ATTACHMENT, role="delegated-role", policyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess"
    )
    assert_violation("P01", listed, "IAMReadOnlyAccess")
    assert report("P01", listed, managed_policies=["IAMReadOnlyAccess"]) == [], "the list is configuration"


def test_a_document_that_is_none_is_found_and_undecided_for_the_others() -> None:
    broken = with_input(resource_named("prod", DEPLOYS), "policy", "{")
    assert_violation("P01", broken, "is not a policy document")
    for rule in ("P02", "P03", "P07"):
        assert_undecided(rule, broken, "policy")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [UNKNOWN, {"Statement": [{"Effect": "Allow", "Action": UNKNOWN, "Resource": "*"}]}])
def test_permissions_that_are_not_known_are_undecided(rule: str, value: Any) -> None:
    assert_undecided(rule, with_input(resource_named("prod", DEPLOYS), "policy", value), "policy")


def test_a_policy_that_is_absent_grants_nothing() -> None:
    bare = with_input(resource_named("prod", DEPLOYS), "policy", ABSENT)
    assert [text for rule in RULES for text in report(rule, bare)] == []


def test_who_is_powerful_is_configuration() -> None:
    powerful = granting("iam:CreateUser")
    assert report("P02", powerful, powerful=["delegated-role"]) == []
    deployer = resource_named("foundation", "access-prod-deployer-policy")
    assert report("P02", deployer, "foundation") == []
    assert_violation("P02", deployer, "beyond the boundary", "foundation", powerful=[])


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("permissionsBoundary", ABSENT, "permissionsBoundary is"),
        ("permissionsBoundary", "arn:aws:iam::444444444444:policy/other", "permissionsBoundary is"),
        (
            "permissionsBoundary",
            "arn:aws:iam::111111111111:policy/cicd-platform/delegated-boundary",
            "permissionsBoundary is",
        ),
        ("maxSessionDuration", 43200.0, "maxSessionDuration is 43200 s"),
        ("maxSessionDuration", "7200", "maxSessionDuration is 7200 s"),
    ],
)
def test_a_delegated_role_carries_the_boundary_for_an_hour(path: str, value: Any, said: str) -> None:
    assert_violation("P04", with_input(resource_named("prod", "delegated-prod-protected-role"), path, value), said)


def test_the_boundary_of_a_role_may_be_unknown_and_its_session_absent_or_configured() -> None:
    role = resource_named("prod", "delegated-prod-protected-role")
    assert_undecided("P04", with_input(role, "permissionsBoundary", UNKNOWN), "permissionsBoundary")
    assert_undecided("P04", with_input(role, "maxSessionDuration", UNKNOWN), "maxSessionDuration")
    assert report("P04", with_input(role, "maxSessionDuration", ABSENT)) == [], "IAM's default is an hour"
    assert report("P04", with_input(role, "maxSessionDuration", 7200), longest_session=7200) == []


ECR = "arn:aws:ecr:eu-central-1:222222222222:repository/"
CACHE = "arn:aws:s3:::o-senncloud01-cache-222222222222-eu-central-1/"


@pytest.mark.parametrize(
    ("rule", "name", "action", "resource", "said"),
    [
        ("P05", "delegated-cicd-open-ecr-push", "ecr:PutImage", f"{ECR}*", "lets delegated-role-open push to protected/*"),
        ("P05", "delegated-cicd-open-ecr-push", "ecr:*", f"{ECR}protected/runner", "push to protected/*"),
        ("P05", "delegated-cicd-open-ecr-push", "ecr:BatchDeleteImage", f"{ECR}protected/*", "push to protected/*"),
        ("P05", "delegated-cicd-protected-ecr-push", "ecr:PutImage", f"{ECR}open/*", "push to open/*"),
        ("P05", "small-identity-job-delegated-roles", "ecr:UploadLayerPart", "*", "lets runner-small push to"),
        ("P05", "small-identity-manager-cache", "ECR:putimage", f"{ECR}open/*", "lets runner-manager-small push to open/*"),
        ("P06", "small-identity-manager-cache", "s3:PutObject", f"{CACHE}*", "lets runner-manager-small read or write the cache of class deploy"),
        ("P06", "small-identity-manager-cache", "s3:*", "arn:aws:s3:::*", "the cache of class deploy"),
        ("P06", "small-identity-job-delegated-roles", "s3:GetObject", f"{CACHE}small/*", "lets runner-small read or write the cache of class small"),
        ("P06", "delegated-cicd-open-ecr-push", "s3:PutObject", f"{CACHE}deploy/x", "the cache of class deploy"),
        ("P05", "delegated-cicd-open-ecr-push", "ecr:PutImage", f"{ECR}*/apps", "push to protected/*"),
        ("P05", "delegated-cicd-open-ecr-push", "ecr:PutImage", [f"{ECR}open/*", f"{ECR}?"], "of no level"),
        ("P06", "small-identity-manager-cache", "s3:PutObject", [f"{CACHE}small/*", f"{CACHE}?"], "beyond its class"),
    ],
)  # fmt: skip
def test_images_and_caches_have_one_writer(rule: str, name: str, action: str, resource: Any, said: str) -> None:
    assert_violation(rule, granting(action, resource, name=name), said)


@pytest.mark.parametrize("rule", ["P05", "P06"])
def test_a_grant_that_is_not_known_is_undecided_for_writers_too(rule: str) -> None:
    assert_undecided(
        rule, with_input(resource_named("prod", "small-identity-manager-cache"), "policy", UNKNOWN), "policy"
    )


def test_who_may_write_everywhere_is_configuration() -> None:
    assert report("P05", granting("ecr:PutImage", "*"), powerful=["delegated-role"]) == []
    assert report("P06", granting("s3:PutObject", "*"), powerful=["delegated-role"]) == []


def test_users_and_keys_never_exist() -> None:
    role = resource_named("prod", "delegated-prod-protected-role")
    for token in ("aws:iam/user:User", "aws:iam/accessKey:AccessKey", "aws:iam/userLoginProfile:UserLoginProfile"):
        assert_violation("P08", new_resource(role, "u", token, name="u"), "a lasting credential")


def test_a_program_with_the_capability_pulumi_passes() -> None:
    values = raw("prod", accounts__prod__protected=["ecs", "pulumi"])
    run_with("prod", values)
    documents = [each for each in resources_with("prod", values) if each.type == ROLE_POLICY]
    assert [text for each in documents for rule in RULES for text in report(rule, each)] == []


BOUNDARY_DOCUMENT, DEPLOYER_DOCUMENT = "access-dev-boundary", "access-dev-deployer-policy"


def opened(name: str) -> str:
    document = json.loads(resource_named("foundation", name).inputs["policy"])
    return json.dumps({**document, "Statement": [e for e in document["Statement"] if e["Effect"] == "Allow"]})


@pytest.mark.parametrize("name", [BOUNDARY_DOCUMENT, DEPLOYER_DOCUMENT])
def test_the_foundations_documents_are_the_reviewed_ones_in_any_spelling(name: str) -> None:
    its = resource_named("foundation", name)
    document = json.loads(its.inputs["policy"])
    spelled = [{key.lower(): value for key, value in each.items()} for each in document["Statement"]]
    assert report("P09", its, "foundation") == []
    assert report("P09", with_input(its, "policy", json.dumps({"Statement": spelled})), "foundation") == []
    assert_violation("P09", with_input(its, "policy", opened(name)), "differs from the document of", "foundation")
    assert_violation(
        "P09", with_input(its, "policy", '{"Statement": []}'), "differs from the document of", "foundation"
    )
    assert_undecided("P09", with_input(its, "policy", UNKNOWN), "policy", "foundation")
    assert_undecided("P09", with_input(its, "policy", ABSENT), "policy", "foundation")


def test_no_stack_of_the_platform_gives_the_deployer_more() -> None:
    own = resource_named("prod", DEPLOYS)
    assert_violation(
        "P09",
        new_resource(own, "more", ROLE_POLICY, role="platform-deployer", policy="{}"),
        "belongs to the foundation",
    )
    assert_violation(
        "P09", new_resource(own, "more", POLICY, name="delegated-boundary", policy="{}"), "belongs to the foundation"
    )
    assert report("P09", own) == []
