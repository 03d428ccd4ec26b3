"""Rules of EC2 machines: each input that opens a machine, takes jobs away or shows a token is a violation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from access.resource import UNKNOWN, Resource
from components.documents.machines.user_data import HEADER, encoded
from policies.expected_machines import machine_kinds
from policies.fields import ABSENT
from policies.machine_table import runner_table
from tests.attacks.catalog.machines import in_config
from tests.attacks.registered import with_further
from tests.support.policy_cases import (
    assert_undecided,
    assert_violation,
    findings_on_stack,
    report,
    resource_named,
    resources_of,
    with_input,
)
from tests.support.program import parsed, raw

STACK = "small"
SMALL, WORKERS = "small-machines-manager-template", "medium-machines-workers-template"
MANAGER_GROUP, POOL = "small-machines-manager-group", "medium-machines-workers-group"
PROFILE, TOKEN = "small-machines-manager-profile", "small-machines-token"  # a logical name
SSH = "medium-machines-manager-ssh"
MACHINES = [f"M{number:02}" for number in range(1, 11)]
INTERFACE = "networkInterfaces.0"
FIRST_OVERRIDE = "mixedInstancesPolicy.launchTemplate.overrides.0"


def named(name: str) -> Resource:
    return resource_named(STACK, name, None)


@pytest.mark.parametrize("rule", [*MACHINES, "P13", "T12", "T13", "P03"])
def test_the_program_violates_no_rule_of_machines(rule: str) -> None:
    for resource in resources_of(STACK):
        assert report(rule, resource, STACK) == []


@pytest.mark.parametrize(
    ("rule", "name", "path", "value", "part"),
    [
        ("M01", SMALL, "name", "elsewhere", "neither a manager nor the workers of a class"),
        ("M01", SMALL, "userData", encoded(f"{HEADER}write_files: []\n"), "/etc/runner-platform/config.toml"),
        ("M01", SMALL, "userData", encoded(f"{HEADER}# glrt-fabricated\nwrite_files: []\n"), "holds a runner token"),
        ("M01", SMALL, "userData", encoded("#!/bin/sh\n"), "not that of the program"),
        ("M01", SMALL, "userData", "", "not that of the program"),
        ("M02", SMALL, "metadataOptions", ABSENT, "httpTokens is missing, not required"),
        ("M02", SMALL, "metadataOptions.httpTokens", "optional", "is optional, not required"),
        ("M02", SMALL, "metadataOptions.httpPutResponseHopLimit", 2, "is 2, not 1"),
        ("M02", SMALL, "metadataOptions.httpEndpoint", "disabled", "not enabled"),
        ("M02", SMALL, "metadataOptions.instanceMetadataTags", "enabled", "not disabled"),
        ("M02", SMALL, "metadataOptions.httpProtocolIpv6", "enabled", "not disabled"),
        ("M03", SMALL, "blockDeviceMappings", [], "is empty"),
        ("M03", SMALL, "blockDeviceMappings.0.ebs.encrypted", "false", "encrypted is not true"),
        ("M03", SMALL, "blockDeviceMappings.0.ebs.deleteOnTermination", ABSENT, "deleteOnTermination is not true"),
        ("M03", SMALL, "blockDeviceMappings.0.ebs.snapshotId", "snap-1", "snapshotId is set"),
        ("M04", SMALL, "imageId", "ami-0123456789abcdef0", "imageId is ami-0123456789abcdef0"),
        ("M04", SMALL, "imageId", ABSENT, "imageId is missing"),
        ("M04", SMALL, "instanceType", "p5.48xlarge", "not one of t3.small"),
        ("M05", SMALL, "keyName", "operations", "keyName is set"),
        ("M05", SMALL, "networkInterfaces", [], "0 entries"),
        ("M05", SMALL, f"{INTERFACE}.networkInterfaceId", "eni-1", "networkInterfaceId is set"),
        ("M06", MANAGER_GROUP, "name", "elsewhere", "no machines of a class"),
        ("M06", MANAGER_GROUP, "minSize", 0, "minSize is 0, not 1"),
        ("M06", MANAGER_GROUP, "maxSize", 5, "maxSize is 5, not 2"),
        ("M06", MANAGER_GROUP, "desiredCapacity", ABSENT, "desiredCapacity is missing"),
        ("M06", MANAGER_GROUP, "initialLifecycleHooks.0.defaultResult", "ABANDON", "lets jobs finish"),
        ("M06", MANAGER_GROUP, "instanceRefresh.preferences.minHealthyPercentage", 0, "is not 100"),
        ("M06", POOL, "minSize", 1, "minSize is 1, not 0"),
        ("M06", POOL, "maxSize", 3, "less than max_instances 4"),
        ("M06", POOL, "protectFromScaleIn", ABSENT, "protectFromScaleIn is off"),
        ("M06", POOL, "suspendedProcesses", ["AZRebalance", "Launch"], "not AZRebalance alone"),
        ("M06", POOL, f"{FIRST_OVERRIDE}.instanceType", "p5.48xlarge", "not in instances.types"),
        ("M06", POOL, f"{FIRST_OVERRIDE}.launchTemplateSpecification", {"launchTemplateId": "lt-1"}, "is set"),
        ("M07", PROFILE, "name", "administrators", "no machines of a class"),
        ("M07", PROFILE, "path", ABSENT, "path is /, not /cicd-small/"),
        ("M07", PROFILE, "role", "runner-manager-medium-small", "not runner-manager-small-small"),
        ("M07", SMALL, "iamInstanceProfile", ABSENT, "missing, not runner-manager-small-small"),
        ("M07", SMALL, "iamInstanceProfile", {"arn": "arn:aws:iam::222222222222:instance-profile/x"}, "x, not runner"),
        ("M08", TOKEN, "type", "String", "type is String"),
        ("M08", TOKEN, "type", ABSENT, "type is missing"),
        ("M08", TOKEN, "name", "/cicd-small/runner-deploy/token", "no class has its token there"),
        ("M09", "small-machines-manager-security-group", "ingress", [{"fromPort": 22}], "ingress is not empty"),
        ("M09", "small-machines-manager-security-group", "egress", [{"toPort": 0}], "egress is not left"),
        ("M09", SSH, "cidrIpv4", "10.42.0.0/16", "that are not the SSH of its own manager"),
        ("M09", SSH, "ipProtocol", "-1", "that are not the SSH of its own manager"),
        ("M09", "small-machines-manager-out", "cidrIpv4", "10.0.0.0/8", "not the one rule"),
    ],
)  # fmt: skip
def test_an_input_that_opens_a_machine_is_a_violation(rule: str, name: str, path: str, value: Any, part: str) -> None:
    assert_violation(rule, with_input(named(name), path, value), part, STACK)


@pytest.mark.parametrize(
    ("rule", "name", "path"),
    [
        *((rule, SMALL, "userData") for rule in ("M01", "M10", "T13")),
        ("M02", SMALL, "metadataOptions.httpTokens"),
        ("M03", SMALL, "blockDeviceMappings"),
        ("M04", SMALL, "imageId"),
        ("M05", SMALL, "networkInterfaces"),
        ("M06", POOL, "suspendedProcesses"),
        ("M06", POOL, "maxSize"),
        ("M07", PROFILE, "role"),
        ("M07", SMALL, "iamInstanceProfile"),
        ("M08", TOKEN, "type"),
    ],
)
def test_an_input_that_is_not_known_is_undecided(rule: str, name: str, path: str) -> None:
    assert_undecided(rule, with_input(named(name), path, UNKNOWN), path, STACK)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("FF_NETWORK_PER_BUILD = true", "FF_NETWORK_PER_BUILD = false", "FF_NETWORK_PER_BUILD is false, not true"),
        ("[[runners]]", "[[runner]]", "does not have exactly one"),
        ("concurrent = 2", "concurrent = 9", "concurrent is 9, not 2"),
        ("disable_cache = true", 'disable_cache = true\nhelper_image = "example.com/helper"', "helper_image is set"),
        ('executor = "docker"', 'executor = "shell"', 'executor is "shell"'),
        ("check_interval", 'listen_address = ":9252"\ncheck_interval', "listen_address is set"),
        ("privileged = false", "Privileged = true", "is in another spelling"),
        ("concurrent = 2", "concurrent = = 2", "cannot be read"),
    ],
)  # fmt: skip
def test_a_changed_configuration_of_a_machine_is_a_violation(old: str, new: str, part: str) -> None:
    (changed,) = [entry for entry in in_config(SMALL, old, new)(list(resources_of(STACK))) if entry.name == SMALL]
    assert_violation("M10", changed, part, STACK)


def test_two_groups_of_one_class_are_a_violation() -> None:
    (*_, further) = with_further("aws:autoscaling/group:Group", POOL, name="runner-small-small")(
        list(resources_of(STACK))
    )
    assert_violation("M06", further, "a second group", STACK)


def test_a_missing_group_is_a_violation() -> None:
    resources = [resource for resource in resources_of(STACK) if resource.name != POOL]
    assert [finding.text for finding in findings_on_stack("M06", resources, STACK)] == [
        "there is no group runner-medium-workers-small"
    ]


@pytest.mark.parametrize("sources", [{}, {"securityGroupId": ("urn:other",)}], ids=["a literal id", "another group"])
def test_a_rule_for_a_literal_security_group_is_refused(sources: dict[str, tuple[str, ...]]) -> None:
    rule = replace(named(SSH), property_dependencies=sources)
    refused = bool(report("M09", rule, STACK))
    assert refused is (not sources), "rules of groups that belong to no machine are H03's to judge"


def test_ignoring_changes_of_the_capacity_is_demanded_of_workers_alone() -> None:
    assert_violation("M06", replace(named(POOL), ignore_changes=()), "does not list desiredCapacity", STACK)
    assert named(MANAGER_GROUP).ignore_changes == ()


def test_a_stack_without_machines_takes_no_parameter_and_no_profile() -> None:
    for rule, resource in (("M07", named(PROFILE)), ("M08", named(TOKEN)), ("M01", named(SMALL))):
        assert report(rule, resource, "prod"), f"{resource.type} belongs to no class of prod"


def test_machines_with_a_nat_have_no_public_address() -> None:
    settings = parsed(raw(STACK, network__nat="single"), STACK)
    kind = machine_kinds(settings)["runner-small-small"]
    assert not kind.runner_class.public
    assert named(SMALL).inputs["networkInterfaces"][0]["associatePublicIpAddress"] == "true"


def test_the_images_of_a_protected_class_are_listed_and_those_of_an_open_class_are_free() -> None:
    deploy = {
        "executor": "docker",
        "level": "protected",
        "project": "5678",
        "instance": "t3.small",
        "concurrent": 1,
        "longest_job": "1h",
    }
    settings = parsed(raw(STACK, runners__deploy=deploy), STACK)
    tables = {name: runner_table(settings.machine_classes[name])["docker"] for name in ("small", "deploy")}
    keys = {"allowed_images", "allowed_services", "helper_image"}
    assert keys <= set(tables["deploy"])
    assert not keys & set(tables["small"])


@pytest.mark.parametrize(
    ("action", "resource", "part"),
    [
        ("ssm:GetParameter", "*", "read runner tokens"),
        ("ssm:GetParametersByPath", "arn:aws:ssm:eu-central-1:222222222222:parameter/*", "read runner tokens"),
        ("ssm:GetParameter", "arn:aws:ssm:eu-central-1:222222222222:parameter/cicd-small/runner-medium/token", "read"),
        ("ssm:PutParameter", "*", "write runner tokens"),
        ("ssm:*", "*", "runner tokens"),
    ],
)
def test_nobody_but_its_manager_reads_a_token(action: str, resource: str, part: str) -> None:
    document = {"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    policy = with_input(named("small-identity-manager-machine"), "policy", document)
    assert_violation("P13", policy, part, STACK)


def test_settings_of_the_agent_are_no_read_of_a_token() -> None:
    document = {"Statement": [{"Effect": "Allow", "Action": "ssm:UpdateInstanceInformation", "Resource": "*"}]}
    assert report("P13", with_input(named("small-identity-manager-machine"), "policy", document), STACK) == []
