"""The normaliser: every legal spelling of a document is the same document, and what is none is said in words."""

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


def only(value: Any) -> Statement:
    found = normalise(value)
    assert not isinstance(found, Undecided), found.reason
    (statement,) = found
    return statement


def reason(value: Any) -> str:
    found = normalise(value)
    assert isinstance(found, Undecided), found
    return found.reason


@pytest.mark.parametrize(
    "spelled",
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
def test_every_legal_spelling_is_the_same_document(spelled: Any) -> None:
    assert only(spelled) == only(document(PLAIN))


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": ["*"]}, {"aws": "*"}])
def test_everybody_is_everybody_in_every_spelling(principal: Any) -> None:
    statement = only(document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}))
    assert statement.principals == (Principal("AWS", "*"),)


def test_principals_keep_their_kind() -> None:
    principal = {"Service": "ec2.amazonaws.com", "Federated": ["a", "b"]}
    statement = only(document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}))
    assert set(statement.principals) == {
        Principal("Service", "ec2.amazonaws.com"),
        Principal("Federated", "a"),
        Principal("Federated", "b"),
    }


def test_numbers_and_booleans_are_read_as_json_spells_them() -> None:
    condition = {"Bool": {"aws:SecureTransport": False}, "NumericLessThan": {"s3:max-keys": [10.0, 2.5]}}
    statement = only(document({**PLAIN, "Condition": condition}))
    assert [each.values for each in statement.conditions] == [("false",), ("10", "2.5")]


def test_condition_keys_have_no_case() -> None:
    statement = only(document({**PLAIN, "Condition": {"StringEquals": {"AWS:PrincipalArn": ROLE}}}))
    assert statement.conditions[0].key == "aws:principalarn"


@pytest.mark.parametrize(
    ("value", "says"),
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
def test_what_is_no_document_is_said_in_words(value: Any, says: str) -> None:
    assert says in reason(value)


def test_unknown_leaves_are_kept_as_unknown() -> None:
    statement = only(
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
def test_actions_have_no_case_and_wildcards(element: dict[str, Any], action: str, covered: bool) -> None:
    assert only(document({"Effect": "Allow", "Resource": "*", **element})).covers_action(action) is covered


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
def test_resources_have_case_and_wildcards(element: dict[str, Any], covered: bool) -> None:
    assert only(document({"Effect": "Allow", "Action": "*", **element})).covers_resource(ROLE) is covered


@pytest.mark.parametrize("resource", ["arn:*", "arn:aws:iam::${aws:PrincipalAccount}:role/*", UNKNOWN])
def test_resources_that_are_not_understood_are_undecided(resource: Any) -> None:
    statement = only(document({"Effect": "Allow", "Action": "*", "Resource": resource}))
    assert isinstance(statement.covers_resource(ROLE), Undecided)


def test_a_variable_that_cannot_fit_is_no_question() -> None:
    statement = only(document({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::${aws:username}/*"}))
    assert statement.covers_resource(ROLE) is False


def test_unknown_actions_are_undecided() -> None:
    statement = only(document({"Effect": "Allow", "Action": [UNKNOWN, "iam:*"], "Resource": "*"}))
    assert isinstance(statement.covers_action("sts:AssumeRole"), Undecided)
    assert statement.covers_action("iam:PassRole") is True


def test_values_from_the_wire_are_marked_at_any_depth() -> None:
    inputs = from_wire({"a": [{"b": "[unknown]"}], "c": ENGINE_UNKNOWN, "d": "known"})
    assert inputs == {"a": [{"b": UNKNOWN}], "c": UNKNOWN, "d": "known"}
    assert at(inputs, "c", "deeper") is UNKNOWN
    assert at(inputs, "d", "deeper") is None


def test_a_resource_knows_its_stack() -> None:
    urn = "urn:pulumi:dev::runner-platform::aws:iam/role:Role::x"
    assert Resource(urn=urn, type="aws:iam/role:Role", name="x", inputs={}).stack == "dev"
    assert Resource(urn="x", type="aws:iam/role:Role", name="x", inputs={}).stack == ""
