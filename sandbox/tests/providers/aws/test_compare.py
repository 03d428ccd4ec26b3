import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_platform_sandbox.providers.aws.compare import (
    Rules,
    canonical,
    differences,
    inputs_like,
    outputs_like,
    same,
    same_last_part,
)
from runner_platform_sandbox.providers.aws.ec2_security_groups import same_rules
from runner_platform_sandbox.providers.aws.ecs import same_containers
from runner_platform_sandbox.providers.aws.provider import HANDLERS
from runner_platform_sandbox.providers.wire import UNKNOWN

RULES = Rules(
    documents=frozenset({"policy"}),
    sets=frozenset({"config.subnets"}),
    computed=frozenset({"config.vpc", "zone"}),
    defaults={"path": "/", "config.public": True},
    equal={"key": same_last_part},
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
PROPERTIES = st.dictionaries(st.sampled_from(["path", "zone", "config", "policy", "other"]), VALUES, max_size=5)


@settings(max_examples=25, deadline=None)  # a loaded machine is no failure
@given(PROPERTIES)
def test_a_value_never_differs_from_itself(values: dict[str, Any]) -> None:
    assert not differences(RULES, values, values)


@settings(max_examples=25, deadline=None)  # a loaded machine is no failure
@given(PROPERTIES, PROPERTIES)
def test_inputs_from_a_refresh_do_not_differ_from_the_live_values(
    given_inputs: dict[str, Any], current: dict[str, Any]
) -> None:
    assert not differences(RULES, inputs_like(RULES, given_inputs, current), current)


@settings(max_examples=25, deadline=None)  # a loaded machine is no failure
@given(PROPERTIES, PROPERTIES)
def test_the_form_of_outputs_never_changes_what_they_mean(
    given_inputs: dict[str, Any], current: dict[str, Any]
) -> None:
    shaped = outputs_like(RULES, given_inputs, current)
    assert not differences(RULES, shaped, current)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ({"path": "/a/"}, {"path": "/"}, ["path"]),
        ({}, {"path": "/"}, []),
        ({}, {"path": "/a/"}, ["path"]),
        ({}, {"zone": "a"}, []),
        ({"zone": "b"}, {"zone": "a"}, ["zone"]),
        ({"tags": {}}, {}, []),
        ({"tags": {"a": "1"}}, {"tags": {"a": "1", "b": "2"}}, ["tags.b"]),
        ({"config": {"subnets": ["b", "a"]}}, {"config": {"subnets": ["a", "b"], "vpc": "v", "public": True}}, []),
        ({"config": {"subnets": ["b", "b"]}}, {"config": {"subnets": ["a", "b"]}}, ["config.subnets"]),
        ({"config": {"public": False}}, {"config": {"public": True}}, ["config.public"]),
        ({"list": ["b", "a"]}, {"list": ["a", "b"]}, ["list"]),
        ({"key": "arn:aws:kms:r:1:key/abc"}, {"key": "abc"}, []),
        ({"key": "abd"}, {"key": "abc"}, ["key"]),
        ({"path": UNKNOWN}, {"path": "/"}, ["path"]),
        ({"list": [{"a": UNKNOWN}]}, {"list": [{"a": 1}]}, ["list"]),
        ({"__defaults": ["path"]}, {}, []),
    ],
)
def test_differences_are_those_of_terraforms_schemas(
    new: dict[str, Any], old: dict[str, Any], expected: list[str]
) -> None:
    assert differences(RULES, new, old) == expected


def test_documents_differ_by_meaning_only() -> None:
    old = json.dumps({"Statement": [{"Action": ["b", "a"], "Resource": "*"}], "Version": "2012-10-17"})
    new = json.dumps({"Version": "2012-10-17", "Statement": [{"Resource": ["*"], "Action": ["a", "b"]}]}, indent=2)
    assert same(RULES, new, old, "policy")
    assert not same(RULES, new.replace('"a"', '"c"'), old, "policy")
    assert outputs_like(RULES, {"policy": new}, {"policy": old}) == {"policy": new}, "the program's text stays"


def test_a_document_that_is_no_json_is_compared_as_text() -> None:
    assert canonical("{oops") == "{oops"
    assert not same(RULES, "{oops", "{}", "policy")


def test_a_refresh_reports_added_and_removed_values_but_no_optional_ones() -> None:
    given_inputs = {"tags": {"a": "1", "b": "2"}, "path": "/", "description": "d", "__defaults": ["path"]}
    current = {"tags": {"a": "1", "c": "3"}, "path": "/", "zone": "z", "boundary": "arn"}
    assert inputs_like(RULES, given_inputs, current) == {
        "tags": {"a": "1", "c": "3"},
        "path": "/",
        "boundary": "arn",
        "__defaults": ["path"],
    }


def test_blocks_of_security_rules_compare_rule_by_rule() -> None:
    together = [{"protocol": "tcp", "fromPort": 1, "toPort": 2, "cidrBlocks": ["b", "a"], "self": True}]
    single = [
        {"protocol": "TCP", "fromPort": 1, "toPort": 2, "self": True},
        {"protocol": "tcp", "fromPort": 1, "toPort": 2, "cidrBlocks": ["a"]},
        {"protocol": "tcp", "fromPort": 1, "toPort": 2, "cidrBlocks": ["b"]},
    ]
    assert same_rules(together, single)
    assert not same_rules(together, single[1:])
    everything = [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["a"]}]
    assert same_rules(everything, [{"protocol": "all", "fromPort": -1, "toPort": -1, "cidrBlocks": ["a"]}])


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (
            [{"name": "a", "image": "i"}],
            [{"name": "a", "image": "i", "cpu": 0, "essential": True, "environment": []}],
            True,
        ),
        ([{"name": "a", "image": "i"}], [{"name": "a", "image": "j"}], False),
        (
            [{"environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}],
            [{"environment": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}],
            True,
        ),
        (
            [{"portMappings": [{"containerPort": 22}]}],
            [{"portMappings": [{"containerPort": 22, "hostPort": 22}]}],
            True,
        ),
        ([{"portMappings": [{"containerPort": 22}]}], [{"portMappings": [{"containerPort": 2222}]}], False),
        ([{"essential": False}], [{}], False),
        (["no container"], [{}], False),
    ],
)
def test_container_definitions_compare_without_the_defaults_of_ecs(
    new: list[Any], old: list[Any], *, expected: bool
) -> None:
    assert same_containers(json.dumps(new), json.dumps(old)) is expected


@pytest.mark.parametrize("token", sorted(HANDLERS))
def test_the_properties_of_a_handler_exist_in_the_sdk(token: str) -> None:
    handler = HANDLERS[token]
    inputs = set(handler.type.inputs)
    declared = handler.immutable | handler.computed | handler.sets | handler.documents | handler.kept
    declared |= set(handler.defaults) | set(handler.nested_defaults) | set(handler.equal) | (handler.modelled or set())
    assert {path.partition(".")[0] for path in declared} <= inputs, token
