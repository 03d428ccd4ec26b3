"""Admission by resource policies: denials count only where they certainly hold, and conditions narrow only what they certainly narrow."""

from __future__ import annotations

from typing import Any

import pytest

from access.actions import Effect
from access.admission import Store, admitted, foreign_principals, not_denied, principals_for
from access.inventory import Inventory
from access.policy_documents import normalise

HOME, DEV, ORGANIZATION = "222222222222", "333333333333", "o-senncloud01"
INVENTORY = Inventory(organization=ORGANIZATION, accounts={"cicd": HOME, "dev": DEV})
JOB = f"arn:aws:iam::{HOME}:role/cicd/runner-small"
QUEUE = Store(service="sqs", account=HOME, arn=f"arn:aws:sqs:eu-central-1:{HOME}:~")
BUCKET = Store(service="s3", account=HOME, arn="arn:aws:s3:::cache")


def document_of(*statements: dict[str, Any]) -> Any:
    return normalise(
        {"Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*", **s} for s in statements]}
    )


def admits(*statements: dict[str, Any]) -> dict[str, set[Effect]]:
    document = document_of(*statements)
    principals = principals_for(document, HOME, INVENTORY, [JOB])
    cells = admitted(
        document,
        QUEUE,
        principals,
        lambda principal, whole: tuple(Effect) if whole and principal.account == HOME else (),
    )
    return {cell.principal: set(cell.effects) for cell in cells}


@pytest.mark.parametrize(
    ("statement", "principal"),
    [
        ({"Principal": "*"}, "anybody"),
        ({"Principal": {"AWS": "*"}, "Condition": {"StringEqualsIfExists": {"aws:PrincipalOrgID": ORGANIZATION}}}, "anybody"),
        ({"Principal": "*", "Condition": {"StringLike": {"aws:PrincipalOrgID": "o-*"}}}, "any account"),
        ({"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}}, "account dev"),
        ({"Principal": {"AWS": DEV}}, "account dev"),
        ({"Principal": {"AWS": "999999999999"}}, "account 999999999999"),
        ({"Principal": {"AWS": JOB}}, JOB),
        ({"NotPrincipal": {"AWS": "999999999999"}}, "any account"),
        ({"Principal": {"Service": "sns.amazonaws.com"}}, "sns.amazonaws.com for any account"),
        ({"Principal": "*", "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:sns:*:999999999999:{HOME}*"}}}, "a service for any account"),
        ({"Principal": {"AWS": DEV}, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, "account dev"),
    ],
)  # fmt: skip
def test_a_statement_admits_a_principal(statement: dict[str, Any], principal: str) -> None:
    assert admits(statement)[principal] == {Effect.WRITE}


@pytest.mark.parametrize(
    "statement",
    [
        {"Principal": {"AWS": HOME}},
        {"Principal": {"AWS": f"arn:aws:iam::{HOME}:root"}, "Action": "sqs:*"},
        {"Principal": {"AWS": DEV}, "Action": "sqs:ListQueues"},
        {"Principal": {"AWS": DEV}, "Condition": {"StringEquals": {"aws:PrincipalAccount": HOME}}},
    ],
)
def test_a_statement_admits_nobody_beyond_the_account(statement: dict[str, Any]) -> None:
    assert admits(statement) == {}


@pytest.mark.parametrize(
    ("principal", "name", "account", "whole", "action"),
    [
        ({"AWS": DEV}, "account dev", DEV, True, "sqs:SendMessage"),
        ({"AWS": JOB}, JOB, HOME, False, "sqs:SendMessage"),
        ("*", "anybody", "", False, "sqs:SendMessage"),
    ],
)
def test_what_is_admitted_names_account_action_and_who_decides(
    principal: Any, name: str, account: str, whole: bool, action: str
) -> None:
    document = document_of({"Principal": principal})
    cells = admitted(document, QUEUE, principals_for(document, HOME, INVENTORY, [JOB]), lambda *_: ())
    (cell,) = [cell for cell in cells if cell.principal == name]
    assert (cell.account, cell.whole_account, dict(cell.effects)) == (account, whole, {Effect.WRITE: action})


def test_a_service_for_our_own_account_is_told_from_a_confused_deputy() -> None:
    own = {"Principal": {"Service": "sns.amazonaws.com"}, "Condition": {"StringEquals": {"aws:SourceAccount": HOME}}}
    assert admits(own) == {"sns.amazonaws.com for account cicd": {Effect.WRITE}}


def test_a_denial_counts_only_where_it_certainly_holds() -> None:
    everybody = {"Principal": {"AWS": DEV}}
    assert admits(everybody, {"Effect": "Deny", "Principal": "*"}) == {}
    narrowed = {"Effect": "Deny", "Principal": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}
    assert set(admits(everybody, narrowed)) == {"account dev"}


def test_named_principals_of_other_accounts_and_kinds_are_foreign() -> None:
    names = [
        "AROAEXAMPLEEXAMPLE1",
        f"arn:aws:iam::{HOME}:user/robot",
        f"arn:aws:iam::999999999999:role/{HOME}",
        JOB,
        HOME,
    ]
    (statement,) = document_of({"Principal": {"AWS": names}})
    assert list(foreign_principals(statement, INVENTORY)) == names[:3]


PLAIN = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}


@pytest.mark.parametrize(
    ("changes", "gets_through"),
    [
        ({}, False),
        ({"Resource": ["arn:aws:s3:::cache", "arn:aws:s3:::cache/*"]}, False),
        ({"Action": "*"}, False),
        ({"Resource": "arn:aws:s3:::cache/*"}, True),
        ({"Resource": "arn:aws:s3:::cache"}, True),
        ({"Resource": ["arn:aws:s3:::cache", "arn:aws:s3:::cache/a/*"]}, True),
        ({"Action": ["s3:Get*", "s3:Put*"]}, True),
        ({"Principal": {"AWS": HOME}}, True),
        ({"Condition": {**PLAIN["Condition"], "StringEquals": {"aws:SourceVpc": "vpc-1"}}}, True),  # type: ignore[dict-item]
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
    ],
)
def test_a_denial_of_plain_http_holds_for_every_request_or_somebody_gets_through(
    changes: dict[str, Any], gets_through: bool
) -> None:
    document = document_of({**PLAIN, **changes})
    callers = [p for p in principals_for(document, HOME, INVENTORY, []) if not p.is_service]
    assert (not_denied(document, BUCKET, callers, tls=False) is not None) is gets_through
