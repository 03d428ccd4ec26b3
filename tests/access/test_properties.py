"""Properties of generated documents: an allow never removes access, a deny never gives access, spelling changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from access.chains import Node
from access.decision import Decision
from tests.support.access_cases import CICD, DEV, HOST, PROVIDER, SUBJECT, arn, by_token, issuer, reached, role, world

pytestmark = pytest.mark.thorough

RANK = {Decision.DENIED: 0, Decision.UNDECIDED: 1, Decision.ALLOWED: 2}
NAMES = ("a", "b", "c")
ARNS = [arn(name) for name in NAMES]
FEW = settings(max_examples=25, deadline=None)

operators = st.sampled_from(
    [
        "StringEquals",
        "StringLike",
        "StringNotEquals",
        "ArnLike",
        "StringEqualsIfExists",
        "ForAllValues:StringLike",
        "Null",
        "NoSuch",
    ]
)
keys = st.sampled_from(
    ["aws:PrincipalArn", "aws:PrincipalOrgID", "sts:ExternalId", f"{HOST}:sub", f"{HOST}:aud", "aws:SourceIp"]
)
values = st.sampled_from(
    [*ARNS, "arn:aws:iam::*:role/*", "o-senncloud01", "true", "x", "system:*", SUBJECT, "${aws:username}"]
)
conditions = st.dictionaries(
    operators, st.dictionaries(keys, st.lists(values, min_size=1, max_size=2), min_size=1, max_size=1), max_size=2
)
actions = st.lists(
    st.sampled_from(["sts:AssumeRole", "sts:*", "*", "sts:AssumeRoleWithWebIdentity", "iam:GetRole"]),
    min_size=1,
    max_size=2,
)
principals = st.sampled_from(
    ["*", {"AWS": CICD}, {"AWS": ARNS[:2]}, {"AWS": f"arn:aws:iam::{DEV}:root"}, {"Federated": PROVIDER}]
)


def statements(*effects: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"Effect": st.sampled_from(effects), "Action": actions, "Condition": conditions, "Principal": principals}
    )


def permissions(*effects: str) -> st.SearchStrategy[dict[str, Any]]:
    resources = st.lists(st.sampled_from(["*", *ARNS, arn("*"), arn("?")]), min_size=1, max_size=2)
    parts = {"Effect": st.sampled_from(effects), "Action": actions, "Condition": conditions, "Resource": resources}
    return st.fixed_dictionaries(parts)


BOTH = ("Allow", "Deny")
roles = st.fixed_dictionaries(
    {"trust": st.lists(statements(*BOTH), max_size=2), "policy": st.lists(permissions(*BOTH), max_size=2)}
)
worlds = st.fixed_dictionaries(dict.fromkeys(NAMES, roles))
Documents = dict[str, dict[str, list[dict[str, Any]]]]


def decisions_of(documents: Documents) -> dict[tuple[str, str], Decision]:
    """Return the decisions for each start (role, token, account) and each role of a small graph."""
    resources = [
        role(name, *parts["trust"], policies=[{"Statement": parts["policy"]}] if parts["policy"] else [])
        for name, parts in documents.items()
    ]
    graph = world(issuer(), *resources)
    starts = {**{name: Node("role", arn(name)) for name in NAMES}, "account": Node("account", DEV)}
    decisions = {(start, name): reached(graph, node, arn(name)) for start, node in starts.items() for name in NAMES}
    return decisions | {("token", name): by_token(graph, arn(name)) for name in NAMES}


def with_statement(documents: Documents, side: str, statement: dict[str, Any]) -> Documents:
    return {**documents, "a": {**documents["a"], side: [*documents["a"][side], statement]}}


@FEW
@given(worlds, statements("Allow"))
def test_a_further_allow_in_a_trust_never_removes_access(documents: Documents, further: dict[str, Any]) -> None:
    before, after = decisions_of(documents), decisions_of(with_statement(documents, "trust", further))
    assert all(RANK[after[pair]] >= RANK[before[pair]] for pair in before)


@FEW
@given(worlds, permissions("Allow"))
def test_a_further_allow_in_a_policy_never_removes_access(documents: Documents, further: dict[str, Any]) -> None:
    before, after = decisions_of(documents), decisions_of(with_statement(documents, "policy", further))
    assert all(RANK[after[pair]] >= RANK[before[pair]] for pair in before)


@FEW
@given(worlds, statements("Deny"), permissions("Deny"))
def test_a_further_deny_never_gives_access(documents: Documents, trust: dict[str, Any], policy: dict[str, Any]) -> None:
    before, after = (
        decisions_of(documents),
        decisions_of(with_statement(with_statement(documents, "trust", trust), "policy", policy)),
    )
    assert all(RANK[after[pair]] <= RANK[before[pair]] for pair in before)


@FEW
@given(worlds, st.randoms(use_true_random=False))
def test_spelling_never_changes_a_decision(documents: Documents, random: Any) -> None:
    def respelled(value: Any, depth: int = 0) -> Any:
        if isinstance(value, list) and len(value) == 1 and random.random() < 0.5:
            return respelled(value[0], depth + 1)
        if isinstance(value, list):
            return [respelled(element, depth + 1) for element in random.sample(value, len(value))]
        if isinstance(value, dict):
            mixed = {
                key.upper() if random.random() < 0.3 and key != "ForAllValues:StringLike" else key: element
                for key, element in value.items()
            }
            return {
                key: respelled(element, depth + 1) for key, element in random.sample(list(mixed.items()), len(mixed))
            }
        return value

    respelled_documents = {
        name: {side: [respelled(element) for element in elements] for side, elements in parts.items()}
        for name, parts in documents.items()
    }
    assert decisions_of(respelled_documents) == decisions_of(documents)


@FEW
@given(worlds, st.sampled_from(["Action", "Condition", "Principal"]), st.sampled_from(BOTH))
def test_an_unknown_element_never_turns_a_decision_into_its_opposite(
    documents: Documents, element: str, effect: str
) -> None:
    # The unknown element may match every principal or no principal. If these two decisions differ, only UNDECIDED is right.
    whole = {"Effect": effect, "Action": "sts:AssumeRole", "Principal": "*"}
    decisions_without, decisions_with_unknown, decisions_with_whole = (
        decisions_of(documents),
        decisions_of(with_unknown_element(documents, whole, element)),
        decisions_of(with_statement(documents, "trust", whole)),
    )
    for pair, decision in decisions_with_unknown.items():
        if decisions_without[pair] is decisions_with_whole[pair]:
            assert decision in (decisions_with_whole[pair], Decision.UNDECIDED), pair
        elif Decision.UNDECIDED not in (decisions_without[pair], decisions_with_whole[pair]):
            assert decision is Decision.UNDECIDED, pair


def with_unknown_element(documents: Documents, whole: dict[str, Any], element: str) -> Documents:
    unknown_element = {"StringEquals": {"aws:PrincipalArn": "[unknown]"}} if element == "Condition" else "[unknown]"
    return with_statement(documents, "trust", {**whole, element: unknown_element})


@FEW
@given(st.text(max_size=40))
def test_any_text_as_a_document_gives_a_decision(text: str) -> None:
    graph = world(
        issuer(),
        role("a", assumeRolePolicy=text),
        role("b", policies=[text]),
        role("c", assumeRolePolicy=json.dumps([text])),
    )
    assert {by_token(graph, arn(name)) for name in NAMES} <= set(Decision)
