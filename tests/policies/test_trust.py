"""Rules about trust documents: spellings that admit other principals, and the correct document in every legal spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest

from access.resource import UNKNOWN
from tests.support.policy_cases import (
    ABSENT,
    all_findings,
    assert_undecided,
    assert_violation,
    report,
    resource_named,
    with_input,
)

DELEGATED, JOB = "delegated-prod-protected-role", "deploy-identity-job"
TRUST = "assumeRolePolicy"
RULES = ("T01", "T02", "T03", "T04", "T05", "T07", "T09")
STATEMENT = f"{TRUST}.Statement.0"
ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/"


def issuer() -> str:
    document = json.loads(resource_named("prod", JOB).inputs[TRUST])
    return str(document["Statement"][0]["Principal"]["Federated"].partition(":oidc-provider/")[2])


def pinned(operator: str, subject: Any, audience: str = "sts.amazonaws.com") -> dict[str, Any]:
    return {operator: {f"{issuer()}:sub": subject}, "StringEquals": {f"{issuer()}:aud": audience}}


@pytest.mark.parametrize(
    ("rule", "name", "path", "value", "message"),
    [
        ("T01", DELEGATED, f"{STATEMENT}.Principal", "*", "trusts AWS:*"),
        ("T01", DELEGATED, f"{STATEMENT}.Principal", {"AWS": ["*"]}, "trusts AWS:*"),
        ("T01", DELEGATED, f"{STATEMENT}.Principal", {"Federated": "*"}, "trusts Federated:*"),
        ("T01", DELEGATED, f"{STATEMENT}.Principal", {"AWS": "arn:aws:iam::222222222222:role/cicd/*"}, "a wildcard"),
        ("T01", DELEGATED, f"{STATEMENT}.Principal", {"AWS": "arn:aws:iam::222222222222:role/cicd/runner-?"}, "a wildcard"),
        ("T01", DELEGATED, TRUST, "no document", "is not a policy document"),
        ("T01", DELEGATED, TRUST, '{"Statement": [{"Effect": "Allow", "NotPrincipal": {"AWS": "x"}, "Action": "sts:AssumeRole"}]}', "NotPrincipal"),
        ("T01", DELEGATED, TRUST, '{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole"}}', "names no principal"),
        ("T02", DELEGATED, f"{STATEMENT}.Condition", ABSENT, "trusts the whole account 222222222222"),
        ("T02", DELEGATED, f"{STATEMENT}.Condition", {"StringEquals": {"sts:ExternalId": "secret"}}, "trusts the whole account"),
        ("T02", DELEGATED, f"{STATEMENT}.Principal", {"AWS": "222222222222"}, ""),
        ("T02", DELEGATED, f"{STATEMENT}.Condition.ArnEquals", {"aws:PrincipalArn": "arn:aws:iam::222222222222:role/cicd/*"}, "not an exact role"),
        ("T02", DELEGATED, f"{STATEMENT}.Condition", {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::222222222222:role/cicd/x"}}, "whole account"),
        ("T02", DELEGATED, f"{STATEMENT}.Condition", {"ArnEqualsIfExists": {"aws:PrincipalArn": "arn:aws:iam::222222222222:role/cicd/x"}}, "whole account"),
        ("T02", DELEGATED, f"{STATEMENT}.Condition", {"ForAllValues:ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::222222222222:role/cicd/x"}}, "whole account"),
        ("T02", DELEGATED, f"{STATEMENT}.Condition.ArnEquals", {"aws:PrincipalArn": "arn:aws:iam::444444444444:role/x"}, "which is not an exact role of it"),
        ("T02", DELEGATED, f"{STATEMENT}.Principal", {"AWS": "arn:aws:iam::222222222222:user/me"}, "neither an account nor a role"),
        ("T03", DELEGATED, f"{STATEMENT}.Principal", {"AWS": "arn:aws:iam::999999999999:root"}, "account 999999999999"),
        ("T03", DELEGATED, f"{STATEMENT}.Principal", {"Service": "lambda.amazonaws.com"}, "lambda.amazonaws.com; this role is for no service"),
        ("T03", DELEGATED, f"{STATEMENT}.Principal", {"Service": "ec2.evil.example"}, "trusts the service ec2.evil.example"),
        ("T03", "network-flow-log-role", f"{STATEMENT}.Condition", ABSENT, "act for any account"),
        ("T03", "network-flow-log-role", f"{STATEMENT}.Condition", {"StringEquals": {"aws:SourceAccount": "999999999999"}}, "act for any account"),
        ("T04", JOB, f"{STATEMENT}.Condition", ABSENT, ":sub with StringEquals"),
        ("T04", JOB, f"{STATEMENT}.Condition", {"StringEquals": {"other.issuer:sub": "x", "other.issuer:aud": "sts.amazonaws.com"}}, ":aud to sts.amazonaws.com"),
        ("T07", JOB, f"{STATEMENT}.Principal", {"Federated": "arn:aws:iam::222222222222:oidc-provider/token.actions.example"}, "trusts the issuer token.actions.example"),
        ("T07", JOB, f"{STATEMENT}.Principal", {"Federated": "arn:aws:iam::222222222222:saml-provider/x"}, "of a provider that is not OIDC"),
        ("T09", DELEGATED, f"{STATEMENT}.Action", ["sts:AssumeRole", "sts:TagSession"], "allows sts:tagsession"),
        ("T09", DELEGATED, f"{STATEMENT}.Action", "sts:*", "allows sts:*"),
        ("T09", DELEGATED, f"{STATEMENT}.Action", "sts:Assume*", "allows sts:assume*"),
        ("T09", DELEGATED, TRUST, '{"Statement": {"Effect": "Allow", "Principal": {"AWS": "222222222222"}, "NotAction": "sts:X"}}', "NotAction"),
    ],
)  # fmt: skip
def test_a_trust_that_admits_other_principals_is_a_violation(
    rule: str, name: str, path: str, value: Any, message: str
) -> None:
    resource = with_input(resource_named("prod", name), path, value)
    if message:
        assert_violation(rule, resource, message)
    else:
        assert report(rule, resource) == [], "a bare id is the account's root in another spelling"


@pytest.mark.parametrize(
    ("rule", "operator", "subject", "message"),
    [
        ("T04", "StringLike", "system:serviceaccount:jobs-deploy:job", ":sub with StringEquals"),
        ("T04", "StringEqualsIfExists", "system:serviceaccount:jobs-deploy:job", ":sub with StringEquals"),
        ("T04", "ForAllValues:StringEquals", "system:serviceaccount:jobs-deploy:job", ":sub with StringEquals"),
        ("T04", "StringNotEquals", "system:serviceaccount:jobs-small:job", ":sub with StringEquals"),
        ("T05", "StringLike", "system:serviceaccount:*:job", "trusts system:serviceaccount:*:job"),
        ("T05", "StringLike", "*", "trusts *; this role is for"),
        ("T05", "StringLike", "system:serviceaccount:jobs-deploy:jo?", "this role is for"),
    ],
)
def test_a_condition_without_an_exact_subject_is_a_violation(
    rule: str, operator: str, subject: str, message: str
) -> None:
    assert_violation(
        rule, with_input(resource_named("prod", JOB), f"{STATEMENT}.Condition", pinned(operator, subject)), message
    )


@pytest.mark.parametrize(
    "subject",
    [
        "system:serviceaccount:jobs-small:job",
        ["system:serviceaccount:jobs-deploy:job", "system:serviceaccount:default:default"],
    ],
)
def test_a_trust_in_another_service_account_is_a_violation(subject: Any) -> None:
    condition = {"StringEquals": {f"{issuer()}:aud": "sts.amazonaws.com", f"{issuer()}:sub": subject}}
    assert_violation(
        "T05",
        with_input(resource_named("prod", JOB), f"{STATEMENT}.Condition", condition),
        "this role is for system:serviceaccount:jobs-deploy:job",
    )


def test_a_role_outside_the_settings_may_not_trust_the_cluster() -> None:
    assert_violation(
        "T05", with_input(resource_named("prod", JOB), "name", "somebody"), "no role of this name is in the settings"
    )


def test_an_open_statement_beside_a_correct_statement_is_a_violation() -> None:
    role = resource_named("prod", JOB)
    document = json.loads(role.inputs[TRUST])
    open_statement = {
        **document["Statement"][0],
        "Condition": {"StringEquals": {f"{issuer()}:aud": "sts.amazonaws.com"}},
    }
    document["Statement"].append(open_statement)
    assert_violation("T04", with_input(role, TRUST, json.dumps(document)), "statement 1 does not pin")


@pytest.mark.parametrize("name", [DELEGATED, JOB])
def test_the_correct_document_passes_in_every_legal_spelling(name: str) -> None:
    role = resource_named("prod", name)
    document = json.loads(role.inputs[TRUST])
    (statement,) = document["Statement"]
    spellings: list[Any] = [
        document,
        {**document, "Statement": statement},
        {"version": document["Version"], "statement": [{key.lower(): value for key, value in statement.items()}]},
        {**document, "Statement": [{**statement, "Action": [statement["Action"].lower()]}]},
        {**document, "Statement": [{**statement, "Condition": with_upper_keys(statement["Condition"])}]},
    ]
    for spelling in spellings:
        for document_input in (spelling, json.dumps(spelling)):
            assert all_findings(with_input(role, TRUST, document_input)) == {}, f"a legal spelling: {document_input}"


def with_upper_keys(condition: dict[str, Any]) -> dict[str, Any]:
    return {
        operator.lower(): {key.upper(): value for key, value in keys.items()} for operator, keys in condition.items()
    }


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "value", [UNKNOWN, {"Statement": [{"Effect": "Allow", "Principal": UNKNOWN, "Action": UNKNOWN}]}]
)
def test_an_unknown_trust_is_undecided(rule: str, value: Any) -> None:
    assert_undecided(rule, with_input(resource_named("prod", JOB), TRUST, value), TRUST)


def test_an_absent_trust_is_not_reported() -> None:
    # The AWS provider itself refuses a role without a trust.
    role = with_input(resource_named("prod", JOB), TRUST, ABSENT)
    assert {rule for rule in RULES if report(rule, role)} == set()


@pytest.mark.parametrize(
    ("name", "service", "own"),
    [
        (DELEGATED, "ec2.amazonaws.com", "no service"),
        (JOB, "pods.eks.amazonaws.com", "no service"),
        ("cluster-roles-node", "eks.amazonaws.com", "ec2.amazonaws.com"),
        ("cluster-roles-cluster", "ec2.amazonaws.com", "eks.amazonaws.com"),
        ("network-flow-log-role", "ec2.amazonaws.com", "vpc-flow-logs.amazonaws.com"),
    ],
)
def test_a_role_trusts_the_one_service_that_it_is_made_for(name: str, service: str, own: str) -> None:
    role = with_input(resource_named("prod", name), f"{STATEMENT}.Principal", {"Service": service})
    assert_violation("T03", role, f"trusts the service {service}; this role is for {own}")


@pytest.mark.parametrize(
    "role", ["cicd-platform/platform-reader", "cicd-platform/platform-deployer", "cicd/runner-small"]
)
def test_a_delegated_role_trusts_only_the_roles_that_the_settings_let_in(role: str) -> None:
    arn = f"arn:aws:iam::222222222222:role/{role}"
    named = with_input(
        resource_named("prod", DELEGATED), f"{STATEMENT}.Condition.ArnEquals", {"aws:PrincipalArn": [arn]}
    )
    assert_violation("T03", named, f"trusts {arn}, which the settings do not let in")
    assert_violation("T03", with_input(named, f"{STATEMENT}.Principal", {"AWS": arn}), f"trusts {arn}")


def test_a_role_for_gitlab_must_trust_the_declared_ref_only() -> None:
    role = resource_named("foundation", "access-prod-deployer-role")
    host = "gitlab.com"
    condition = {
        "StringEquals": {
            f"{host}:aud": "https://gitlab.com",
            f"{host}:sub": "project_path:evil/fork:ref_type:branch:ref:main",
        }
    }
    assert_violation(
        "T07", with_input(role, f"{STATEMENT}.Condition", condition), "trusts project_path:evil/fork", "foundation"
    )
    wildcard_condition = {
        "StringEquals": {f"{host}:aud": "https://gitlab.com"},
        "StringLike": {f"{host}:sub": "project_path:senncloud/*"},
    }
    assert_violation(
        "T07",
        with_input(role, f"{STATEMENT}.Condition", wildcard_condition),
        "trusts project_path:senncloud/*",
        "foundation",
    )
    assert_violation(
        "T04",
        with_input(role, f"{STATEMENT}.Condition", wildcard_condition),
        "gitlab.com:sub with StringEquals",
        "foundation",
    )
    without_audience = {
        "StringEquals": {f"{host}:sub": "project_path:senncloud/runner-platform:ref_type:branch:ref:main"}
    }
    assert_violation(
        "T04", with_input(role, f"{STATEMENT}.Condition", without_audience), "gitlab.com:aud", "foundation"
    )
    assert_violation(
        "T07", with_input(role, "name", "somebody"), "no GitLab role of this name is in the settings", "foundation"
    )
