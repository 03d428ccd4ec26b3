"""Differences of values: documents by their contents, lists by their members."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from runner_platform.reports.change import Property
from runner_platform.review.property_diff import differences, document

ALLOW = {"Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
DENY = {"Effect": "Deny", "Action": "iam:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
LEAVES = some.none() | some.booleans() | some.integers() | some.text(max_size=8)
VALUES = some.recursive(
    LEAVES, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=4), inner, max_size=4)
)


def policy(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def differences_of(old: Any, new: Any) -> list[tuple[str, str | None, str | None]]:
    return [(change.path, change.old, change.new) for change in differences({"policy": old}, {"policy": new})]


def test_the_order_and_spelling_of_a_policy_document_is_no_difference() -> None:
    spelled = {**ALLOW, "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": ["*"]}
    respelled = json.dumps({"Statement": [DENY, spelled], "Version": "2012-10-17"}, indent=2)
    assert differences_of(policy(ALLOW, DENY), respelled) == []


def test_an_additional_action_is_listed_alone_at_its_statement() -> None:
    wider = {**ALLOW, "Action": [*ALLOW["Action"], "s3:PutObject"]}
    assert differences_of(policy(ALLOW, DENY), policy(DENY, wider)) == [
        ("policy.Statement[Read].Action", None, "s3:PutObject")
    ]


def test_a_condition_that_goes_is_shown() -> None:
    lax = {key: value for key, value in DENY.items() if key != "Condition"}
    assert differences_of(policy(ALLOW, DENY), policy(ALLOW, lax)) == [
        ("policy.Statement[#2].Condition.Bool.aws:SecureTransport", "false", None)
    ]


def test_a_new_statement_is_shown_whole() -> None:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*", "Sid": "All"}
    ((path, old, new),) = differences_of(policy(DENY), policy(DENY, everything))
    assert (path, old) == ("policy.Statement[All]", None)
    assert json.loads(str(new)) == everything


def test_an_unlike_statement_is_removed_and_added() -> None:
    unlike = {"Effect": "Allow", "Action": "ecs:RunTask", "Resource": "arn:aws:ecs:::x"}
    assert {(path, old is None) for path, old, _ in differences_of(policy(DENY), policy(unlike))} == {
        ("policy.Statement[#1]", True),
        ("policy.Statement[#1]", False),
    }


def test_of_equal_statements_only_the_additional_one_is_new() -> None:
    assert [path for path, _, _ in differences_of(policy(DENY), policy(DENY, DENY))] == ["policy.Statement[#2]"]


def test_the_version_of_a_document_is_compared() -> None:
    assert differences_of(policy(ALLOW), policy(ALLOW, version="2008-10-17")) == [
        ("policy.Version", "2012-10-17", "2008-10-17")
    ]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (
            '{"rules":[{"rulePriority":1,"days":3}]}',
            '{"rules": [{"days": 9, "rulePriority": 1}]}',
            "policy.rules[1].days",
        ),
        ("[runners]\nlimit = 3\nname = 'a'\n", "[runners]\nname = 'a'\nlimit = 9\n", "policy.runners.limit"),
        ("[profile dev]\nregion = 3\n", "[profile dev]\n\nregion = 9\n", "policy.profile dev.region"),
        ("a: 1\nlimit: 3\n", "limit: 9\na: 1\n", "policy.limit"),
    ],
)
def test_documents_of_every_format_are_compared_by_contents(old: str, new: str, path: str) -> None:
    assert [place for place, _, _ in differences_of(old, new)] == [path]


def test_a_document_inside_a_document_is_compared_too() -> None:
    old, new = ("[runners]\npatch = '''\nspec:\n  uid: " + uid + "\n  b: 1\n'''\nname = 'x'\n" for uid in ("1000", "0"))
    assert differences_of(old, new) == [("policy.runners.patch.spec.uid", "1000", "0")]


def test_text_is_compared_by_lines() -> None:
    assert differences_of("set -e\necho 1\n", "set -e\necho 2\n") == [
        ("policy (line)", "echo 1", None),
        ("policy (line)", None, "echo 2"),
    ]


def test_members_with_names_are_matched_by_them() -> None:
    old = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    new = {"env": [{"name": "B", "value": "3"}, {"name": "A", "value": "1"}]}
    assert [(change.path, change.old, change.new) for change in differences(old, new)] == [("env[B].value", "2", "3")]


def test_a_list_of_names_is_compared_as_a_set() -> None:
    assert differences_of(["a", "b", "c"], ["c", "b", "d"]) == [("policy", "a", None), ("policy", None, "d")]


def test_a_reordered_list_is_reported_as_an_order() -> None:
    assert differences_of(["a", "b"], ["b", "a"]) == [("policy (order)", '["a","b"]', '["b","a"]')]


def test_true_is_not_one() -> None:
    assert differences_of(1, True) == [("policy", "1", "true")]


def test_long_values_are_cut_and_say_how_long_they_are() -> None:
    ((_, _, new),) = differences_of("short", "x" * 5000)
    assert new is not None
    assert new.endswith("… (5000 characters)")
    assert len(new) < 400


@given(VALUES, VALUES)
def test_values_differ_exactly_where_they_are_not_equal(old: Any, new: Any) -> None:
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert same == (list(differences({"x": old}, {"x": new})) == [])


@given(some.text())
def test_any_text_can_be_compared(text: str) -> None:
    document(text)
    assert list(differences({"x": text}, {"x": text})) == []
    assert list(differences({"x": "a\nb: c"}, {"x": f"{text}\nz: 1"})), "what differs is never silent"


def test_an_absent_property_is_not_null() -> None:
    assert list(differences({"a": None}, {"b": None})) == [
        Property(path="b", new="null"),
        Property(path="a", old="null"),
    ]
