"""Rules of Fargate tasks: the program's own pass, and each change that opens a task is found."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from policies.pack import ResourceIndex
from policies.rule import evaluate_resource
from tests.support.machine_classes import FARGATE, stack_of_machines
from tests.support.policy_cases import BY_ID, evaluate_stack, options_with, resources_with, run_with, with_input

if TYPE_CHECKING:
    from access.resource import Resource
    from policies.stack_run import StackRun

DEFINITION, CLUSTER = "big-machines-tasks-definition", "big-machines-tasks-cluster"
GROUP, PLACEMENT = "big-machines-tasks-security-group", "big-machines-tasks-placement"
PERMISSIONS = "big-identity-manager-tasks"
NEEDS_THE_PACK = ("H02", "H04")
"""Rules about the pack's own run, which no mock run has."""


@cache
def run() -> StackRun:
    return run_with("dev", stack_of_machines(big=FARGATE))


@cache
def resources() -> tuple[Resource, ...]:
    return resources_with("dev", stack_of_machines(big=FARGATE))


def named(name: str) -> Resource:
    (resource,) = [resource for resource in resources() if resource.name == name]
    return resource


def findings(rule_id: str, *changed: Resource) -> list[str]:
    rule = BY_ID[rule_id]
    present = {resource.urn: resource for resource in (*resources(), *changed)}
    if rule.of_resource is None:
        index = ResourceIndex(list(present.values()), run())
        return [finding.text for finding in evaluate_stack(rule, index, options_with(rule, {}))]
    return [
        finding.text
        for resource in present.values()
        if not rule.types or resource.type in rule.types
        for finding in evaluate_resource(rule, resource, run(), options_with(rule, {}))
    ]


@pytest.mark.parametrize("rule", [rule for rule in BY_ID if rule not in NEEDS_THE_PACK])
def test_the_program_s_own_tasks_pass_every_rule(rule: str) -> None:
    assert findings(rule) == []


def container(**changes: Any) -> Resource:
    (values,) = json.loads(named(DEFINITION).inputs["containerDefinitions"])
    values = {key: value for key, value in {**values, **changes}.items() if value is not None}
    return with_input(named(DEFINITION), "containerDefinitions", json.dumps([values]))


CONTAINERS: dict[str, dict[str, Any]] = {
    "image": {"image": "docker.io/library/alpine:3"},
    "root": {"user": "0"},
    "default user": {"user": None},
    "capabilities": {"linuxParameters": {"initProcessEnabled": True}},
    "privileged": {"privileged": True},
    "secrets": {"secrets": [{"name": "TOKEN", "valueFrom": "arn:aws:ssm:eu-central-1:222222222222:parameter/x"}]},
    "mount": {"mountPoints": [{"sourceVolume": "x", "containerPath": "/x"}]},
    "entry point": {"entryPoint": ["/bin/sh", "-c"]},
    "command": {"command": ["id"]},
    "port": {"portMappings": [{"containerPort": 22, "hostPort": 22, "protocol": "tcp"}]},
    "variable": {"environment": [{"name": "AWS_PROFILE", "value": "prod"}]},
    "config": {"environment": [{"name": "AWS_CONFIG_FILE", "value": "/builds/config"}]},
    "log": {"logConfiguration": {"logDriver": "splunk"}},
    "no end": {"stopTimeout": 0},
}


@pytest.mark.parametrize("changes", CONTAINERS.values(), ids=CONTAINERS)
def test_a_container_that_does_more_than_run_a_job_is_found(changes: dict[str, Any]) -> None:
    assert len(findings("M11", container(**changes))) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("taskRoleArn", "arn:aws:iam::222222222222:role/cicd-platform/platform-deployer"),
        ("executionRoleArn", "arn:aws:iam::222222222222:role/cicd-dev/runner-manager-big-dev"),
        ("networkMode", "host"),
        ("pidMode", "task"),
        ("volumes", [{"name": "x"}]),
        ("requiresCompatibilities", ["EC2"]),
        ("family", "somebody-else"),
        ("containerDefinitions", "[]"),
        ("containerDefinitions", '[{"name": "job"}, {"name": "reader"}]'),
    ],
)
def test_a_task_definition_that_opens_its_task_is_found(path: str, value: Any) -> None:
    changed = with_input(named(DEFINITION), path, value)
    assert findings("M11", changed) or findings("H05", changed)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "shared"),
        ("configuration", {"executeCommandConfiguration": {"logging": "NONE"}}),
        ("serviceConnectDefaults", {"namespace": "x"}),
    ],
)
def test_a_cluster_that_is_shared_or_opened_is_found(path: str, value: Any) -> None:
    changed = with_input(named(CLUSTER), path, value)
    assert findings("M11", changed) or findings("H05", changed)


INGRESS = {"protocol": "tcp", "fromPort": 2222, "toPort": 2222, "securityGroups": ["sg-1"]}


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [{**INGRESS, "cidrBlocks": ["10.42.0.0/16"]}],
        [{**INGRESS, "self": True}],
        [{**INGRESS, "toPort": 65535}],
        [{**INGRESS, "securityGroups": ["sg-1", "sg-2"]}],
        [INGRESS, INGRESS],
    ],
    ids=["none", "network", "tasks", "ports", "two groups", "two rules"],
)
def test_a_security_group_that_lets_others_into_tasks_is_found(rules: list[dict[str, Any]]) -> None:
    assert len(findings("M09", with_input(named(GROUP), "ingress", rules))) == 1


def test_a_parameter_that_names_another_group_is_found() -> None:
    moved = replace(
        named(PLACEMENT), property_dependencies={"value": (named("big-machines-manager-security-group").urn,)}
    )
    assert findings("M09", moved), "the manager's group lets nobody in, but it is not the tasks'"
    assert findings("M09", replace(named(PLACEMENT), property_dependencies={}))


@pytest.mark.parametrize(
    ("sid", "key", "value"),
    [
        ("Pass", "Resource", "*"),
        ("Pass", "Resource", ["arn:aws:iam::222222222222:role/cicd-platform/platform-deployer"]),
        ("Pass", "Condition", {}),
        ("Pass", "Condition", {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
    ],
)
def test_a_manager_that_passes_more_than_the_roles_of_its_tasks_is_found(sid: str, key: str, value: Any) -> None:
    document = json.loads(named(PERMISSIONS).inputs["policy"])
    for statement in document["Statement"]:
        if statement["Sid"] == sid:
            statement[key] = value
    assert findings("P03", with_input(named(PERMISSIONS), "policy", json.dumps(document)))


def test_a_job_role_that_another_service_may_have_is_found() -> None:
    role = named("big-identity-job")
    document = json.loads(role.inputs["assumeRolePolicy"])
    document["Statement"][0]["Principal"] = {"Service": "lambda.amazonaws.com"}
    assert findings("T03", with_input(role, "assumeRolePolicy", json.dumps(document)))
