"""Rules about permissions: statements that extend a role, in every spelling."""

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
    ("rule", "action", "resource", "condition", "message"),
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
def test_a_statement_that_extends_a_role_is_a_violation(
    rule: str, action: Any, resource: Any, condition: Any, message: str
) -> None:
    assert_violation(rule, granting(action, resource, condition), message)


@pytest.mark.parametrize("rule", ["P01", "P02", "P03", "P07"])
def test_not_action_grants_all_other_actions(rule: str) -> None:
    assert_violation(rule, granting_all({"Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*"}), "")


def test_permissions_within_the_boundary_and_the_deploy_path_pass() -> None:
    grants = granting(
        ["iam:CreateRole", "iam:PutRolePolicy"], DEPLOY, {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}
    )
    assert [text for rule in RULES for text in report(rule, grants)] == []


def test_a_deny_statement_grants_nothing() -> None:
    denies = granting_all({"Effect": "Deny", "Action": "*", "Resource": "*"})
    assert [text for rule in RULES for text in report(rule, denies)] == []


def test_inline_managed_and_attached_policies_are_all_checked() -> None:
    role = resource_named("prod", "delegated-prod-protected-role")
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*"}})
    assert_violation("P02", with_input(role, "inlinePolicies", [{"name": "x", "policy": document}]), "iam:CreateUser")
    assert_violation("P02", new_resource(role, "p", POLICY, name="p", policy=document), "iam:CreateUser")


BY_HAND = "arn:aws:iam::222222222222:policy/by-hand"
AWS_POLICY = "arn:aws:iam::aws:policy/AmazonEKSComputePolicy"


@pytest.mark.parametrize("arn", [AWS_POLICY, BY_HAND, "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"])
@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        (ATTACHMENT, {"role": "runner-small", "policyArn": "{arn}"}),
        ("aws:iam/policyAttachment:PolicyAttachment", {"roles": ["runner-small"], "policyArn": "{arn}"}),
        ("aws:iam/policyAttachment:PolicyAttachment", {"groups": ["people"], "policyArn": "{arn}"}),
        (
            "aws:iam/rolePolicyAttachmentsExclusive:RolePolicyAttachmentsExclusive",
            {"roleName": "runner-small", "policyArns": ["{arn}"]},
        ),
    ],
)
def test_a_policy_that_a_role_may_not_carry_is_a_violation_by_any_resource(
    token: str, inputs: dict[str, Any], arn: str
) -> None:
    filled = json.loads(json.dumps(inputs).replace("{arn}", arn))
    attachment = new_resource(resource_named("prod", "small-identity-job"), "a", token, **filled)
    assert_violation("P12", attachment, arn.partition("policy/")[2])


def test_a_policy_on_the_role_itself_is_held_against_the_list_of_its_role() -> None:
    compute = [AWS_POLICY]
    assert_violation(
        "P12", with_input(resource_named("prod", "small-identity-job"), "managedPolicyArns", compute), "Compute"
    )
    assert (
        report("P12", with_input(resource_named("prod", "cluster-roles-cluster"), "managedPolicyArns", compute)) == []
    )


def test_an_exclusive_list_that_keeps_a_policy_of_somebody_else_is_a_violation() -> None:
    exclusive = "aws:iam/rolePoliciesExclusive:RolePoliciesExclusive"
    role = resource_named("prod", "small-identity-manager")
    kept = new_resource(role, "e", exclusive, roleName="runner-manager-small", policyNames=["cache"])
    assert report("P12", kept) == []
    assert_violation(
        "P12", with_input(kept, "policyNames", ["cache", "by-hand"]), "keeps by-hand of runner-manager-small"
    )


def test_an_invalid_document_is_a_violation_of_one_rule_and_undecided_for_others() -> None:
    broken = with_input(resource_named("prod", DEPLOYS), "policy", "{")
    assert_violation("P01", broken, "is not a policy document")
    for rule in ("P02", "P03", "P07"):
        assert_undecided(rule, broken, "policy")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [UNKNOWN, {"Statement": [{"Effect": "Allow", "Action": UNKNOWN, "Resource": "*"}]}])
def test_unknown_permissions_are_undecided(rule: str, value: Any) -> None:
    assert_undecided(rule, with_input(resource_named("prod", DEPLOYS), "policy", value), "policy")


def test_an_absent_policy_grants_nothing() -> None:
    without_policy = with_input(resource_named("prod", DEPLOYS), "policy", ABSENT)
    assert [text for rule in RULES for text in report(rule, without_policy)] == []


def test_the_list_of_powerful_roles_is_an_option() -> None:
    powerful = granting("iam:CreateUser")
    assert report("P02", powerful, powerful=["delegated-role"]) == []
    deployer = resource_named("foundation", "access-prod-deployer-policy")
    assert report("P02", deployer, "foundation") == []
    assert_violation("P02", deployer, "beyond the boundary", "foundation", powerful=[])


