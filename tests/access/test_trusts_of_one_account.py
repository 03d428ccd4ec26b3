"""What AWS documents about trusts that the second opinion and the reasoner once decided differently."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from access.decision import Decision
from access.inventory import Inventory
from access.matrix import derived
from tests.support.access_cases import (
    CICD,
    DEV,
    FACTS,
    ORGANIZATION,
    arn,
    by_account,
    by_role,
    document,
    may_assume,
    resource,
    role,
    statement,
    trusts,
    world,
)

ALLOWED, DENIED, UNDECIDED = Decision.ALLOWED, Decision.DENIED, Decision.UNDECIDED
CALLER, TARGET, BOUNDARY = arn("job"), arn("target"), f"arn:aws:iam::{CICD}:policy/bound"
SESSION, OTHER_SESSION = (f"arn:aws:sts::{CICD}:assumed-role/job/{name}" for name in ("small", "big"))
READS_ONLY = resource(
    "aws:iam/policy:Policy",
    "bound",
    CICD,
    name="bound",
    policy=document(statement(Action="s3:GetObject", Resource="*")),
)
TAGGING = ("sts:AssumeRole", "sts:TagSession")


def decided(*trust: Any, caller: Any = None, tags: Any = None, facts: Inventory = FACTS) -> Decision:
    """Decide whether the role `job` may become the role `target` of its account."""
    job = role("job", trusts({"Service": "ec2.amazonaws.com"})) if caller is None else caller
    return by_role(world(job, READS_ONLY, role("target", *trust, tags=tags or {}), facts=facts), CALLER, TARGET)


def bounded(*trust: Any) -> Decision:
    """Decide the same for a caller whose boundary does not allow it."""
    caller = role("job", trusts({"Service": "ec2.amazonaws.com"}), permissionsBoundary=BOUNDARY)
    return decided(*trust, caller=caller)


@pytest.mark.parametrize(
    ("trust", "expected"),
    [
        (trusts({"AWS": CALLER}), DENIED),
        (trusts({"AWS": SESSION}), ALLOWED),
        (trusts("*"), UNDECIDED),
        (trusts({"AWS": "*"}, Condition={"ArnLike": {"aws:PrincipalArn": arn("j*")}}), ALLOWED),
        (trusts("*", Condition={"ArnNotLike": {"aws:PrincipalArn": arn("x*")}}), UNDECIDED),
        (trusts({"AWS": CICD}), DENIED),
    ],
    ids=["role", "session", "everybody", "everybody by ARN", "everybody but an ARN", "account"],
)
def test_a_boundary_limits_what_a_trust_gives_to_a_role_but_not_to_its_session(trust: Any, expected: Decision) -> None:
    assert bounded(trust) is expected
    assert decided(trust) is (DENIED if trust["Principal"] == {"AWS": CICD} else ALLOWED)


def test_a_denial_in_a_boundary_refuses_also_a_session_that_the_trust_names() -> None:
    denies = document(statement("Deny", Action="sts:*", Resource="*"))
    caller = role("job", trusts({"Service": "ec2.amazonaws.com"}), policies=[denies])
    assert decided(trusts({"AWS": SESSION}), caller=caller) is DENIED


def test_the_organisation_limits_also_a_session_that_the_trust_names() -> None:
    level = [document(statement(Action="s3:*", Resource="*"))]
    facts = Inventory(organization=ORGANIZATION, accounts=FACTS.accounts, service_control_policies={CICD: [level]})
    assert decided(trusts({"AWS": SESSION}), facts=facts) is DENIED


def test_another_accounts_session_needs_its_own_permission_although_the_trust_names_it() -> None:
    trust = trusts({"AWS": SESSION})
    for policies, expected in (([], DENIED), ([may_assume(arn("target", DEV))], ALLOWED)):
        caller = role("job", trusts({"Service": "ec2.amazonaws.com"}), policies=policies)
        graph = world(caller, role("target", trust, account=DEV))
        assert by_role(graph, CALLER, arn("target", DEV)) is expected


@pytest.mark.parametrize(("denied", "expected"), [(SESSION, ALLOWED), (CALLER, DENIED), (CICD, DENIED), ("*", DENIED)])
def test_a_denial_of_one_session_leaves_the_other_sessions_of_the_role(denied: str, expected: Decision) -> None:
    assert decided(trusts({"AWS": CALLER}), statement("Deny", Principal={"AWS": denied}, Action="*")) is expected


def test_a_session_that_the_trust_allows_and_denies_is_refused() -> None:
    denial = statement("Deny", Principal={"AWS": SESSION}, Action="*")
    assert decided(trusts({"AWS": SESSION}), denial) is DENIED
    assert decided(trusts({"AWS": [SESSION, OTHER_SESSION]}), denial) is ALLOWED


def tagged(caller_trust: Any, key: str, value: str, tags: Any = None) -> Decision:
    condition = {"StringEquals": {f"aws:PrincipalTag/{key}": value}}
    return decided(trusts({"AWS": CALLER}, Condition=condition), caller=role("job", caller_trust, tags=tags or {}))


@pytest.mark.parametrize(
    ("action", "key", "value", "expected"),
    [
        ("sts:AssumeRole", "level", "open", ALLOWED),
        ("sts:AssumeRole", "level", "protected", DENIED),
        ("sts:AssumeRole", "team", "blue", DENIED),
        (TAGGING, "level", "open", ALLOWED),
        (TAGGING, "level", "protected", UNDECIDED),
        (TAGGING, "team", "blue", UNDECIDED),
        ("sts:*", "Level", "protected", UNDECIDED),
    ],
)
def test_tags_of_a_session_override_those_of_its_role_if_the_trust_takes_tags(
    action: Any, key: str, value: str, expected: Decision
) -> None:
    caller_trust = trusts({"AWS": DEV}, action if isinstance(action, str) else list(action))
    assert tagged(caller_trust, key, value, {"level": "open"}) is expected


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], DENIED),
        ([document(statement(Action="iam:TagRole", Resource="*"))], UNDECIDED),
    ],
)
@pytest.mark.parametrize("key", ["aws:ResourceTag/team", "iam:ResourceTag/team"])
def test_a_role_has_the_tags_of_the_program_unless_the_caller_can_tag_it(
    policies: Any, expected: Decision, key: str
) -> None:
    caller = role("job", trusts({"Service": "ec2.amazonaws.com"}), policies=policies)
    blue = trusts({"AWS": CALLER}, Condition={"StringEquals": {key: "blue"}})
    assert decided(blue, caller=caller, tags={"team": "blue"}) is ALLOWED
    assert decided(blue, caller=caller, tags={"team": "green"}) is expected
    assert decided(blue, caller=caller) is expected


@pytest.mark.parametrize(
    ("action", "tags", "expected"),
    [
        ("sts:AssumeRole", {"level": "open"}, DENIED),
        (TAGGING, {"level": "open"}, UNDECIDED),
        (TAGGING, {"level": "protected"}, ALLOWED),
        (TAGGING, {}, DENIED),
    ],
)
def test_a_sessions_transitive_tag_replaces_an_equal_tag_of_the_role_that_it_assumes(
    action: Any, tags: Any, expected: Decision
) -> None:
    """Source: IAM User Guide, id_session-tags.html, "Chaining roles with session tags"."""
    caller = role("job", trusts({"AWS": DEV}, action if isinstance(action, str) else list(action)))
    protected = {"StringEquals": {"aws:ResourceTag/level": "protected"}}
    assert decided(trusts({"AWS": CALLER}, Condition=protected), caller=caller, tags=tags) is expected


NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"DateLessThan": {"aws:CurrentTime": "2026-11-30T08:59:59Z"}}, DENIED),
        ({"DateLessThan": {"aws:CurrentTime": "2026-11-30T09:00:01Z"}}, ALLOWED),
        ({"DateLessThanEquals": {"aws:CurrentTime": ["2020-01-01", "2021-01-01T00:00:00+02:00"]}}, DENIED),
        ({"DateGreaterThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}, ALLOWED),
        ({"NumericLessThan": {"aws:EpochTime": "1700000000"}}, DENIED),
        ({"NumericLessThan": {"aws:EpochTime": "1900000000"}}, ALLOWED),
        (
            {
                "NumericLessThan": {"aws:EpochTime": "1900000000"},
                "DateGreaterThan": {"aws:CurrentTime": "2035-01-01T00:00:00Z"},
            },
            DENIED,
        ),
        ({"DateNotEquals": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, ALLOWED),
        ({"Null": {"aws:CurrentTime": "true"}}, DENIED),
    ],
)
def test_a_trust_that_has_ended_admits_nobody(condition: Any, expected: Decision) -> None:
    facts = replace(FACTS, now=NOW)
    assert decided(trusts({"AWS": CALLER}, Condition=condition), facts=facts) is expected


def test_the_matrix_says_that_a_trust_has_ended() -> None:
    ended = trusts({"AWS": CICD}, Condition={"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}})
    cells = derived(world(role("target", ended), facts=replace(FACTS, now=NOW)))
    reasons = {(cell.decision, cell.reason) for cell in cells if cell.principal == "root:cicd"}
    assert reasons == {(DENIED, "statement 0 of its trust ended at 2026-01-01T00:00:00+00:00")}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"aws:PrincipalType": "AssumedRole"}}, ALLOWED),
        ({"StringEquals": {"aws:PrincipalType": "User"}}, ALLOWED),
        ({"StringEquals": {"aws:PrincipalType": "Anonymous"}}, DENIED),
        ({"StringEquals": {"aws:PrincipalType": "User"}, "Null": {"aws:username": "true"}}, DENIED),
        (
            {"StringEquals": {"aws:PrincipalType": "User"}, "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}},
            DENIED,
        ),
        ({"Null": {"aws:TagKeys": "true"}, "StringEquals": {"aws:RequestTag/team": "blue"}}, DENIED),
        ({"Null": {"aws:TagKeys": "false"}, "StringEquals": {"aws:RequestTag/team": "blue"}}, ALLOWED),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "team"}, "Null": {"aws:RequestTag/team": "true"}}, DENIED),
        ({"StringEquals": {"aws:TagKeys": "level", "aws:RequestTag/team": "blue"}}, ALLOWED),
        ({"StringEquals": {"sts:TransitiveTagKeys": "team"}, "Null": {"aws:RequestTag/team": "true"}}, DENIED),
    ],
)
def test_the_keys_of_anybodys_request_fit_together(condition: Any, expected: Decision) -> None:
    graph = world(role("target", trusts({"AWS": CICD}, list(TAGGING), Condition=condition)))
    assert by_account(graph, CICD, TARGET) is expected


def test_a_service_is_refused_where_everybody_is() -> None:
    service = trusts({"Service": "ec2.amazonaws.com"})
    passes = document(statement(Action=["iam:PassRole", "ec2:RunInstances"], Resource="*"))
    graph = world(
        role("job", service, policies=[passes]),
        role("target", service),
        role("closed", service, statement("Deny", Principal="*", Action="*")),
    )
    assert graph.admits_service(graph.roles[TARGET], "ec2.amazonaws.com") is True
    assert graph.admits_service(graph.roles[arn("closed")], "ec2.amazonaws.com") is False
