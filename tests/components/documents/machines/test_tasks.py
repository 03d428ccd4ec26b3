"""Fargate tasks: what a job's container may do, whom it can reach, and what its manager may ask of ECS."""

from __future__ import annotations

import ast
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.machines import roles, tasks
from components.documents.machines.config import config_document
from components.documents.machines.user_data import files_of, manager_user_data
from config import load
from config.runners import FargateRunner
from tests.support.machine_classes import FARGATE, PROTECTED, machine_class

if TYPE_CHECKING:
    from config.settings import MachineClassSettings

ACCOUNT = "222222222222"
CLUSTER = f"arn:aws:ecs:eu-central-1:{ACCOUNT}:cluster/runner-medium-dev"


def definition(**changes: Any) -> dict[str, Any]:
    settings = machine_class(FARGATE, **changes)
    assert isinstance(settings.runner, FargateRunner)
    return tasks.task_definition(settings, settings.runner)


def container(**changes: Any) -> dict[str, Any]:
    (only,) = json.loads(definition(**changes)["container_definitions"])
    assert isinstance(only, dict)
    return only


def statements(settings: MachineClassSettings) -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in roles.manager_permissions(settings)["tasks"]["Statement"]}


@pytest.mark.parametrize(
    ("changes", "cpu", "memory", "storage"),
    [
        ({"cpu": "250m", "memory": "512Mi"}, "256", "512", 21),
        ({"cpu": "4", "memory": "16Gi", "disk": "200Gi"}, "4096", "16384", 200),
        ({"cpu": "16", "memory": "120Gi", "disk": "21Gi"}, "16384", "122880", 21),
    ],
    ids=["smallest", "usual", "largest"],
)
def test_a_task_has_the_size_of_its_class(changes: dict[str, Any], cpu: str, memory: str, storage: int) -> None:
    values = definition(**changes)
    assert (values["cpu"], values["memory"], values["ephemeral_storage"]) == (cpu, memory, {"size_in_gib": storage})


def test_a_job_is_one_container_of_an_unprivileged_user_without_capabilities() -> None:
    only = container()
    assert only["user"] == "runner"
    assert only["linuxParameters"] == {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}
    assert "privileged" not in only
    assert "secrets" not in only
    assert definition()["network_mode"] == "awsvpc"


def test_a_task_runs_the_variant_of_the_runner_image_whatever_its_level() -> None:
    for values in ({}, PROTECTED):
        image = container(**values)["image"]
        assert image == f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/dev/protected/runner:1.0.0-fargate"


def test_a_task_ends_by_itself_after_gitlab_has_ended_its_job() -> None:
    variables = {entry["name"]: entry["value"] for entry in container(longest_job="2h")["environment"]}
    assert int(variables["TASK_SECONDS"]) > 2 * 3600 + tasks.START_SECONDS


def test_a_job_s_variables_name_the_files_of_its_identity_and_no_credentials() -> None:
    variables = {entry["name"] for entry in container()["environment"]}
    assert variables == {"AWS_CONFIG_FILE", "AWS_SDK_LOAD_CONFIG", "TASK_PORT", "TASK_SECONDS"}


@pytest.mark.parametrize(
    "vpc", [["10.42.0.0/16"], ["10.0.0.0/8", "100.64.0.0/10"], ["10.1.0.0/16", "10.1.128.0/17"], ["10.42.0.128/25"]]
)
def test_a_task_reaches_every_address_but_those_of_the_vpc(vpc: list[str]) -> None:
    networks = [ipaddress.IPv4Network(text) for text in tasks.open_networks(vpc)]
    closed = list(ipaddress.collapse_addresses(map(ipaddress.IPv4Network, vpc)))
    assert not any(network.overlaps(part) for network in networks for part in closed)
    assert sum(part.num_addresses for part in [*networks, *closed]) == 2**32
    assert len(networks) < 60, "rules of a security group"


