"""Launch templates and groups of machines: values that EC2's and Auto Scaling's own models accept, and those that keep jobs."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator

from components.documents.machines import launch
from components.documents.machines.user_data import HEARTBEAT, manager_user_data
from config.runners import AutoscalerRunner
from tests.support.machine_classes import AUTOSCALER, BY_EXECUTOR, DOCKER, machine_class, stack_of_machines
from tests.support.program import complaints

MANAGERS = pytest.mark.parametrize("values", BY_EXECUTOR.values(), ids=BY_EXECUTOR)


@cache
def service(name: str) -> Any:
    return get_session().get_service_model(name)


def wire(name: str) -> str:
    """Return AWS's spelling of a key of pulumi_aws."""
    special = {"ebs": "Ebs", "default_result": "DefaultResult"}
    return special.get(name) or "".join(part.capitalize() for part in name.split("_"))


def template(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    settings = machine_class(values, **changes)
    return launch.launch_template(
        settings, instance_type="t3.small", arch="amd64", disk=20, user_data=manager_user_data(settings)
    )


def test_a_template_is_one_that_ec2_takes() -> None:
    values = template(DOCKER)
    (device,) = values["block_device_mappings"]
    assert device["ebs"]["encrypted"] == "true"
    request = {
        "ImageId": values["image_id"],
        "InstanceType": values["instance_type"],
        "UserData": values["user_data"],
        "InstanceInitiatedShutdownBehavior": values["instance_initiated_shutdown_behavior"],
        "MetadataOptions": {
            {"http_put_response_hop_limit": "HttpPutResponseHopLimit"}.get(key, wire(key)): value
            for key, value in values["metadata_options"].items()
        },
    }
    shape = service("ec2").shape_for("RequestLaunchTemplateData")
    assert ParamValidator().validate(request, shape).generate_report() == ""


def test_a_machine_answers_its_metadata_to_itself_alone() -> None:
    options = template(DOCKER)["metadata_options"]
    assert options["http_tokens"] == "required"
    assert options["http_put_response_hop_limit"] == 1, "a container is one hop further"


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_the_image_is_a_pinned_parameter(arch: str) -> None:
    settings = machine_class(DOCKER)
    values = launch.launch_template(settings, instance_type="t3.small", arch=arch, disk=20, user_data="")
    assert values["image_id"].startswith("resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/stable/20")
    assert f"/{arch}/hvm/" in values["image_id"]
    assert "/current/" not in values["image_id"], "an image that changes by itself would mix machines"


@MANAGERS
def test_a_manager_drains_and_is_replaced(values: dict[str, Any]) -> None:
    group = launch.manager_group(machine_class(values))
    (hook,) = group["initial_lifecycle_hooks"]
    assert hook["lifecycle_transition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert (hook["heartbeat_timeout"], hook["default_result"]) == (HEARTBEAT, "CONTINUE")
    assert group["min_size"] == group["desired_capacity"] == 1
    preferences = group["instance_refresh"]["preferences"]
    request = {
        "MinHealthyPercentage": preferences["min_healthy_percentage"],
        "MaxHealthyPercentage": preferences["max_healthy_percentage"],
    }
    shape = service("autoscaling").shape_for("RefreshPreferences")
    assert ParamValidator().validate(request, shape).generate_report() == ""
    overlaps = values is DOCKER
    assert group["max_size"] == (2 if overlaps else 1)
    assert (request["MaxHealthyPercentage"] == 200) is overlaps


def test_a_lifecycle_hook_is_one_that_auto_scaling_takes() -> None:
    (hook,) = launch.manager_group(machine_class(DOCKER))["initial_lifecycle_hooks"]
    request = {
        "LifecycleHookName": hook["name"],
        "LifecycleTransition": hook["lifecycle_transition"],
        "HeartbeatTimeout": hook["heartbeat_timeout"],
        "DefaultResult": hook["default_result"],
    }
    shape = service("autoscaling").shape_for("LifecycleHookSpecification")
    assert ParamValidator().validate(request, shape).generate_report() == ""
    assert 30 <= hook["heartbeat_timeout"] <= 7200, "what Auto Scaling takes"


def test_the_group_never_takes_a_worker_away() -> None:
    settings = machine_class(AUTOSCALER)
    assert isinstance(settings.runner, AutoscalerRunner)
    group = launch.worker_group(settings, settings.runner)
    assert group["protect_from_scale_in"] is True
    assert group["suspended_processes"] == ["AZRebalance"]
    assert group["capacity_rebalance"] is False
    assert "instance_refresh" not in group, "a refresh ends protected instances"
    assert (group["min_size"], group["max_size"]) == (0, settings.runner.max_instances)


@pytest.mark.parametrize("spot", [False, True])
def test_instances_are_bought_as_the_class_says(spot: bool) -> None:
    mixed = launch.mixed_instances(["m7i.large", "m6i.large"], spot=spot)
    distribution = {wire(key): value for key, value in mixed["instances_distribution"].items()}
    shape = service("autoscaling").shape_for("InstancesDistribution")
    assert ParamValidator().validate(distribution, shape).generate_report() == ""
    assert distribution["OnDemandPercentageAboveBaseCapacity"] == (0 if spot else 100)
    assert [entry["instance_type"] for entry in mixed["overrides"]] == ["m7i.large", "m6i.large"]


@pytest.mark.parametrize(
    ("key", "changes", "zones", "fits"),
    [
        ("max_instances", {"max_instances": 112}, 2, True),
        ("max_instances", {"max_instances": 117}, 2, False),
        ("max_instances", {"max_instances": 117}, 3, True),
        ("concurrent", {"executor": "fargate", "concurrent": 150}, 2, False),
    ],
)
def test_public_subnets_hold_all_machines(key: str, changes: dict[str, Any], zones: int, fits: bool) -> None:
    values = {**BY_EXECUTOR[changes.get("executor", "docker-autoscaler")], **changes}
    network = {"nat": "none", "zones": zones, "cidr": "10.42.0.0/16"}
    problems = complaints(stack_of_machines(network, medium=values, small=DOCKER))
    if fits:
        assert problems == {}
    else:
        assert set(problems) == {f"runners.medium.{key}"}
        assert f"have {59 * zones}; lower {key}, or write network.nat: single" in problems[f"runners.medium.{key}"]


def test_a_network_of_machines_is_not_that_of_their_containers() -> None:
    problems = complaints(stack_of_machines({"cidr": "172.17.0.0/16"}, medium=DOCKER))
    assert "overlaps 172.17.0.0/16, which containers on EC2 machines have" in problems["network.cidr"]
