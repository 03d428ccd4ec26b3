"""The boundary, the platform's own roles, and the policies of buckets, repositories and networks."""

from __future__ import annotations

import pytest

from components.documents import network_policies, platform_roles, registry, storage
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
def test_the_boundary_denies_writes_to_what_is_not_the_deployments(resource: str) -> None:
    guards = [
        statement
        for statement in statements(BOUNDARY, "Deny")
        if f"arn:aws:iam::{ACCOUNT}:{resource}" in listed(statement["Resource"])
    ]
    assert guards, f"{resource} is the platform's or the organisation's own"
    assert guards[0]["NotAction"] == ["iam:Get*", "iam:List*"], "everything but looking is denied"
    assert "Condition" not in guards[0], "whoever asks"


@pytest.mark.parametrize(
    "action",
    ["iam:DeleteRolePermissionsBoundary", "iam:UpdateAssumeRolePolicy", "iam:CreateUser", "iam:CreateAccessKey"],
)
def test_the_boundary_leaves_no_way_out(action: str) -> None:
    denied = [
        a
        for statement in statements(BOUNDARY, "Deny")
        if statement["Resource"] == "*"
        for a in statement.get("Action", [])
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


def test_the_deployer_cannot_lift_itself() -> None:
    of_account = platform_roles.PlatformRoleAccount(organization=ORGANIZATION, account_id=ACCOUNT, state_bucket="b")
    deny = {statement["Sid"]: statement for statement in statements(platform_roles.deployer(of_account), "Deny")}
    own = f"arn:aws:iam::{ACCOUNT}:"
    assert set(deny["NothingOfTheFoundation"]["Resource"]) == {
        f"{own}role/cicd-platform/*",
        f"{own}policy/cicd-platform/*",
    }
    assert deny["NothingOfTheFoundation"]["NotAction"] == ["iam:Get*", "iam:List*"]


def test_the_reader_decrypts_its_own_stacks_secrets_and_nothing_else() -> None:
    of_account = platform_roles.PlatformRoleAccount(organization=ORGANIZATION, account_id=ACCOUNT, state_bucket="b")
    for statement in platform_roles.reader(of_account)["Statement"]:
        if "kms:Decrypt" in listed(statement["Action"]):
            aliases = statement["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"]
            assert set(aliases) == {"alias/cicd-platform/secrets", "alias/cicd-platform/state"}


def test_a_bucket_refuses_strangers_and_plain_text() -> None:
    tls, ours = statements(storage.bucket_policy(ORGANIZATION, "b"), "Deny")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert ours["Condition"]["StringNotEqualsIfExists"] == {"aws:PrincipalOrgID": "o-senncloud01"}
    for statement in (tls, ours):
        assert statement["Resource"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "the bucket and what is in it"


def test_a_manager_uses_its_own_prefix_of_the_cache_with_five_actions() -> None:
    document = storage.cache_access(
        ORGANIZATION, account_id="222222222222", bucket="b", prefix="small", key_alias="alias/cicd/cache"
    )
    actions = [action for statement in document["Statement"] for action in listed(statement["Action"])]
    assert {a for a in actions if a.startswith("s3:")} == {
        *("s3:ListBucket", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject"),
    }, "runner-chart.md 4: ListBucket too, else a missing object reads as forbidden"
    by_sid = {statement["Sid"]: statement for statement in document["Statement"]}
    assert by_sid["Objects"]["Resource"] == "arn:aws:s3:::b/small/*"
    assert by_sid["List"]["Condition"] == {"StringLike": {"s3:prefix": ["small/*"]}}
    assert by_sid["Key"]["Condition"]["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": "alias/cicd/cache"}, (
        "no id of a key: a first preview shows and judges the whole document"
    )


def test_the_organisation_pulls_and_nobody_pushes_by_the_repository_s_policy() -> None:
    (statement,) = registry.pull_policy(ORGANIZATION)["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-senncloud01"}}
    assert not [action for action in statement["Action"] if "Put" in action or "Upload" in action]


def test_jobs_reach_the_internet_and_nothing_inside() -> None:
    policy = network_policies.jobs_policy(
        service_cidr="172.20.0.0/16", vpc_cidrs=["10.40.0.0/16"], endpoint_cidrs=["10.40.9.0/24"]
    )
    dns, internet, endpoints = policy["egress"]
    assert policy["ingress"] == [], "no job talks to another"
    assert dns["to"] == [{"ipBlock": {"cidr": "172.20.0.10/32"}}], "DNS is the tenth address of the services' network"
    assert internet["to"][0]["ipBlock"]["except"] == [
        *("169.254.169.254/32", "169.254.170.23/32", "10.40.0.0/16", "172.20.0.0/16"),
    ], "both metadata addresses, the VPC and the services are out of reach"
    assert endpoints == {"to": [{"ipBlock": {"cidr": "10.40.9.0/24"}}], "ports": [{"protocol": "TCP", "port": 443}]}
    assert len(network_policies.jobs_policy(service_cidr="172.20.0.0/16", vpc_cidrs=[])["egress"]) == 2


@pytest.mark.parametrize(("port", "ports"), [(443, [443]), (8443, [443, 8443])])
def test_a_manager_reaches_gitlab_at_its_port(port: int, ports: list[int]) -> None:
    policy = network_policies.manager_policy(service_cidr="172.20.0.0/16", gitlab_port=port)
    assert [port_entry["port"] for port_entry in policy["egress"][1]["ports"]] == ports
    assert policy["egress"][1]["to"][0]["ipBlock"]["except"] == ["169.254.169.254/32", "169.254.170.23/32"]
