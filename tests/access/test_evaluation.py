"""The judgement: both sides of a trust, denials, limits, tags, providers, and documents that cannot be read."""

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
    of = world(
        role("cicd/runner-small", policies=[may_assume(arn("other", DEV))]), role("delegated", trust, account=DEV)
    )
    assert by_role(of, CALLER, DELEGATED) is DENIED


def test_in_one_account_a_trust_that_names_the_caller_is_enough_and_one_that_names_the_account_is_not() -> None:
    of = world(
        role("cicd/runner-small"), role("named", trusts({"AWS": CALLER})), role("account", trusts({"AWS": CICD}))
    )
    assert by_role(of, CALLER, arn("named")) is ALLOWED
    assert by_role(of, CALLER, arn("account")) is DENIED


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
def test_a_deny_of_the_caller_wins_as_far_as_it_is_understood(deny: Any) -> None:
    of = world(role("cicd/runner-small", policies=[deny]), role("named", trusts({"AWS": CALLER})))
    understood = "Condition" not in deny["Statement"][0]
    assert by_role(of, CALLER, arn("named")) is (DENIED if understood else UNDECIDED)


def test_a_deny_in_the_trust_wins_and_one_for_another_does_not() -> None:
    def refused(principal: Any) -> Decision:
        deny = statement("Deny", Principal=principal, Action="sts:AssumeRole")
        of = world(role("cicd/runner-small"), role("named", trusts({"AWS": CALLER}), deny))
        return by_role(of, CALLER, arn("named"))

    assert refused("*") is refused({"AWS": CICD}) is refused({"AWS": CALLER}) is DENIED
    assert refused({"AWS": DEV}) is refused({"AWS": arn("other")}) is ALLOWED


def test_a_deny_for_all_but_one_spares_it_only_together_with_its_account() -> None:
    def spared(*principals: str) -> Decision:
        deny = statement("Deny", NotPrincipal={"AWS": list(principals)}, Action="sts:AssumeRole")
        return by_role(
            world(role("cicd/runner-small"), role("named", trusts({"AWS": CALLER}), deny)), CALLER, arn("named")
        )

    assert spared(CALLER, f"arn:aws:iam::{CICD}:root") is ALLOWED
    assert spared(CALLER) is DENIED


def test_a_boundary_and_service_control_policies_limit_what_policies_allow() -> None:
    boundary = {"policy": document(statement(Action="s3:*", Resource="*")), "name": "b"}
    limit = resource("aws:iam/policy:Policy", "b", CICD, **boundary)
    bound = {"permissionsBoundary": f"arn:aws:iam::{CICD}:policy/b"}
    caller = role("cicd/runner-small", policies=[may_assume(DELEGATED)])
    target = role("delegated", trusts({"AWS": CALLER}), account=DEV)
    assert by_role(world(caller, target), CALLER, DELEGATED) is ALLOWED
    bounded = role("cicd/runner-small", policies=[may_assume(DELEGATED)], **bound)
    assert by_role(world(bounded, target, limit), CALLER, DELEGATED) is DENIED
    assert by_role(world(bounded, target), CALLER, DELEGATED) is UNDECIDED, "the boundary is not among the resources"
    everything, no_sts = (
        document(statement(**each))
        for each in ({"Action": "*", "Resource": "*"}, {"NotAction": "sts:*", "Resource": "*"})
    )
    for levels, expected in (
        ([[everything]], ALLOWED),
        ([[everything], [no_sts]], DENIED),
        ([[no_sts, everything]], ALLOWED),
    ):
        facts = Inventory(organization=ORGANIZATION, accounts=FACTS.accounts, service_control_policies={CICD: levels})
        assert by_role(world(caller, target, facts=facts), CALLER, DELEGATED) is expected


def test_an_external_id_and_a_session_name_are_the_callers_choice_but_not_both_ways_at_once() -> None:
    wanted = {"StringEquals": {"sts:ExternalId": "x"}, "StringLike": {"sts:RoleSessionName": "job-*"}}
    deny = statement(
        "Deny", Principal="*", Action="sts:AssumeRole", Condition={"StringEquals": {"sts:ExternalId": "x"}}
    )
    allow = trusts({"AWS": CALLER}, Condition=wanted)
    assert by_role(world(role("cicd/runner-small"), role("named", allow)), CALLER, arn("named")) is ALLOWED
    assert by_role(world(role("cicd/runner-small"), role("named", allow, deny)), CALLER, arn("named")) is DENIED


