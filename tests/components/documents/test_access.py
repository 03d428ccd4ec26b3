"""Trust and permission documents: both sides of each trust from one list, least privilege, sizes, partitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from components.documents import capabilities, cluster, network, platform_roles, registry, storage, trust
from components.documents.boundary import BoundaryAccount, boundary
from config.capabilities import Capability, Level
from config.sections import Organization
from tests.support.program import STACKS, listed, parsed, raw, size, statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings

PARTITIONS = {"aws": "eu-central-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}
ACCOUNT = "222222222222"
INLINE_LIMIT, TRUST_LIMIT = 10240, 2048


def settings_of(stack: str, **changes: Any) -> Settings:
    settings: Settings = parsed(raw(stack, **changes), stack)
    return settings


def delegated_trust(settings: Settings, account: str, level: Level) -> dict[str, Any]:
    names, home = settings.names, settings.platform_account.id
    return trust.roles_of_account(
        partition=settings.organization.partition,
        account_id=home,
        role_arns=[
            names.role_arn(home, names.job_role(runner_class)) for runner_class in settings.classes_of(account, level)
        ],
        organization_id=settings.organization.id,
    )


def trusted(settings: Settings) -> set[tuple[str, str]]:
    """Pairs of job role and delegated role, from the trusts."""
    pairs = set()
    for account, level in settings.roles_needed():
        delegated = settings.names.role_arn(settings.accounts[account].id, settings.names.delegated_role(level))
        for statement in delegated_trust(settings, account, level)["Statement"]:
            pairs |= {(arn, delegated) for arn in statement["Condition"]["ArnEquals"]["aws:PrincipalArn"]}
    return pairs


def permitted(settings: Settings) -> set[tuple[str, str]]:
    """The same pairs, from the job roles' permissions."""
    names, pairs = settings.names, set()
    for runner_class, runner in settings.runners.items():
        job = names.role_arn(settings.platform_account.id, names.job_role(runner_class))
        targets = [
            names.role_arn(a.id, names.delegated_role(runner.level))
            for a in settings.accounts_of(runner_class).values()
        ]
        for statement in trust.assume_roles(targets)["Statement"]:
            pairs |= {(job, target) for target in statement["Resource"]}
    return pairs


@pytest.mark.parametrize("stack", STACKS)
def test_both_sides_of_each_trust_come_from_one_list(stack: str) -> None:
    values = raw(stack)
    declared = {
        (f"runner-{name}", account, runner["level"])
        for name, runner in values["runners"].items()
        for account, account_settings in values["accounts"].items()
        if account_settings.get(runner["level"]) and account in runner.get("accounts", values["accounts"])
    }
    settings = settings_of(stack)
    suffix, ids = settings.names.suffix, {name: account.id for name, account in settings.accounts.items()}
    roles = {"open": f"delegated-role-open{suffix}", "protected": f"delegated-role{suffix}"}
    home = ids[settings.platform.account]
    expected = {
        (
            f"arn:aws:iam::{home}:role/cicd{suffix}/{job}{suffix}",
            f"arn:aws:iam::{ids[account]}:role/cicd{suffix}/{roles[level]}",
        )
        for job, account, level in declared
    }
    assert trusted(settings) == expected, "the delegated roles trust exactly the job roles that the matrix names"
    assert permitted(settings) == expected, "the job roles may assume exactly the roles that trust them"


def test_the_class_that_reaches_nothing_is_in_no_trust() -> None:
    assert not [pair for pair in trusted(settings_of("prod")) if "runner-review" in pair[0]], (
        "review is for unreviewed code"
    )


@pytest.mark.parametrize("stack", STACKS)
def test_a_delegated_role_trusts_named_roles_of_one_account_within_the_organisation(stack: str) -> None:
    settings = settings_of(stack)
    for account, level in settings.roles_needed():
        for statement in delegated_trust(settings, account, level)["Statement"]:
            assert statement["Principal"] == {"AWS": f"arn:aws:iam::{settings.platform_account.id}:root"}
            assert statement["Condition"]["StringEquals"] == {"aws:PrincipalOrgID": settings.organization.id}
            assert not any("*" in arn for arn in statement["Condition"]["ArnEquals"]["aws:PrincipalArn"]), (
                "a wildcard would let roles in that nobody listed"
            )


