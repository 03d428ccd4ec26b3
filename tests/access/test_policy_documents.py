"""Normalised policy documents: every legal spelling gives the same statements, and an invalid document gives a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from access.decision import Undecided
from access.policy_documents import Principal, Statement, normalise
from access.resource import ENGINE_UNKNOWN, UNKNOWN, Resource, at, from_wire

ROLE = "arn:aws:iam::222222222222:role/cicd/runner-small"
PLAIN = {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [ROLE]}


def document(*statements: Any, **more: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements), **more}


def only_statement(value: Any) -> Statement:
    statements = normalise(value)
    assert not isinstance(statements, Undecided), statements.reason
    (statement,) = statements
    return statement


def undecided_reason(value: Any) -> str:
    result = normalise(value)
    assert isinstance(result, Undecided), result
    return result.reason


@pytest.mark.parametrize(
    "spelling",
    [
        json.dumps(document(PLAIN)),
        {"Version": "2012-10-17", "Statement": PLAIN},
        {"statement": [PLAIN]},
        document({**PLAIN, "Action": "sts:AssumeRole"}),
        document({**PLAIN, "Resource": ROLE}),
        document({"effect": "Allow", "action": "sts:AssumeRole", "RESOURCE": ROLE}),
        document({"Effect": "allow", "Action": ("sts:AssumeRole",), "Resource": ROLE}),
    ],
)
def test_every_legal_spelling_is_the_same_document(spelling: Any) -> None:
    assert only_statement(spelling) == only_statement(document(PLAIN))


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": ["*"]}, {"aws": "*"}])
def test_every_spelling_of_any_principal_is_the_same(principal: Any) -> None:
    statement = only_statement(document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}))
    assert statement.principals == (Principal("AWS", "*"),)


def test_principals_keep_their_type() -> None:
    principal = {"Service": "ec2.amazonaws.com", "Federated": ["a", "b"]}
    statement = only_statement(document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}))
    assert set(statement.principals) == {
        Principal("Service", "ec2.amazonaws.com"),
        Principal("Federated", "a"),
        Principal("Federated", "b"),
    }


def test_numbers_and_booleans_are_read_as_json_spells_them() -> None:
    conditions = {"Bool": {"aws:SecureTransport": False}, "NumericLessThan": {"s3:max-keys": [10.0, 2.5]}}
    statement = only_statement(document({**PLAIN, "Condition": conditions}))
    assert [condition.values for condition in statement.conditions] == [("false",), ("10", "2.5")]


def test_condition_keys_ignore_case() -> None:
    statement = only_statement(document({**PLAIN, "Condition": {"StringEquals": {"AWS:PrincipalArn": ROLE}}}))
    assert statement.conditions[0].key == "aws:principalarn"


@pytest.mark.parametrize(
    ("value", "expected_reason"),
    [
        ("not JSON", "not JSON"),
        ('{"Statement": [], "Statement": []}', "twice"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        ("null", "not an object"),
        (None, "not an object"),
        ({"Version": "2012-10-17"}, "no statements"),
        (document("text"), "not an object"),
        (document({"Action": "*"}), "neither Allow nor Deny"),
        (document({"Effect": "Permit", "Action": "*"}), "neither Allow nor Deny"),
        (document({"Effect": "Allow"}), "names no action"),
        (document({**PLAIN, "NotAction": "*"}), "together"),
        (document({**PLAIN, "NotResource": "*"}), "together"),
        (document({**PLAIN, "action": "*"}), "different case"),
        (document({**PLAIN, "Actions": "*"}), "do not have"),
        (document({**PLAIN, "Action": []}), "empty list"),
        (document({**PLAIN, "Action": [{"a": "b"}]}), "a text is expected"),
        (document({**PLAIN, "Action": None}), "nothing where a text is expected"),
        (document({**PLAIN, "Principal": "everybody"}), "not an object"),
        (document({**PLAIN, "Principal": {}}), "no kind"),
        (document({**PLAIN, "Principal": {"Human": "*"}}), "do not have"),
        (document({**PLAIN, "Condition": "true"}), "not an object"),
        (document({**PLAIN, "Condition": {"StringEquals": "x"}}), "not an object"),
        (document({**PLAIN, "Condition": {"StringEquals": {"aws:x": []}}}), "empty list"),
        (document({**PLAIN, "Condition": {"StringEquals": {"aws:x": "1", "AWS:x": "2"}}}), "different case"),
        (UNKNOWN, "not known yet"),
        ("[unknown]", "not known yet"),
        (ENGINE_UNKNOWN, "not known yet"),
        ({"Statement": UNKNOWN}, "not known yet"),
        (document(UNKNOWN), "not known yet"),
        (document({**PLAIN, "Condition": {"StringEquals": UNKNOWN}}), "not known yet"),
    ],
)
def test_an_invalid_document_is_undecided_with_a_reason(value: Any, expected_reason: str) -> None:
    assert expected_reason in undecided_reason(value)


def test_unknown_parts_of_a_document_stay_unknown() -> None:
    statement = only_statement(
        document({"Effect": "Allow", "Action": [UNKNOWN], "Resource": ["[unknown]", ROLE], "Principal": UNKNOWN})
    )
    assert statement.actions == (UNKNOWN,)
    assert statement.resources == (UNKNOWN, ROLE)
    assert statement.principals == (Principal("AWS", UNKNOWN),)


@pytest.mark.parametrize(
    ("element", "action", "covered"),
    [
        ({"Action": "sts:AssumeRole"}, "sts:AssumeRole", True),
        ({"Action": "sts:assumerole"}, "sts:AssumeRole", True),
        ({"Action": "STS:Assume*"}, "sts:AssumeRole", True),
        ({"Action": "sts:AssumeRol?"}, "sts:AssumeRole", True),
        ({"Action": "*"}, "sts:AssumeRole", True),
        ({"Action": "sts:AssumeRole"}, "sts:AssumeRoleWithWebIdentity", False),
        ({"NotAction": "iam:*"}, "sts:AssumeRole", True),
        ({"NotAction": ["iam:*", "STS:*"]}, "sts:AssumeRole", False),
    ],
)
def test_actions_match_with_wildcards_and_ignore_case(element: dict[str, Any], action: str, covered: bool) -> None:
    assert only_statement(document({"Effect": "Allow", "Resource": "*", **element})).covers_action(action) is covered


@pytest.mark.parametrize(
    ("element", "covered"),
    [
        ({"Resource": ROLE}, True),
        ({"Resource": "*"}, True),
        ({"Resource": "arn:aws:iam::*:role/cicd/runner-*"}, True),
        ({"Resource": "arn:aws:iam::22222222222?:role/*"}, True),
        ({"Resource": ROLE.upper()}, False),
        ({"Resource": "arn:aws:iam::222222222222:role/cicd/"}, False),
        ({"NotResource": "arn:aws:iam::111111111111:*"}, True),
        ({"NotResource": "arn:aws:iam::222222222222:role/*"}, False),
        ({}, True),
    ],
)
def test_resources_match_with_wildcards_and_respect_case(element: dict[str, Any], covered: bool) -> None:
    assert only_statement(document({"Effect": "Allow", "Action": "*", **element})).covers_resource(ROLE) is covered


@pytest.mark.parametrize("resource", ["arn:*", "arn:aws:iam::${aws:PrincipalAccount}:role/*", UNKNOWN])
def test_resources_that_cannot_be_read_are_undecided(resource: Any) -> None:
    statement = only_statement(document({"Effect": "Allow", "Action": "*", "Resource": resource}))
    assert isinstance(statement.covers_resource(ROLE), Undecided)


def test_a_policy_variable_that_cannot_match_is_decided() -> None:
    statement = only_statement(
        document({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::${aws:username}/*"})
    )
    assert statement.covers_resource(ROLE) is False


def test_unknown_actions_are_undecided() -> None:
    statement = only_statement(document({"Effect": "Allow", "Action": [UNKNOWN, "iam:*"], "Resource": "*"}))
    assert isinstance(statement.covers_action("sts:AssumeRole"), Undecided)
    assert statement.covers_action("iam:PassRole") is True


def test_unknown_values_from_the_engine_are_marked_at_any_depth() -> None:
    inputs = from_wire({"a": [{"b": "[unknown]"}], "c": ENGINE_UNKNOWN, "d": "known"})
    assert inputs == {"a": [{"b": UNKNOWN}], "c": UNKNOWN, "d": "known"}
    assert at(inputs, "c", "deeper") is UNKNOWN
    assert at(inputs, "d", "deeper") is None


def test_a_resource_knows_its_stack() -> None:
    urn = "urn:pulumi:dev::runner-platform::aws:iam/role:Role::x"
    assert Resource(urn=urn, type="aws:iam/role:Role", name="x", inputs={}).stack == "dev"
    assert Resource(urn="x", type="aws:iam/role:Role", name="x", inputs={}).stack == ""
