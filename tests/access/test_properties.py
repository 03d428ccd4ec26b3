"""What must hold for any documents: more permission never takes reach, a denial never gives it, spelling changes nothing, unknown hides nothing."""

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
Made = dict[str, dict[str, list[dict[str, Any]]]]


def answers(made: Made) -> dict[tuple[str, str], Decision]:
    """Every answer of a small world: from each role, from a token and from an account, to each role."""
    its = [
        role(name, *parts["trust"], policies=[{"Statement": parts["policy"]}] if parts["policy"] else [])
        for name, parts in made.items()
    ]
    of = world(issuer(), *its)
    starts = {**{name: Node("role", arn(name)) for name in NAMES}, "account": Node("account", DEV)}
    found = {(start, name): reached(of, node, arn(name)) for start, node in starts.items() for name in NAMES}
    return found | {("token", name): by_token(of, arn(name)) for name in NAMES}


def more(made: Made, side: str, statement: dict[str, Any]) -> Made:
    return {**made, "a": {**made["a"], side: [*made["a"][side], statement]}}


@FEW
@given(worlds, statements("Allow"))
def test_a_further_allow_in_a_trust_never_takes_reach_away(made: Made, further: dict[str, Any]) -> None:
    before, after = answers(made), answers(more(made, "trust", further))
    assert all(RANK[after[pair]] >= RANK[before[pair]] for pair in before)


@FEW
@given(worlds, permissions("Allow"))
def test_a_further_allow_in_a_policy_never_takes_reach_away(made: Made, further: dict[str, Any]) -> None:
    before, after = answers(made), answers(more(made, "policy", further))
    assert all(RANK[after[pair]] >= RANK[before[pair]] for pair in before)


@FEW
@given(worlds, statements("Deny"), permissions("Deny"))
def test_a_further_deny_never_gives_reach(made: Made, trust: dict[str, Any], policy: dict[str, Any]) -> None:
    before, after = answers(made), answers(more(more(made, "trust", trust), "policy", policy))
    assert all(RANK[after[pair]] <= RANK[before[pair]] for pair in before)


@FEW
@given(worlds, st.randoms(use_true_random=False))
def test_spelling_never_changes_an_answer(made: Made, random: Any) -> None:
    def spelled(value: Any, depth: int = 0) -> Any:
        if isinstance(value, list) and len(value) == 1 and random.random() < 0.5:
            return spelled(value[0], depth + 1)
        if isinstance(value, list):
            return [spelled(each, depth + 1) for each in random.sample(value, len(value))]
        if isinstance(value, dict):
            mixed = {
                key.upper() if random.random() < 0.3 and key != "ForAllValues:StringLike" else key: each
                for key, each in value.items()
            }
            return {key: spelled(each, depth + 1) for key, each in random.sample(list(mixed.items()), len(mixed))}
        return value

    other = {
        name: {side: [spelled(each) for each in its] for side, its in parts.items()} for name, parts in made.items()
    }
    assert answers(other) == answers(made)


@FEW
@given(worlds, st.sampled_from(["Action", "Condition", "Principal"]), st.sampled_from(BOTH))
def test_an_unknown_part_turns_no_answer_into_its_opposite(made: Made, element: str, effect: str) -> None:
    # The unknown part may make the statement everybody's, or nobody's: where these differ only undecided is right.
    whole = {"Effect": effect, "Action": "sts:AssumeRole", "Principal": "*"}
    without, now, then = answers(made), answers(hiding(made, whole, element)), answers(more(made, "trust", whole))
    for pair, decision in now.items():
        if without[pair] is then[pair]:
            assert decision in (then[pair], Decision.UNDECIDED), pair
        elif Decision.UNDECIDED not in (without[pair], then[pair]):
            assert decision is Decision.UNDECIDED, pair


def hiding(made: Made, whole: dict[str, Any], element: str) -> Made:
    hidden = {"StringEquals": {"aws:PrincipalArn": "[unknown]"}} if element == "Condition" else "[unknown]"
    return more(made, "trust", {**whole, element: hidden})


@FEW
@given(st.text(max_size=40))
def test_no_text_breaks_the_reasoner(text: str) -> None:
    of = world(
        issuer(),
        role("a", assumeRolePolicy=text),
        role("b", policies=[text]),
        role("c", assumeRolePolicy=json.dumps([text])),
    )
    assert {by_token(of, arn(name)) for name in NAMES} <= set(Decision)