@pytest.mark.parametrize("issuer", ["https://oidc.example/id/1", "oidc.example/id/1"])
def test_a_service_account_s_trust_pins_audience_and_subject(issuer: str) -> None:
    document = trust.service_account(provider_arn="arn", issuer=issuer, namespace="jobs-small", account="job")
    assert statements(document, "Allow")[0]["Condition"] == {
        "StringEquals": {
            "oidc.example/id/1:aud": "sts.amazonaws.com",
            "oidc.example/id/1:sub": "system:serviceaccount:jobs-small:job",
        }
    }, "https:// in the key never matches (runner-chart.md 4); no wildcard subject"


@pytest.mark.parametrize(
    ("pinned", "operator", "subject"),
    [
        ({"ref": "main"}, "StringEquals", "project_path:g/p:ref_type:branch:ref:main"),
        ({"tag": "v1"}, "StringEquals", "project_path:g/p:ref_type:tag:ref:v1"),
        (
            {"environment": "production"},
            "StringEquals",
            "project_path:g/p:environment_protected:true:deployment_tier:production",
        ),
        ({"ref": "*"}, "StringLike", "project_path:g/p:ref_type:branch:ref:*"),
    ],
)
def test_a_gitlab_trust_is_exact_unless_a_wildcard_was_asked_for(
    pinned: dict[str, str], operator: str, subject: str
) -> None:
    document = trust.gitlab(
        partition="aws",
        account_id=ACCOUNT,
        url="https://gitlab.com",
        audience="https://gitlab.com",
        subjects=[trust.gitlab_subject("g/p", **pinned)],
    )
    statement = document["Statement"][0]
    assert statement["Condition"][operator]["gitlab.com:sub"] == subject
    assert statement["Condition"]["StringEquals"]["gitlab.com:aud"] == "https://gitlab.com", (
        "the audience is never a pattern"
    )
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/gitlab.com"}


def of(partition: str) -> Organization:
    return Organization(id="o-senncloud01", region=PARTITIONS[partition], partition=partition)  # type: ignore[arg-type]  # one of three


def every_document(partition: str) -> Iterator[tuple[str, dict[str, Any]]]:
    organization = of(partition)
    region = PARTITIONS[partition]
    settings = settings_of("prod", organization__partition=partition, organization__region=region)
    names = settings.names
    for account, level in settings.roles_needed():
        yield f"trust {account} {level}", delegated_trust(settings, account, level)
        grantee = capabilities.Grantee(names=names, account_id=ACCOUNT, level=level)
        for capability in Capability:
            yield f"{capability} {level}", capabilities.capability_document(capability, grantee)
    yield "boundary", boundary(BoundaryAccount(organization=organization, account_id=ACCOUNT))
    role = platform_roles.PlatformRoleAccount(organization=organization, account_id=ACCOUNT, state_bucket="b")
    yield "deployer", platform_roles.deployer(role)
    yield "reader", platform_roles.reader(role)
    yield "tagging", cluster.tagging_permissions(partition)
    yield "bucket", storage.bucket_policy(organization, "b")
    yield "key", storage.key_policy(organization, ACCOUNT)
    yield "flow log", network.flow_log_writer(organization, ACCOUNT, "g")
    yield (
        "cache",
        storage.cache_access(organization, bucket="b", prefix="small", account_id=ACCOUNT, key_alias="alias/k"),
    )
    yield "pull", registry.pull_policy(organization)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_arn_carries_the_partition(partition: str) -> None:
    for name, document in every_document(partition):
        arns = [word for word in json.dumps(document).split('"') if word.startswith("arn:")]
        wrong = [arn for arn in arns if not arn.startswith(f"arn:{partition}:")]
        assert not wrong, f"{name}: {wrong} exist in no account of {partition}"


