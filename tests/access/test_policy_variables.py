"""Variables of policies have the caller's values where those are fixed, and are undecided elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from access.decision import Decision
from tests.support.access_cases import CICD, arn, by_account, by_role, document, role, statement, trusts, world

ALLOWED, DENIED, UNDECIDED = Decision.ALLOWED, Decision.DENIED, Decision.UNDECIDED
CALLER, TARGET = arn("job"), arn("target")
SERVICE = trusts({"Service": "ec2.amazonaws.com"})


def decided(condition: Any, *, version: str = "2012-10-17", caller_trust: Any = SERVICE) -> Decision:
    trust = {**document(trusts({"AWS": CALLER}, Condition=condition)), "Version": version}
    caller = role("job", caller_trust, tags={"team": "blue", "star": "b*"})
    return by_role(world(caller, role("target", assumeRolePolicy=trust, tags={"team": "blue"})), CALLER, TARGET)


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("StringEquals", "${aws:PrincipalTag/Team}", ALLOWED),
        ("StringEquals", "${aws:ResourceTag/team}", ALLOWED),
        ("StringEquals", "${aws:PrincipalTag/team}-x", DENIED),
        ("StringLike", "${aws:PrincipalTag/team}*", ALLOWED),
        ("StringNotEquals", "${aws:PrincipalTag/team}", DENIED),
        ("StringEquals", "${aws:PrincipalTag/level}", DENIED),
        ("StringNotEquals", "${aws:PrincipalTag/level}", ALLOWED),
        ("StringEquals", "${aws:PrincipalTag/level, 'blue'}", ALLOWED),
        ("StringEquals", "${aws:PrincipalTag/level, 'green'}", DENIED),
        ("StringEquals", "${aws:PrincipalTag/star}", UNDECIDED),
        ("StringLike", "${aws:PrincipalTag/star}", UNDECIDED),
        ("StringLike", "${aws:userid}", UNDECIDED),
        ("StringLike", "b${*}", UNDECIDED),
    ],
)
def test_a_variable_has_the_fixed_value_of_the_caller(operator: str, value: str, expected: Decision) -> None:
    assert decided({operator: {"aws:PrincipalTag/team": value}}) is expected


def test_a_variable_is_undecided_where_a_session_may_have_another_tag_or_the_document_is_older() -> None:
    green = {"StringEquals": {"aws:PrincipalTag/team": "${aws:PrincipalTag/level}"}}
    tagging = trusts({"Service": "ec2.amazonaws.com"}, ["sts:AssumeRole", "sts:TagSession"])
    assert decided(green) is DENIED
    assert decided(green, caller_trust=tagging) is UNDECIDED
    assert decided({"StringLike": {"aws:PrincipalTag/team": "${aws:x}"}}, version="2008-10-17") is UNDECIDED


@pytest.mark.parametrize(
    ("element", "text", "expected"),
    [
        ("Resource", f"arn:aws:iam::{CICD}:role/${{aws:PrincipalTag/target}}", ALLOWED),
        ("Resource", f"arn:aws:iam::{CICD}:role/${{aws:PrincipalTag/missing}}", DENIED),
        ("Resource", f"arn:aws:iam::{CICD}:role/${{aws:PrincipalTag/missing, 'target'}}", ALLOWED),
        ("NotResource", f"arn:aws:iam::{CICD}:role/${{aws:PrincipalTag/target}}", DENIED),
        ("NotResource", f"arn:aws:iam::{CICD}:role/${{aws:PrincipalTag/missing}}", ALLOWED),
    ],
)
def test_a_variable_in_a_resource_without_a_value_matches_nothing(element: str, text: str, expected: Decision) -> None:
    policy = document(statement(Action="sts:AssumeRole", **{element: text}))
    caller = role("job", SERVICE, policies=[policy], tags={"target": "target"})
    assert by_role(world(caller, role("target", trusts({"AWS": CICD}))), CALLER, TARGET) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"sts:RoleSessionName": "job-*"}}, DENIED),
        ({"StringLike": {"sts:RoleSessionName": "job-*"}}, ALLOWED),
        ({"StringLike": {"sts:RoleSessionName": ["?~", "?a"]}}, ALLOWED),
        ({"StringEquals": {"sts:RoleSessionName": "a b"}}, DENIED),
        ({"StringEquals": {"aws:RequestTag/team": "a b"}}, ALLOWED),
        ({"StringEquals": {"aws:RequestTag/team": "*"}}, DENIED),
        ({"StringEquals": {"sts:ExternalId": "a/b:c"}}, ALLOWED),
    ],
)
def test_a_caller_chooses_only_values_that_sts_takes(condition: Any, expected: Decision) -> None:
    trust = trusts({"AWS": CICD}, ["sts:AssumeRole", "sts:TagSession"], Condition=condition)
    assert by_account(world(role("target", trust)), CICD, TARGET) is expected