def test_a_manager_may_start_and_stop_tasks_of_its_own_class_alone() -> None:
    by_sid = statements(machine_class(FARGATE))
    in_cluster = {"ArnEquals": {"ecs:cluster": CLUSTER}}
    family = f"arn:aws:ecs:eu-central-1:{ACCOUNT}:task-definition/runner-medium-dev:*"
    assert (by_sid["Start"]["Resource"], by_sid["Start"]["Condition"]) == (family, in_cluster)
    assert by_sid["Find"]["Condition"] == in_cluster
    assert by_sid["Watch"]["Condition"] == in_cluster
    for sid in ("Watch", "Tag"):
        assert by_sid[sid]["Resource"] == f"arn:aws:ecs:eu-central-1:{ACCOUNT}:task/runner-medium-dev/*"


def test_a_manager_passes_the_two_roles_of_its_tasks_to_ecs_and_no_others() -> None:
    statement = statements(machine_class(FARGATE))["Pass"]
    prefix = f"arn:aws:iam::{ACCOUNT}:role/cicd-dev"
    assert statement["Resource"] == [f"{prefix}/runner-medium-dev", f"{prefix}/runner-task-medium-dev"]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_a_manager_may_call_what_its_driver_calls_and_nothing_else() -> None:
    source = (load.ROOT / "machine/fargate.py").read_text()
    calls = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and re.fullmatch("(run|describe|stop)_tasks?|get_parameter", node.attr)
    }
    calls |= set(re.findall(r'get_paginator\("(\w+)"\)', source))
    allowed = {
        action.partition(":")[2]
        for statement in statements(machine_class(FARGATE)).values()
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    expected = {"".join(word.capitalize() for word in call.split("_")) for call in calls}
    assert allowed - expected == {"PassRole", "TagResource"}, "what RunTask itself asks for"
    assert expected <= allowed


def test_ecs_starts_a_task_with_one_image_and_one_log() -> None:
    (document,) = tasks.execution_permissions(machine_class(FARGATE)).values()
    resources = {statement["Sid"]: statement["Resource"] for statement in document["Statement"]}
    assert resources == {
        "Login": "*",
        "Pull": f"arn:aws:ecr:eu-central-1:{ACCOUNT}:repository/dev/protected/runner",
        "Logs": f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:/runner-platform-dev/medium/tasks:log-stream:*",
    }


def test_the_manager_s_configuration_starts_the_driver_for_each_stage() -> None:
    (entry,) = config_document(machine_class(FARGATE))["runners"]
    assert entry["executor"] == "custom"
    assert (entry["builds_dir"], entry["cache_dir"], entry["shell"]) == ("/builds", "/builds/.cache", "bash")
    custom = entry["custom"]
    for stage in ("config", "prepare", "run", "cleanup"):
        assert custom[f"{stage}_exec"] == "/usr/local/lib/runner-platform/fargate.py"
        assert custom[f"{stage}_args"] == [stage]
    assert custom["prepare_exec_timeout"] > tasks.START_SECONDS, "the driver itself says why no task runs"
    assert entry["cache"]["s3"]["AuthenticationType"] == "iam"


def test_the_configuration_s_keys_are_the_runner_s() -> None:
    structure = json.loads((load.ROOT / "tests/data/runner-config-keys.json").read_text())["config"]
    (entry,) = config_document(machine_class(FARGATE))["runners"]
    runner = structure["runners"]["keys"]
    assert set(entry) <= set(runner)
    assert set(entry["custom"]) <= set(runner["custom"]["keys"])


def test_a_manager_s_user_data_has_the_driver_s_settings_and_no_ids_that_a_preview_does_not_know() -> None:
    settings = machine_class(FARGATE)
    files = files_of(manager_user_data(settings))
    assert json.loads(files["/etc/runner-platform/fargate.json"]) == tasks.driver_settings(settings)
    assert "[profile base]" in files["/etc/runner-platform/aws-config"]
    unit = files["/etc/systemd/system/gitlab-runner.service"]
    assert "--volume /etc/runner-platform:/etc/runner-platform:ro" in unit
    assert "--tmpfs /run/runner-platform:mode=0700" in unit
    assert "docker.sock" not in unit
    assert re.search(r"^ExecStartPre=-/usr/bin/docker run --name gitlab-runner-sweep .* sweep$", unit, re.MULTILINE)


def test_the_driver_finds_every_setting_that_it_reads() -> None:
    source = (load.ROOT / "machine/fargate.py").read_text()
    read = set(re.findall(r"(?:names|settings\(\))\[['\"](\w+)['\"]\]", source))
    assert read == set(tasks.driver_settings(machine_class(FARGATE)))
