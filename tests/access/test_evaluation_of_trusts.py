"""Trust documents and the principals that each one admits: cases that public policy tools get wrong."""

from __future__ import annotations

from typing import Any

import pytest

from access.callers import Choice
from access.decision import Decision
from tests.support.access_cases import (
    AUDIENCE,
    CICD,
    DEV,
    FOREIGN,
    HOST,
    ORGANIZATION,
    OTHER_HOST,
    SUBJECT,
    arn,
    by_account,
    by_role,
    by_token,
    exact,
    issuer,
    may_assume,
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

# Decisions for: the declared service account, a stranger, the declared service account with another audience.
TOKENS: dict[str, tuple[Any, tuple[Decision, Decision, Decision]]] = {
    "exact": (exact(), (ALLOWED, DENIED, DENIED)),
    "no condition": (None, (ALLOWED, ALLOWED, DENIED)),
    "aud only": ({"StringEquals": PINNED}, (ALLOWED, ALLOWED, DENIED)),
    "sub StringLike *": ({"StringEquals": PINNED, "StringLike": {SUB: "*"}}, (ALLOWED, ALLOWED, DENIED)),
    "wildcard namespace": ({"StringLike": {SUB: "system:serviceaccount:*:job", **PINNED}}, (ALLOWED, ALLOWED, DENIED)),
    "wildcard account": (
        {"StringLike": {SUB: "system:serviceaccount:jobs-small:*", **PINNED}},
        (ALLOWED, ALLOWED, DENIED),
    ),
    "question mark": (
        {"StringLike": {SUB: "system:serviceaccount:jobs-smal?:job", **PINNED}},
        (ALLOWED, ALLOWED, DENIED),
    ),
    "sub only": ({"StringEquals": {SUB: SUBJECT}}, (ALLOWED, DENIED, DENIED)),
    "IfExists": ({"StringEqualsIfExists": {SUB: SUBJECT, **PINNED}}, (ALLOWED, ALLOWED, DENIED)),
    "ForAllValues": ({"ForAllValues:StringEquals": {SUB: SUBJECT, **PINNED}}, (ALLOWED, ALLOWED, DENIED)),
    "sub StringNotEquals": (
        {"StringNotEquals": {SUB: "system:serviceaccount:jobs-big:job"}},
        (ALLOWED, ALLOWED, DENIED),
    ),
    "key of another issuer": (exact(host=OTHER_HOST), (DENIED, DENIED, DENIED)),
    "IfExists on another issuer": (
        {"StringEqualsIfExists": {f"{OTHER_HOST}:sub": SUBJECT}},
        (ALLOWED, ALLOWED, DENIED),
    ),
    "StringLike without wildcard": ({"StringLike": {SUB: SUBJECT, **PINNED}}, (ALLOWED, DENIED, DENIED)),
    "key in another case": ({"StringEquals": {SUB.upper(): SUBJECT, AUD: AUDIENCE}}, (ALLOWED, DENIED, DENIED)),
    "operator in another case": ({"stringequals": {SUB: SUBJECT, AUD: AUDIENCE}}, (ALLOWED, DENIED, DENIED)),
    "unknown operator": ({"StringMatches": {SUB: SUBJECT}}, (UNDECIDED, UNDECIDED, DENIED)),
    "unknown value": ({"StringEquals": {SUB: "[unknown]"}}, (UNDECIDED, UNDECIDED, DENIED)),
    "variable": ({"StringLike": {SUB: "${aws:username}*"}}, (UNDECIDED, UNDECIDED, DENIED)),
    "custom claim": ({"StringEquals": {f"{HOST}:project": "x"}}, (UNDECIDED, UNDECIDED, DENIED)),
    "principal's organisation": ({"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}, (DENIED, DENIED, DENIED)),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_trust_for_tokens_admits_exactly_the_expected_tokens(name: str) -> None:
    condition, expected = TOKENS[name]
    graph = world(issuer(), role("target", trusts_token(condition)))
    decisions = (by_token(graph, TARGET), by_token(graph, TARGET, STRANGER), by_token(graph, TARGET, audience="vault"))
    assert decisions == expected


ROLES: dict[str, tuple[Any, tuple[Decision, Decision, Decision]]] = {
    # Decisions for: the role with the permission, another principal of its account, a principal of a foreign account.
    "exact role": (trusts({"AWS": CALLER}), (ALLOWED, DENIED, DENIED)),
    "AWS *": (trusts({"AWS": "*"}), (ALLOWED, ALLOWED, ALLOWED)),
    "Principal as text": (trusts("*"), (ALLOWED, ALLOWED, ALLOWED)),
    "AWS * of the organisation": (
        trusts("*", Condition={"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}),
        (ALLOWED, ALLOWED, DENIED),
    ),
    "AWS * of any organisation": (
        trusts("*", Condition={"StringLike": {"aws:PrincipalOrgID": "o-*"}}),
        (ALLOWED, ALLOWED, ALLOWED),
    ),
    "own account's root": (trusts({"AWS": f"arn:aws:iam::{CICD}:root"}), (ALLOWED, ALLOWED, DENIED)),
    "account id": (trusts({"AWS": CICD}), (ALLOWED, ALLOWED, DENIED)),
    "foreign account's root": (trusts({"AWS": f"arn:aws:iam::{FOREIGN}:root"}), (DENIED, DENIED, ALLOWED)),
    "root with ExternalId": (
        trusts({"AWS": FOREIGN}, Condition={"StringEquals": {"sts:ExternalId": "secret"}}),
        (DENIED, DENIED, ALLOWED),
    ),
    "root and PrincipalArn": (
        trusts({"AWS": CICD}, Condition={"ArnEquals": {"aws:PrincipalArn": CALLER}}),
        (ALLOWED, DENIED, DENIED),
    ),
    "root and PrincipalArn of the root user": (
        trusts({"AWS": CICD}, Condition={"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{CICD}:root"}}),
        (DENIED, DENIED, DENIED),
    ),
    "root and PrincipalArn of the session": (
        trusts({"AWS": CICD}, Condition={"ArnLike": {"aws:PrincipalArn": f"arn:aws:sts::{CICD}:assumed-role/*"}}),
        (DENIED, DENIED, DENIED),
    ),
    "root and a pattern of PrincipalArn": (
        trusts({"AWS": CICD}, Condition={"ArnLike": {"aws:PrincipalArn": arn("cicd/runner-*")}}),
        (ALLOWED, ALLOWED, DENIED),
    ),
    "root and PrincipalArn IfExists": (
        trusts({"AWS": CICD}, Condition={"ArnEqualsIfExists": {"aws:PrincipalArn": CALLER}}),
        (ALLOWED, ALLOWED, DENIED),
    ),
    "role with a wildcard": (trusts({"AWS": arn("cicd/*")}), (DENIED, DENIED, DENIED)),
    "role without its path": (trusts({"AWS": arn("runner-small")}), (DENIED, DENIED, DENIED)),
    "session of the role": (
        trusts({"AWS": f"arn:aws:sts::{CICD}:assumed-role/runner-small/job"}),
        (ALLOWED, DENIED, DENIED),
    ),
    "action sts:*": (trusts({"AWS": CALLER}, "sts:*"), (ALLOWED, DENIED, DENIED)),
    "action in another case": (trusts({"AWS": CALLER}, "STS:assumerole"), (ALLOWED, DENIED, DENIED)),
    "NotAction": (statement(Principal={"AWS": CALLER}, NotAction="iam:*"), (ALLOWED, DENIED, DENIED)),
    "action for tokens only": (trusts({"AWS": CALLER}, "sts:AssumeRoleWithWebIdentity"), (DENIED, DENIED, DENIED)),
    "service": (trusts({"Service": "ec2.amazonaws.com"}), (DENIED, DENIED, DENIED)),
    "NotPrincipal": (statement(NotPrincipal={"AWS": CALLER}, Action="sts:AssumeRole"), (DENIED, ALLOWED, ALLOWED)),
    "unknown principal": (trusts({"AWS": "[unknown]"}), (UNDECIDED, UNDECIDED, UNDECIDED)),
    "unique id": (trusts({"AWS": "AROAEXAMPLEEXAMPLE123"}), (UNDECIDED, DENIED, DENIED)),
    "address": (
        trusts({"AWS": CALLER}, Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        (UNDECIDED, DENIED, DENIED),
    ),
}


@pytest.mark.parametrize("name", ROLES)
def test_a_trust_for_roles_admits_exactly_the_expected_callers(name: str) -> None:
    trust, expected = ROLES[name]
    graph = world(role("cicd/runner-small", policies=[may_assume(DELEGATED)]), role("delegated", trust, account=DEV))
    decisions = (
        by_role(graph, CALLER, DELEGATED),
        by_account(graph, CICD, DELEGATED),
        by_account(graph, FOREIGN, DELEGATED),
    )
    assert decisions == expected


@pytest.mark.parametrize(
    "condition",
    [{"Null": {"aws:PrincipalArn": "false"}}, {"NumericNotEquals": {"aws:PrincipalArn": "5"}}],
    ids=["Null", "a number"],
)
def test_an_account_has_principals_whatever_their_arn_is_compared_with(condition: Any) -> None:
    """A trust of everybody stays open beside a condition whose values can be no ARN."""
    graph = world(role("target", trusts("*"), trusts("*", Condition=condition)))
    assert by_account(graph, CICD, TARGET) is ALLOWED
