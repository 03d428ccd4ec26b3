"""The documents of a role: in line, attached in each of the ways that the provider has, its boundary and its place."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from access.callers import RoleTags
from access.decision import Undecided
from access.policy_documents import normalise
from access.resource import UNKNOWN
from access.roles import Provider, Providers, Role, Roles
from tests.support.access_cases import ADMIN, CICD, arn, document, resource, role, statement, trusts

READ, WRITE = (document(statement(Action=action, Resource="*")) for action in ("s3:GetObject", "s3:PutObject"))
POLICY = f"arn:aws:iam::{CICD}:policy/cicd/reader"
SERVICE = trusts({"Service": "ec2.amazonaws.com"})


def managed(name: str = "reader", path: Any = "/cicd/", policy: Any = READ) -> Any:
    return resource("aws:iam/policy:Policy", "policy", CICD, name=name, path=path, policy=policy)


def attached(token: str, **inputs: Any) -> Any:
    return resource(f"aws:iam/{token}", "attachment", CICD, policyArn=POLICY, **inputs)


def only(*resources: Any, name: str = "job") -> Role:
    return Roles(resources, "aws").by_arn[arn(name)]


@pytest.mark.parametrize(
    "attachment",
    [
        attached("rolePolicyAttachment:RolePolicyAttachment", role="job"),
        attached("rolePolicyAttachment:RolePolicyAttachment", role=arn("job")),
        attached("policyAttachment:PolicyAttachment", roles=["another", "job"]),
    ],
    ids=["one role by name", "one role by ARN", "several roles"],
)
def test_an_attached_policy_is_the_roles(attachment: Any) -> None:
    job = only(role("job", SERVICE), managed(), attachment)
    assert job.policies == (normalise(READ),)
    assert job.customer_policies == (POLICY,)


def test_all_ways_of_a_role_add_up() -> None:
    inline = resource("aws:iam/rolePolicy:RolePolicy", "own", CICD, role="job", policy=WRITE)
    job = only(role("job", SERVICE, policies=[WRITE], managedPolicyArns=[POLICY]), managed(), inline)
    assert job.policies == (normalise(WRITE), normalise(WRITE), normalise(READ))
    assert job.customer_policies == (POLICY,)


def test_an_attachment_in_another_account_or_to_another_role_is_not_the_roles() -> None:
    elsewhere = resource(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "attachment", ADMIN, role="job", policyArn=POLICY
    )
    another = attached("rolePolicyAttachment:RolePolicyAttachment", role="another")
    job = only(role("job", SERVICE), managed(), elsewhere, another)
    assert (job.policies, job.customer_policies) == ((), ())


@pytest.mark.parametrize("field", ["inlinePolicies", "managedPolicyArns"])
def test_an_unknown_list_of_policies_leaves_the_rights_undecided(field: str) -> None:
    (policy,) = only(role("job", SERVICE, **{field: UNKNOWN})).policies
    assert policy == Undecided("a role's policies are not known yet")


def test_a_policy_for_a_role_that_is_not_known_may_be_any_roles_of_the_account() -> None:
    unplaced = attached("rolePolicyAttachment:RolePolicyAttachment", role=UNKNOWN)
    roles = Roles([role("job", SERVICE), role("job", SERVICE, account=ADMIN), managed(), unplaced], "aws").by_arn
    assert roles[arn("job")].policies == (Undecided("a policy is for a role that is not known yet"),)
    assert roles[arn("job", ADMIN)].policies == ()


def test_a_policy_of_aws_is_no_customers() -> None:
    job = only(role("job", SERVICE, managedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]))
    assert job.customer_policies == ()
    assert job.policies == (normalise(document(statement(Action="*", Resource="*"))),)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("arn:aws:iam::aws:policy/job-function/Billing", "the AWS managed policy Billing is not in access/roles.py"),
        (
            f"arn:aws:iam::{CICD}:policy/absent",
            f"the policy arn:aws:iam::{CICD}:policy/absent is not among the resources",
        ),
        (UNKNOWN, "an attached policy is not known yet"),
    ],
)
def test_a_policy_without_a_document_is_undecided(policy: Any, reason: str) -> None:
    assert only(role("job", SERVICE, managedPolicyArns=[policy])).policies == (Undecided(reason),)


def test_the_arn_of_a_policy_has_its_path_and_its_name() -> None:
    roles = Roles([managed(), managed(name="plain", path=None)], "aws-cn")
    assert roles.document(f"arn:aws-cn:iam::{CICD}:policy/cicd/reader") == normalise(READ)
    assert roles.document(f"arn:aws-cn:iam::{CICD}:policy/plain") == normalise(READ)


def test_a_role_without_a_name_has_its_logical_one() -> None:
    unnamed = resource("aws:iam/role:Role", "logical", CICD, assumeRolePolicy=document(SERVICE), path="/p/")
    assert list(Roles([unnamed], "aws").by_arn) == [f"arn:aws:iam::{CICD}:role/p/logical"]


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        (None, (None, None)),
        (POLICY, (normalise(READ), POLICY)),
        (UNKNOWN, (Undecided("an attached policy is not known yet"), None)),
    ],
)
def test_the_boundary_is_a_managed_policy(boundary: Any, expected: tuple[Any, Any]) -> None:
    job = only(role("job", SERVICE, permissionsBoundary=boundary), managed())
    assert (job.boundary, job.boundary_arn) == expected


def test_a_tag_that_is_not_known_yet_is_undecided() -> None:
    unknown = Undecided("the tag owner of 222222222222-job is not known yet")
    tags = only(role("job", SERVICE, tags={"level": "open", "owner": UNKNOWN})).tags
    assert tags == RoleTags(values={"level": ("open",), "owner": unknown})
    assert only(role("job", SERVICE, tags=UNKNOWN)).tags == RoleTags(complete=False)


@pytest.mark.parametrize("as_text", [False, True], ids=["object", "text"])
def test_a_role_has_the_default_tags_of_its_provider(as_text: bool) -> None:
    default: Any = {"tags": {"team": "platform", "level": "open"}}
    job = role("job", SERVICE, tags={"level": "protected"})
    inputs = {**(job.provider_inputs or {}), "defaultTags": json.dumps(default) if as_text else default}
    tags = only(replace(job, provider_inputs=inputs)).tags
    assert tags == RoleTags(values={"team": ("platform",), "level": ("protected",)})


def test_a_token_is_accepted_for_the_audiences_of_its_issuers_provider_in_the_account() -> None:
    providers = Providers(by_place={(CICD, "host"): Provider("arn:provider", ("sts", "vault"), more=False)})
    assert list(providers.accepted_audiences(CICD, "host", "sts")) == [("sts", True)]
    assert list(providers.accepted_audiences(CICD, "host", "else")) == []
    assert list(providers.accepted_audiences(ADMIN, "host", "sts")) == []
    assert (providers.arn(CICD, "host"), providers.arn(ADMIN, "host")) == ("arn:provider", "")


def test_a_provider_with_unknown_audiences_may_accept_any() -> None:
    providers = Providers()
    providers.add("aws", CICD, "host", ["sts", UNKNOWN])
    unknown = Undecided(f"the audiences of the provider arn:aws:iam::{CICD}:oidc-provider/host are not known yet")
    assert list(providers.accepted_audiences(CICD, "host", "else")) == [("else", unknown)]
    providers.add("aws", CICD, "host", ["vault"])
    assert providers.by_place[CICD, "host"].clients == ("sts", "vault")
    assert providers.by_place[CICD, "host"].more, "what is unknown stays unknown"
