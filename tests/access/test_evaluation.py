"""Evaluation of a request to assume a role: both sides of a trust, denials, limits, tags, providers, unreadable documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from access.callers import Choice
from access.decision import Decision
from access.inventory import Inventory
from access.resource import UNKNOWN
from tests.support.access_cases import (
    ADMIN,
    AUDIENCE,
    CICD,
    DEV,
    FACTS,
    HOST,
    ORGANIZATION,
    OTHER_HOST,
    PROVIDER,
    SUBJECT,
    arn,
    by_role,
    by_token,
    document,
    exact,
    issuer,
    may_assume,
    resource,
    role,
    statement,
    trusts,
    trusts_token,
    world,
)

ALLOWED, DENIED, UNDECIDED = Decision.ALLOWED, Decision.DENIED, Decision.UNDECIDED
TARGET, DELEGATED = arn("target"), arn("delegated", DEV)
CALLER = arn("cicd/runner-small")
STRANGER = Choice(within="system:serviceaccount:*:*", outside=(SUBJECT,), optional=False)
SUB, AUD = f"{HOST}:sub", f"{HOST}:aud"
PINNED = {AUD: AUDIENCE}


def test_across_accounts_both_sides_must_allow() -> None:
    trust = trusts({"AWS": CALLER})
    graph = world(
        role("cicd/runner-small", policies=[may_assume(arn("other", DEV))]), role("delegated", trust, account=DEV)
    )
    assert by_role(graph, CALLER, DELEGATED) is DENIED


def test_within_an_account_a_trust_must_name_the_caller_and_not_just_the_account() -> None:
    graph = world(
        role("cicd/runner-small"), role("named", trusts({"AWS": CALLER})), role("account", trusts({"AWS": CICD}))
    )
    assert by_role(graph, CALLER, arn("named")) is ALLOWED
    assert by_role(graph, CALLER, arn("account")) is DENIED


@pytest.mark.parametrize(
    "deny",
    [
        document(statement("Deny", Action="sts:AssumeRole", Resource="*")),
        document(statement("Deny", NotAction="s3:*", Resource="*")),
        document(statement("Deny", Action="*", NotResource=arn("else"))),
        document(
            statement("Deny", Action="sts:*", Resource="*", Condition={"StringNotEqualsIfExists": {"aws:x": "y"}})
        ),
    ],
)
def test_a_deny_in_the_callers_policy_wins_or_is_undecided_by_its_condition(deny: Any) -> None:
    graph = world(role("cicd/runner-small", policies=[deny]), role("named", trusts({"AWS": CALLER})))
    unconditional = "Condition" not in deny["Statement"][0]
    assert by_role(graph, CALLER, arn("named")) is (DENIED if unconditional else UNDECIDED)


def test_a_deny_in_the_trust_applies_to_the_principals_that_it_names() -> None:
    def decision_with_deny_of(principal: Any) -> Decision:
        deny = statement("Deny", Principal=principal, Action="sts:AssumeRole")
        graph = world(role("cicd/runner-small"), role("named", trusts({"AWS": CALLER}), deny))
        return by_role(graph, CALLER, arn("named"))

    assert (
        decision_with_deny_of("*")
        is decision_with_deny_of({"AWS": CICD})
        is decision_with_deny_of({"AWS": CALLER})
        is DENIED
    )
    assert decision_with_deny_of({"AWS": DEV}) is decision_with_deny_of({"AWS": arn("other")}) is ALLOWED


def test_a_deny_with_not_principal_spares_a_role_only_together_with_its_account() -> None:
    def decision_with_deny_except(*principals: str) -> Decision:
        deny = statement("Deny", NotPrincipal={"AWS": list(principals)}, Action="sts:AssumeRole")
        return by_role(
            world(role("cicd/runner-small"), role("named", trusts({"AWS": CALLER}), deny)), CALLER, arn("named")
        )

    assert decision_with_deny_except(CALLER, f"arn:aws:iam::{CICD}:root") is ALLOWED
    assert decision_with_deny_except(CALLER) is DENIED


def test_a_boundary_and_service_control_policies_limit_permissions() -> None:
    boundary = {"policy": document(statement(Action="s3:*", Resource="*")), "name": "b"}
    limit = resource("aws:iam/policy:Policy", "b", CICD, **boundary)
    bound = {"permissionsBoundary": f"arn:aws:iam::{CICD}:policy/b"}
    caller = role("cicd/runner-small", policies=[may_assume(DELEGATED)])
    target = role("delegated", trusts({"AWS": CALLER}), account=DEV)
    assert by_role(world(caller, target), CALLER, DELEGATED) is ALLOWED
    bounded = role("cicd/runner-small", policies=[may_assume(DELEGATED)], **bound)
    assert by_role(world(bounded, target, limit), CALLER, DELEGATED) is DENIED
    assert by_role(world(bounded, target), CALLER, DELEGATED) is UNDECIDED, "the graph does not contain the boundary"
    everything, no_sts = (
        document(statement(**elements))
        for elements in ({"Action": "*", "Resource": "*"}, {"NotAction": "sts:*", "Resource": "*"})
    )
    for levels, expected in (
        ([[everything]], ALLOWED),
        ([[everything], [no_sts]], DENIED),
        ([[no_sts, everything]], ALLOWED),
    ):
        facts = Inventory(organization=ORGANIZATION, accounts=FACTS.accounts, service_control_policies={CICD: levels})
        assert by_role(world(caller, target, facts=facts), CALLER, DELEGATED) is expected


def test_the_caller_chooses_one_external_id_and_one_session_name() -> None:
    condition = {"StringEquals": {"sts:ExternalId": "x"}, "StringLike": {"sts:RoleSessionName": "job-*"}}
    deny = statement(
        "Deny", Principal="*", Action="sts:AssumeRole", Condition={"StringEquals": {"sts:ExternalId": "x"}}
    )
    allow = trusts({"AWS": CALLER}, Condition=condition)
    assert by_role(world(role("cicd/runner-small"), role("named", allow)), CALLER, arn("named")) is ALLOWED
    assert by_role(world(role("cicd/runner-small"), role("named", allow, deny)), CALLER, arn("named")) is DENIED


def test_session_tags_need_tag_session_on_both_sides() -> None:
    condition = {"StringEquals": {"aws:RequestTag/team": "a"}}

    def decision_with(trust_action: Any, own_action: Any) -> Decision:
        own = document(statement(Action=own_action, Resource=DELEGATED))
        trust = trusts({"AWS": CALLER}, trust_action, Condition=condition)
        return by_role(
            world(role("cicd/runner-small", policies=[own]), role("delegated", trust, account=DEV)), CALLER, DELEGATED
        )

    both = ["sts:AssumeRole", "sts:TagSession"]
    assert decision_with(both, both) is ALLOWED
    assert decision_with("sts:AssumeRole", both) is decision_with(both, "sts:AssumeRole") is DENIED


def test_a_token_needs_an_oidc_provider_in_the_account_of_the_role() -> None:
    elsewhere = f"arn:aws:iam::{ADMIN}:oidc-provider/{HOST}"
    assert by_token(world(role("target", trusts_token(exact()))), TARGET) is DENIED, "no such provider"
    assert by_token(world(issuer(account=ADMIN), role("target", trusts_token(exact()))), TARGET) is DENIED
    assert by_token(world(issuer(account=ADMIN), role("target", trusts_token(exact(), elsewhere))), TARGET) is DENIED
    assert by_token(world(issuer(clients=["other"]), role("target", trusts_token(exact()))), TARGET) is DENIED
    assert (
        by_token(world(issuer(), issuer(OTHER_HOST), role("target", trusts_token(exact()))), TARGET, host=OTHER_HOST)
        is DENIED
    )


def test_an_open_statement_beside_an_exact_statement_admits_strangers() -> None:
    graph = world(issuer(), role("target", trusts_token(exact()), trusts_token({"StringEquals": PINNED})))
    assert by_token(graph, TARGET, STRANGER) is ALLOWED


def test_a_trust_in_any_principal_admits_tokens_if_there_is_a_provider() -> None:
    trust = trusts("*", "sts:AssumeRoleWithWebIdentity")
    assert by_token(world(issuer(), role("target", trust)), TARGET, STRANGER) is ALLOWED
    assert by_token(world(role("target", trust)), TARGET, STRANGER) is DENIED


@pytest.mark.parametrize("trust", [UNKNOWN, "not JSON", "[unknown]", "{}", '{"Statement": [{"Effect": "Allow"}]}'])
def test_an_unreadable_trust_is_undecided_for_callers_with_a_permission(trust: Any) -> None:
    graph = world(
        issuer(),
        role("cicd/runner-small", policies=[may_assume(DELEGATED)]),
        role("other"),
        role("delegated", account=DEV, assumeRolePolicy=trust),
        role("target", assumeRolePolicy=trust),
    )
    assert by_role(graph, CALLER, DELEGATED) is UNDECIDED
    assert by_role(graph, arn("other"), DELEGATED) is DENIED, "a caller from another account always needs a permission"
    assert by_token(graph, TARGET) is UNDECIDED


@pytest.mark.parametrize("policy", ["not JSON", UNKNOWN, document(statement(Action="[unknown]", Resource="*"))])
def test_an_unreadable_policy_is_undecided_if_the_trust_names_the_caller(policy: Any) -> None:
    graph = world(
        role("cicd/runner-small", policies=[policy]),
        role("delegated", trusts({"AWS": CALLER}), account=DEV),
        role("closed", account=DEV),
    )
    assert by_role(graph, CALLER, DELEGATED) is UNDECIDED
    assert by_role(graph, CALLER, arn("closed", DEV)) is DENIED


def test_a_trust_may_name_the_provider_by_its_arn() -> None:
    assert by_token(world(issuer(), role("target", trusts_token(exact(), PROVIDER))), TARGET) is ALLOWED


def test_an_unknown_audience_of_a_provider_is_undecided() -> None:
    provider = issuer(clients=["[unknown]"])
    unknown_audiences = {**provider.inputs, "clientIdLists": UNKNOWN}
    graph = world(replace(provider, inputs=unknown_audiences), role("target", trusts_token(exact())))
    assert by_token(graph, TARGET) is UNDECIDED
    assert by_token(graph, TARGET, STRANGER) is DENIED, "the subject differs, so the audience does not matter"