@pytest.mark.parametrize(
    ("path", "value", "message"),
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
def test_a_delegated_role_needs_the_boundary_and_a_session_of_one_hour(path: str, value: Any, message: str) -> None:
    assert_violation("P04", with_input(resource_named("prod", "delegated-prod-protected-role"), path, value), message)


def test_an_unknown_boundary_or_session_length_is_undecided_and_a_default_passes() -> None:
    role = resource_named("prod", "delegated-prod-protected-role")
    assert_undecided("P04", with_input(role, "permissionsBoundary", UNKNOWN), "permissionsBoundary")
    assert_undecided("P04", with_input(role, "maxSessionDuration", UNKNOWN), "maxSessionDuration")
    assert report("P04", with_input(role, "maxSessionDuration", ABSENT)) == [], "IAM's default is an hour"
    assert report("P04", with_input(role, "maxSessionDuration", 7200), longest_session=7200) == []


ECR = "arn:aws:ecr:eu-central-1:222222222222:repository/"
CACHE = "arn:aws:s3:::o-senncloud01-cache-222222222222-eu-central-1/"


@pytest.mark.parametrize(
    ("rule", "name", "action", "resource", "message"),
    [
        ("P05", "delegated-cicd-open-ecr-push", "ecr:PutImage", f"{ECR}*", "lets delegated-role-open write images: ecr:PutImage on"),
        ("P05", "delegated-cicd-open-ecr-push", "ecr:*", f"{ECR}protected/runner", "delete images: ecr:BatchDeleteImage on"),
        ("P05", "delegated-cicd-open-ecr-push", "ecr:BatchDeleteImage", f"{ECR}protected/*", "repository/protected/*"),
        ("P05", "delegated-cicd-protected-ecr-push", "ecr:PutImage", f"{ECR}open/*", "lets delegated-role write images"),
        ("P05", "small-identity-job-delegated-roles", "ecr:UploadLayerPart", "*", "lets runner-small write images"),
        ("P05", "small-identity-manager-cache", "ECR:putimage", f"{ECR}open/*", "lets runner-manager-small write images"),
        ("P06", "small-identity-manager-cache", "s3:PutObject", f"{CACHE}*", "lets runner-manager-small write the job cache"),
        ("P06", "small-identity-manager-cache", "s3:*", "arn:aws:s3:::*", "delete the job cache: s3:DeleteObject on"),
        ("P06", "small-identity-job-delegated-roles", "s3:GetObject", f"{CACHE}small/*", "lets runner-small read the job cache"),
        ("P06", "delegated-cicd-open-ecr-push", "s3:PutObject", f"{CACHE}deploy/x", "lets delegated-role-open write the job cache"),
        ("P05", "delegated-cicd-open-ecr-push", "ecr:PutImage", f"{ECR}*/apps", "repository/*/apps"),
        ("P05", "delegated-cicd-open-ecr-push", "ecr:PutImage", [f"{ECR}open/*", f"{ECR}?"], "repository/?"),
        ("P06", "small-identity-manager-cache", "s3:PutObject", [f"{CACHE}small/*", f"{CACHE}?"], "eu-central-1/?"),
    ],
)  # fmt: skip
def test_writing_images_or_caches_of_another_class_is_a_violation(
    rule: str, name: str, action: str, resource: Any, message: str
) -> None:
    assert_violation(rule, granting(action, resource, name=name), message)


@pytest.mark.parametrize("rule", ["P05", "P06"])
def test_an_unknown_policy_is_undecided_for_rules_about_images_and_caches(rule: str) -> None:
    assert_undecided(
        rule, with_input(resource_named("prod", "small-identity-manager-cache"), "policy", UNKNOWN), "policy"
    )


def test_a_powerful_role_may_write_images_and_caches_everywhere() -> None:
    assert report("P05", granting("ecr:PutImage", "*"), powerful=["delegated-role"]) == []
    assert report("P06", granting("s3:PutObject", "*"), powerful=["delegated-role"]) == []


def test_iam_users_and_access_keys_are_violations() -> None:
    role = resource_named("prod", "delegated-prod-protected-role")
    for token in ("aws:iam/user:User", "aws:iam/accessKey:AccessKey", "aws:iam/userLoginProfile:UserLoginProfile"):
        assert_violation("P08", new_resource(role, "u", token, name="u"), "a lasting credential")


def test_a_program_with_the_capability_pulumi_passes() -> None:
    values = raw("prod", accounts__prod__protected=["ecs", "pulumi"])
    run_with("prod", values)
    policies = [resource for resource in resources_with("prod", values) if resource.type == ROLE_POLICY]
    assert [text for policy in policies for rule in RULES for text in report(rule, policy)] == []


BOUNDARY_DOCUMENT, DEPLOYER_DOCUMENT = "access-dev-boundary", "access-dev-deployer-policy"


def without_denies(name: str) -> str:
    document = json.loads(resource_named("foundation", name).inputs["policy"])
    return json.dumps(
        {**document, "Statement": [statement for statement in document["Statement"] if statement["Effect"] == "Allow"]}
    )


@pytest.mark.parametrize("name", [BOUNDARY_DOCUMENT, DEPLOYER_DOCUMENT])
def test_the_documents_of_the_foundation_match_the_reviewed_ones_in_any_spelling(name: str) -> None:
    policy = resource_named("foundation", name)
    document = json.loads(policy.inputs["policy"])
    lowercase_statements = [
        {key.lower(): value for key, value in statement.items()} for statement in document["Statement"]
    ]
    assert report("P09", policy, "foundation") == []
    assert (
        report("P09", with_input(policy, "policy", json.dumps({"Statement": lowercase_statements})), "foundation") == []
    )
    assert_violation(
        "P09", with_input(policy, "policy", without_denies(name)), "differs from the document of", "foundation"
    )
    assert_violation(
        "P09", with_input(policy, "policy", '{"Statement": []}'), "differs from the document of", "foundation"
    )
    assert_undecided("P09", with_input(policy, "policy", UNKNOWN), "policy", "foundation")
    assert_undecided("P09", with_input(policy, "policy", ABSENT), "policy", "foundation")


def test_a_platform_stack_cannot_extend_the_deployer_or_the_boundary() -> None:
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
