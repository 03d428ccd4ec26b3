"""Trust documents: both sides of each trust come from one list and name exact principals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.documents import trust
from tests.support.class_settings import delegated_trust, settings_of
from tests.support.program import STACKS, raw, size, statements

if TYPE_CHECKING:
    from config.settings import Settings

ACCOUNT = "222222222222"
TRUST_LIMIT = 2048


def trusted(settings: Settings) -> set[tuple[str, str]]:
    """Pairs of job role and delegated role, from the trusts."""
    pairs = set()
    for account, level in settings.roles_needed():
        delegated = settings.names.role_arn(settings.accounts[account].id, settings.names.delegated_role(level))
        for statement in delegated_trust(settings, account, level)["Statement"]:
            pairs |= {(arn, delegated) for arn in statement["Condition"]["ArnEquals"]["aws:PrincipalArn"]}
    return pairs


def permitted(settings: Settings) -> set[tuple[str, str]]:
    """Pairs of job role and delegated role, from the permissions of the job roles."""
    names, pairs = settings.names, set()
    for runner_class, runner in settings.runners.items():
        job = names.role_arn(settings.platform_account.id, names.job_role(runner_class))
        targets = [
            names.role_arn(account.id, names.delegated_role(runner.level))
            for account in settings.accounts_of(runner_class).values()
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


def test_no_trust_names_the_class_that_has_no_accounts() -> None:
    assert not [pair for pair in trusted(settings_of("prod")) if "runner-review" in pair[0]], (
        "the class review runs unreviewed code"
    )


@pytest.mark.parametrize("stack", STACKS)
def test_a_delegated_role_trusts_named_roles_of_one_account_within_the_organisation(stack: str) -> None:
    settings = settings_of(stack)
    for account, level in settings.roles_needed():
        for statement in delegated_trust(settings, account, level)["Statement"]:
            assert statement["Principal"] == {"AWS": f"arn:aws:iam::{settings.platform_account.id}:root"}
            assert statement["Condition"]["StringEquals"] == {"aws:PrincipalOrgID": settings.organization.id}
            assert not any("*" in arn for arn in statement["Condition"]["ArnEquals"]["aws:PrincipalArn"]), (
                "a wildcard would trust roles that no setting lists"
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
def test_a_gitlab_trust_is_exact_unless_the_subject_has_a_wildcard(
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


@pytest.mark.parametrize("count", [1, 20])
def test_a_trust_of_twenty_classes_fits_iam_s_default_limit(count: int) -> None:
    arns = [f"arn:aws:iam::{ACCOUNT}:role/cicd-dev/runner-class{number:02}-dev" for number in range(count)]
    document = trust.roles_of_account(
        partition="aws", account_id=ACCOUNT, role_arns=arns, organization_id="o-senncloud01"
    )
    assert size(document) <= TRUST_LIMIT, "longer names are refused with the settings (test_settings_contradictions)"
