"""AssumeRole: who is admitted, for how long, and who they then are to a policy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.aws_cases import (
    ADMIN,
    CICD,
    DEV,
    MANAGEMENT,
    PROD,
    STRANGER,
    Caller,
    Cloud,
    policy,
    refusal,
    trusting,
    unique,
)

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)

DENIED = (403, "AccessDenied")


def role(aws: Cloud, account: str, trust: str, *, path: str = "/", may: str | None = None, **fields: Any) -> str:
    """Make a role and return its ARN."""
    iam, name = aws.root(account).client("iam"), unique("role")
    made = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust, **fields)
    if may is not None:
        iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=may)
    return str(made["Role"]["Arn"])


def runner(aws: Cloud, may: str, *, path: str = "/cicd/") -> tuple[str, Caller]:
    """Return a role of the platform's account with a session of it."""
    arn = role(aws, CICD, trusting(CICD), path=path, may=may)
    return arn, aws.root(CICD).assume(arn)


ANY_ROLE = policy({"Action": "sts:AssumeRole", "Resource": "*"})


def test_a_delegated_role_admits_exactly_the_job_role_that_it_names_with_its_path(aws: Cloud) -> None:
    arn, job = runner(aws, ANY_ROLE)
    condition = {"ArnEquals": {"aws:PrincipalArn": arn}, "StringEquals": {"aws:PrincipalOrgID": "o-example1234"}}
    delegated = role(aws, DEV, trusting(CICD, **condition), path="/cicd/")
    assert job.assume(delegated).arn.startswith(f"arn:aws:sts::{DEV}:assumed-role/")
    _other, stranger = runner(aws, ANY_ROLE)
    for caller in (stranger, aws.root(CICD), aws.root(DEV), aws.root(STRANGER)):
        assert refusal(caller.assume, delegated) == DENIED


def test_the_path_of_a_job_role_counts_in_the_condition(aws: Cloud) -> None:
    arn, job = runner(aws, ANY_ROLE)
    elsewhere = arn.replace(":role/cicd/", ":role/")
    delegated = role(aws, DEV, trusting(CICD, ArnEquals={"aws:PrincipalArn": elsewhere}))
    assert refusal(job.assume, delegated) == DENIED


def test_members_of_the_organisation_are_admitted_and_others_are_not(aws: Cloud) -> None:
    condition = {"StringEquals": {"aws:PrincipalOrgID": "o-example1234"}}
    for account in (ADMIN, CICD, PROD, MANAGEMENT):
        assert aws.root(account).assume(role(aws, DEV, trusting(account, **condition))).arn
    assert refusal(aws.root(STRANGER).assume, role(aws, DEV, trusting(STRANGER, **condition))) == DENIED


def test_every_member_sees_the_same_organisation(aws: Cloud) -> None:
    for account in (ADMIN, DEV, MANAGEMENT):
        found = aws.root(account).client("organizations").describe_organization()["Organization"]
        assert (found["Id"], found["MasterAccountId"]) == ("o-example1234", MANAGEMENT)