def test_session_tags_need_the_right_to_tag_on_both_sides() -> None:
    tagged = {"StringEquals": {"aws:RequestTag/team": "a"}}

    def tags(trust_action: Any, own_action: Any) -> Decision:
        own = document(statement(Action=own_action, Resource=DELEGATED))
        trust = trusts({"AWS": CALLER}, trust_action, Condition=tagged)
        return by_role(
            world(role("cicd/runner-small", policies=[own]), role("delegated", trust, account=DEV)), CALLER, DELEGATED
        )

    both = ["sts:AssumeRole", "sts:TagSession"]
    assert tags(both, both) is ALLOWED
    assert tags("sts:AssumeRole", both) is tags(both, "sts:AssumeRole") is DENIED


def test_a_token_enters_by_a_provider_of_the_roles_own_account_only() -> None:
    elsewhere = f"arn:aws:iam::{ADMIN}:oidc-provider/{HOST}"
    assert by_token(world(role("target", trusts_token(exact()))), TARGET) is DENIED, "no such provider"
    assert by_token(world(issuer(account=ADMIN), role("target", trusts_token(exact()))), TARGET) is DENIED
    assert by_token(world(issuer(account=ADMIN), role("target", trusts_token(exact(), elsewhere))), TARGET) is DENIED
    assert by_token(world(issuer(clients=["other"]), role("target", trusts_token(exact()))), TARGET) is DENIED
    assert (
        by_token(world(issuer(), issuer(OTHER_HOST), role("target", trusts_token(exact()))), TARGET, host=OTHER_HOST)
        is DENIED
    )


def test_one_open_statement_beside_a_good_one_is_open() -> None:
    of = world(issuer(), role("target", trusts_token(exact()), trusts_token({"StringEquals": PINNED})))
    assert by_token(of, TARGET, STRANGER) is ALLOWED


def test_a_star_of_any_kind_lets_tokens_in_where_there_is_a_provider() -> None:
    trust = trusts("*", "sts:AssumeRoleWithWebIdentity")
    assert by_token(world(issuer(), role("target", trust)), TARGET, STRANGER) is ALLOWED
    assert by_token(world(role("target", trust)), TARGET, STRANGER) is DENIED


@pytest.mark.parametrize("trust", [UNKNOWN, "not JSON", "[unknown]", "{}", '{"Statement": [{"Effect": "Allow"}]}'])
def test_a_trust_that_cannot_be_read_is_undecided_for_whoever_could_ask(trust: Any) -> None:
    of = world(
        issuer(),
        role("cicd/runner-small", policies=[may_assume(DELEGATED)]),
        role("other"),
        role("delegated", account=DEV, assumeRolePolicy=trust),
        role("target", assumeRolePolicy=trust),
    )
    assert by_role(of, CALLER, DELEGATED) is UNDECIDED
    assert by_role(of, arn("other"), DELEGATED) is DENIED, (
        "without a permission nobody crosses accounts, whatever the trust says"
    )
    assert by_token(of, TARGET) is UNDECIDED


@pytest.mark.parametrize("policy", ["not JSON", UNKNOWN, document(statement(Action="[unknown]", Resource="*"))])
def test_a_policy_that_cannot_be_read_is_undecided_where_the_trust_would_let_in(policy: Any) -> None:
    of = world(
        role("cicd/runner-small", policies=[policy]),
        role("delegated", trusts({"AWS": CALLER}), account=DEV),
        role("closed", account=DEV),
    )
    assert by_role(of, CALLER, DELEGATED) is UNDECIDED
    assert by_role(of, CALLER, arn("closed", DEV)) is DENIED


def test_the_first_provider_may_be_spelled_as_it_is() -> None:
    assert by_token(world(issuer(), role("target", trusts_token(exact(), PROVIDER))), TARGET) is ALLOWED


def test_a_provider_whose_audiences_are_not_known_yet_decides_nothing_that_hangs_on_them() -> None:
    unknown = issuer(clients=["[unknown]"])
    listed = {**unknown.inputs, "clientIdLists": UNKNOWN}
    of = world(replace(unknown, inputs=listed), role("target", trusts_token(exact())))
    assert by_token(of, TARGET) is UNDECIDED
    assert by_token(of, TARGET, STRANGER) is DENIED, "whatever the audience, the subject is another"
