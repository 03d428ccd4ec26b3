"""The policies of the foundation's deployer and reader."""

from __future__ import annotations

from components.documents import platform_roles
from config.sections import Organization
from tests.support.program import listed, statements

ORGANIZATION = Organization(id="o-senncloud01", region="eu-central-1")
ACCOUNT = "222222222222"


def test_the_deployer_cannot_change_the_foundation_s_roles_and_policies() -> None:
    account = platform_roles.PlatformRoleAccount(organization=ORGANIZATION, account_id=ACCOUNT, state_bucket="b")
    deny = {statement["Sid"]: statement for statement in statements(platform_roles.deployer(account), "Deny")}
    own = f"arn:aws:iam::{ACCOUNT}:"
    assert set(deny["NothingOfTheFoundation"]["Resource"]) == {
        f"{own}role/cicd-platform/*",
        f"{own}policy/cicd-platform/*",
    }
    assert deny["NothingOfTheFoundation"]["NotAction"] == ["iam:Get*", "iam:List*"]


def test_the_reader_decrypts_secrets_and_state_of_the_platform_only() -> None:
    account = platform_roles.PlatformRoleAccount(organization=ORGANIZATION, account_id=ACCOUNT, state_bucket="b")
    for statement in platform_roles.reader(account)["Statement"]:
        if "kms:Decrypt" in listed(statement["Action"]):
            aliases = statement["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"]
            assert set(aliases) == {"alias/cicd-platform/secrets", "alias/cicd-platform/state"}


def test_the_deployer_makes_roles_policies_and_providers_of_the_platform_only() -> None:
    account = platform_roles.PlatformRoleAccount(organization=ORGANIZATION, account_id=ACCOUNT, state_bucket="b")
    allow = {statement["Sid"]: statement for statement in statements(platform_roles.deployer(account), "Allow")}
    own = f"arn:aws:iam::{ACCOUNT}:"
    kinds = ("role", "policy", "instance-profile")
    paths = [*(f"{kind}/cicd{suffix}/*" for kind in kinds for suffix in ("", "-*")), "oidc-provider/oidc.eks.*"]
    assert allow["OwnRolesAndPolicies"]["Resource"] == [f"{own}{path}" for path in paths]
    assert set(allow["Services"]["NotAction"]) == {
        *("iam:*", "organizations:*", "account:*", "sso:*", "identitystore:*", "sts:*")
    }
    services = allow["ServiceLinkedRoles"]["Condition"]["StringLike"]["iam:AWSServiceName"]
    assert set(services) == {f"{name}.amazonaws.com" for name in ("eks*", "spot", "ec2", "autoscaling", "ecs")}


def test_the_deployer_stops_no_trail_and_opens_no_state_bucket() -> None:
    account = platform_roles.PlatformRoleAccount(organization=ORGANIZATION, account_id=ACCOUNT, state_bucket="b")
    deny = {statement["Sid"]: statement for statement in statements(platform_roles.deployer(account), "Deny")}
    assert {"cloudtrail:Delete*", "cloudtrail:Stop*"} < set(deny["NotTheTrail"]["Action"])
    assert deny["StateBucketsStayAsTheyAre"]["Resource"] == "arn:aws:s3:::o-senncloud01-state-*"
    assert "s3:PutBucket*" in deny["StateBucketsStayAsTheyAre"]["Action"]