@pytest.mark.parametrize(
    ("partition", "domain"), [("aws", "amazonaws.com"), ("aws-us-gov", "amazonaws.com"), ("aws-cn", "amazonaws.com.cn")]
)
def test_domains_are_those_of_the_partition(partition: str, domain: str) -> None:
    organization = of(partition)
    grantee = capabilities.Grantee(
        names=settings_of("prod").names.__class__(organization=organization, stack="prod"),
        account_id=ACCOUNT,
        level=Level.OPEN,
    )
    state = capabilities.capability_document(Capability.STATE, grantee)
    via = [s["Condition"]["StringEquals"]["kms:ViaService"] for s in state["Statement"] if s["Sid"] == "Key"]
    assert via == [f"s3.{organization.region}.{domain}"], (
        "a key that may be used through S3 only, by S3's own name there"
    )
    assert trust.service_principal("ec2", partition) == f"ec2.{domain}"


@pytest.mark.parametrize("capability", list(Capability))
@pytest.mark.parametrize("level", list(Level))
def test_a_capability_never_names_everything(capability: Capability, level: Level) -> None:
    grantee = capabilities.Grantee(names=settings_of("dev").names, account_id=ACCOUNT, level=level)
    document = capabilities.capability_document(capability, grantee)
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement, "a list of what is not allowed grows with every new service"
        for action in listed(statement["Action"]):
            assert "*" not in action, f"{capability}: least privilege names its actions, not {action}"
            assert not action.startswith("sts:"), "a delegated role is the end of the chain"
            if action in {"iam:PassRole", "iam:CreateRole"}:
                assert listed(statement["Resource"]) == [f"arn:aws:iam::{ACCOUNT}:role/deploy/*"], (
                    "roles of deployments live in /deploy/, and no other role is handed to a service"
                )
                assert statement["Condition"], f"{action} is bound to services, or to the boundary"


@pytest.mark.parametrize("level", list(Level))
def test_all_capabilities_of_a_role_fit_iam_s_inline_limit(level: Level) -> None:
    longest = Organization(id="o-" + "x" * 32, region="us-gov-west-1", partition="aws-us-gov")
    names = settings_of("dev").names.__class__(organization=longest, stack="sixteenletters01")
    grantee = capabilities.Grantee(names=names, account_id=ACCOUNT, level=level)
    together = sum(size(capabilities.capability_document(capability, grantee)) for capability in Capability)
    assert together <= INLINE_LIMIT, "the capabilities are inline policies of one role"


@pytest.mark.parametrize("stack", STACKS)
def test_rights_go_by_the_prefix_of_level_and_stack(stack: str) -> None:
    names = settings_of(stack).names
    for level, other_level in ((Level.OPEN, Level.PROTECTED), (Level.PROTECTED, Level.OPEN)):
        grantee = capabilities.Grantee(names=names, account_id=ACCOUNT, level=level)
        push = capabilities.capability_document(Capability.ECR_PUSH, grantee)["Statement"][1]["Resource"]
        assert push.endswith(f":repository/{names.prefix}{level.value}/*")
        state = json.dumps(capabilities.capability_document(Capability.STATE, grantee))
        assert f"/{names.prefix}{level.value}/*" in state
        assert f"{other_level.value}/" not in state, f"{level} jobs read or write nothing of {other_level}"


@pytest.mark.parametrize("count", [1, 20])
def test_a_trust_of_twenty_classes_fits_iam_s_default_limit(count: int) -> None:
    arns = [f"arn:aws:iam::{ACCOUNT}:role/cicd-dev/runner-class{number:02}-dev" for number in range(count)]
    document = trust.roles_of_account(
        partition="aws", account_id=ACCOUNT, role_arns=arns, organization_id="o-senncloud01"
    )
    assert size(document) <= TRUST_LIMIT, "longer names are refused with the settings (test_settings_contradictions)"
