"""The permissions boundary: it fits IAM, guards the foundation, and leaves no way to escape."""

from __future__ import annotations

import pytest

from components.documents.boundary import PASSABLE_TO, BoundaryAccount, boundary
from config.sections import Organization
from tests.support.program import listed, size, statements

ORGANIZATION = Organization(id="o-senncloud01", region="eu-central-1")
LONGEST = Organization(id="o-" + "x" * 32, region="ap-southeast-2")
ACCOUNT = "222222222222"
BOUNDARY_LIMIT = 6144
BOUNDARY = boundary(BoundaryAccount(organization=ORGANIZATION, account_id=ACCOUNT))


def test_the_boundary_fits_iam_for_the_longest_names() -> None:
    for organization in (
        LONGEST,
        Organization(id="o-" + "x" * 32, region="us-gov-west-1", partition="aws-us-gov"),
    ):
        length = size(boundary(BoundaryAccount(organization=organization, account_id=ACCOUNT)))
        assert length <= BOUNDARY_LIMIT, f"a managed policy holds {BOUNDARY_LIMIT} characters, this one has {length}"


@pytest.mark.parametrize(
    "resource",
    [
        "role/cicd*/*",
        "policy/cicd*/*",
        "oidc-provider/*",
        "role/OrganizationAccountAccessRole",
        "role/AWSControlTowerExecution",
        "role/aws-controltower-*",
    ],
)
def test_the_boundary_denies_writes_to_resources_of_the_platform_and_organisation(resource: str) -> None:
    guards = [
        statement
        for statement in statements(BOUNDARY, "Deny")
        if f"arn:aws:iam::{ACCOUNT}:{resource}" in listed(statement["Resource"])
    ]
    assert guards, f"{resource} is the platform's or the organisation's own"
    assert guards[0]["NotAction"] == ["iam:Get*", "iam:List*"], "only reading is allowed"
    assert "Condition" not in guards[0], "the denial holds for every principal"


@pytest.mark.parametrize(
    "action",
    ["iam:DeleteRolePermissionsBoundary", "iam:UpdateAssumeRolePolicy", "iam:CreateUser", "iam:CreateAccessKey"],
)
def test_the_boundary_denies_actions_that_would_escape_it(action: str) -> None:
    denied = [
        denied_action
        for statement in statements(BOUNDARY, "Deny")
        if statement["Resource"] == "*"
        for denied_action in statement.get("Action", [])
    ]
    assert action in denied


def test_roles_need_the_boundary_and_pass_to_listed_services_only() -> None:
    own = f"arn:aws:iam::{ACCOUNT}:policy/cicd-platform/delegated-boundary"
    allowed = {statement["Sid"]: statement for statement in statements(BOUNDARY, "Allow")}
    assert allowed["RolesWithThisBoundary"]["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": own}}
    assert allowed["PassOwnRoles"]["Condition"]["StringEquals"]["iam:PassedToService"] == list(PASSABLE_TO)
    denied = {statement["Sid"]: statement for statement in statements(BOUNDARY, "Deny")}
    assert denied["NoRoleWithoutThisBoundary"]["Condition"] == {"StringNotEquals": {"iam:PermissionsBoundary": own}}
    assert "sts:*" in allowed["Services"]["NotAction"], "a role of a deployment assumes no further role"