def test_the_management_account_reaches_every_member_and_the_operators_role_only_the_platforms_roles(
    aws: Cloud,
) -> None:
    root = aws.root(MANAGEMENT)
    for account in (ADMIN, CICD, DEV, PROD):
        session = root.assume(f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole")
        assert session.client("iam").list_roles()["Roles"]
    operator = root.assume(f"arn:aws:iam::{ADMIN}:role/platform-operator")
    platform = role(aws, DEV, trusting(ADMIN), path="/cicd-platform/")
    assert operator.assume(platform).arn
    assert refusal(operator.assume, role(aws, DEV, trusting(ADMIN))) == DENIED
    assert refusal(operator.client("iam").list_roles)[0] == 403
    assert refusal(aws.root(STRANGER).assume, f"arn:aws:iam::{DEV}:role/OrganizationAccountAccessRole") == DENIED


def test_a_caller_needs_the_permission_as_well_as_the_trust(aws: Cloud) -> None:
    delegated = role(aws, DEV, trusting(CICD))
    _arn, without = runner(aws, policy({"Action": "s3:*", "Resource": "*"}))
    _arn, elsewhere = runner(aws, policy({"Action": "sts:AssumeRole", "Resource": f"arn:aws:iam::{PROD}:role/*"}))
    for caller in (without, elsewhere):
        assert refusal(caller.assume, delegated) == DENIED


def test_a_role_has_one_arn_and_no_other_leads_to_it(aws: Cloud) -> None:
    arn = role(aws, DEV, trusting(CICD), path="/cicd/")
    _job, caller = runner(aws, ANY_ROLE)
    assert caller.assume(arn).arn
    for wrong in (arn.replace("/cicd/", "/"), arn.replace("/cicd/", "/other/")):
        assert refusal(caller.assume, wrong) == DENIED


def test_a_role_that_trusts_a_service_admits_no_account(aws: Cloud) -> None:
    trust = policy({"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    arn = role(aws, DEV, trust)
    for account in (DEV, CICD, STRANGER):
        assert refusal(aws.root(account).assume, arn) == DENIED


def test_a_trusted_role_that_is_made_again_is_a_stranger(aws: Cloud) -> None:
    arn, job = runner(aws, ANY_ROLE)
    trust = policy({"Principal": {"AWS": arn}, "Action": "sts:AssumeRole"})
    delegated = role(aws, DEV, trust)
    assert job.assume(delegated).arn
    iam, name = aws.root(CICD).client("iam"), arn.rpartition("/")[2]
    iam.delete_role_policy(RoleName=name, PolicyName="may")
    iam.delete_role(RoleName=name)
    iam.create_role(RoleName=name, Path="/cicd/", AssumeRolePolicyDocument=trusting(CICD))
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=ANY_ROLE)
    again = aws.root(CICD).assume(arn)
    assert refusal(again.assume, delegated) == DENIED
    aws.root(DEV).client("iam").update_assume_role_policy(RoleName=delegated.rpartition("/")[2], PolicyDocument=trust)
    assert again.assume(delegated).arn


def test_a_trust_that_names_a_role_with_another_path_is_not_stored(aws: Cloud) -> None:
    arn, _job = runner(aws, ANY_ROLE)
    wrong = arn.replace(":role/cicd/", ":role/")
    trust = policy({"Principal": {"AWS": wrong}, "Action": "sts:AssumeRole"})
    iam = aws.root(DEV).client("iam")
    found = refusal(iam.create_role, RoleName=unique(), AssumeRolePolicyDocument=trust)
    assert found == (400, "MalformedPolicyDocument")


def test_a_denial_in_the_trust_wins(aws: Cloud) -> None:
    arn, job = runner(aws, ANY_ROLE)
    allow = json.loads(trusting(CICD))["Statement"][0]
    denial = {**allow, "Effect": "Deny", "Condition": {"ArnEquals": {"aws:PrincipalArn": arn}}}
    assert refusal(job.assume, role(aws, DEV, policy(allow, denial))) == DENIED


def test_a_session_lasts_as_long_as_the_role_allows_and_an_hour_in_a_chain(aws: Cloud) -> None:
    long = role(aws, CICD, trusting(CICD), may=ANY_ROLE, MaxSessionDuration=43200)
    root = aws.root(CICD)
    first = root.assume(long, DurationSeconds=43200)
    assert refusal(first.assume, long, DurationSeconds=3601) == (400, "ValidationError")
    assert first.assume(long, DurationSeconds=3600).arn
    short = role(aws, CICD, trusting(CICD))
    assert refusal(root.assume, short, DurationSeconds=3601) == (400, "ValidationError")
    for seconds in (899, 43201):
        assert refusal(root.assume, long, DurationSeconds=seconds) == (400, "ValidationError")


def test_a_session_name_has_a_form(aws: Cloud) -> None:
    arn = role(aws, CICD, trusting(CICD))
    for name in ("a b/c", "ü-name"):
        assert refusal(aws.root(CICD).assume, arn, RoleSessionName=name) == (400, "ValidationError")


def test_wrong_secrets_and_tokens_open_nothing(aws: Cloud) -> None:
    _arn, job = runner(aws, ANY_ROLE)
    forged = Caller(endpoint=job.endpoint, key=job.key, secret="wrong", token=job.token)
    assert refusal(forged.client("sts").get_caller_identity) == (403, "SignatureDoesNotMatch")
    for wrong in (None, "wrong"):
        lost = Caller(endpoint=job.endpoint, key=job.key, secret=job.secret, token=wrong)
        assert refusal(lost.client("sts").get_caller_identity)[0] == 403


def test_a_deleted_role_ends_its_sessions(aws: Cloud) -> None:
    arn, job = runner(aws, policy({"Action": "iam:ListRoles", "Resource": "*"}))
    job.client("iam").list_roles()
    iam, name = aws.root(CICD).client("iam"), arn.rpartition("/")[2]
    iam.delete_role_policy(RoleName=name, PolicyName="may")
    iam.delete_role(RoleName=name)
    assert refusal(job.client("iam").list_roles)[0] == 403
