"""The resources of a class of executor fargate, by a mock run of a stack that has one."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import pytest

from components.documents.machines import tasks
from components.fargate_tasks import FargateTasksArgs
from tests.support.machine_classes import DOCKER, FARGATE, machine_class, stack_of_machines
from tests.support.program import mock_run_of, names_of, policy

if TYPE_CHECKING:
    from runner_platform.check.mock_cloud import MockRun


@cache
def run() -> MockRun:
    return mock_run_of("dev", stack_of_machines(big=FARGATE))


def test_a_class_has_a_cluster_and_a_task_definition_of_its_own() -> None:
    cluster = run().get("aws:ecs/cluster:Cluster", "big-machines-tasks-cluster")
    definition = run().get("aws:ecs/taskDefinition:TaskDefinition", "big-machines-tasks-definition")
    assert cluster.inputs["name"] == definition.inputs["family"] == "runner-big-dev"
    prefix = "arn:aws:iam::222222222222:role/cicd-dev"
    assert definition.inputs["taskRoleArn"] == f"{prefix}/runner-big-dev", "the job role"
    assert definition.inputs["executionRoleArn"] == f"{prefix}/runner-task-big-dev"


def test_tasks_are_reached_by_their_manager_alone_and_reach_nothing_in_the_vpc() -> None:
    group = run().get("aws:ec2/securityGroup:SecurityGroup", "big-machines-tasks-security-group")
    (ingress,) = group.inputs["ingress"]
    assert (ingress["protocol"], ingress["fromPort"], ingress["toPort"]) == ("tcp", tasks.SSH_PORT, tasks.SSH_PORT)
    assert ingress["securityGroups"] == ["big-machines-manager-security-group-id"]
    (egress,) = group.inputs["egress"]
    vpc = run().get("aws:ec2/vpc:Vpc", "network-vpc").inputs["cidrBlock"]
    assert egress["cidrBlocks"] == tasks.open_networks([vpc])


def test_the_manager_starts_after_all_that_its_driver_reads_and_ends_before_it() -> None:
    group = run().get("aws:autoscaling/group:Group", "big-machines-manager-group")
    assert "big-machines-tasks-placement" in names_of(group.depends_on)
    placement = run().get("aws:ssm/parameter:Parameter", "big-machines-tasks-placement")
    assert {"big-machines-tasks-cluster", "big-machines-tasks-definition"} <= names_of(placement.depends_on)


def test_ecs_alone_has_the_roles_of_tasks() -> None:
    for name in ("big-identity-job", "big-machines-tasks-execution"):
        role = run().get("aws:iam/role:Role", name)
        (statement,) = policy(role, "assumeRolePolicy")["Statement"]
        assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert statement["Condition"] == {
            "StringEquals": {"aws:SourceAccount": "222222222222"},
            "ArnLike": {"aws:SourceArn": "arn:aws:ecs:eu-central-1:222222222222:*"},
        }


def test_a_class_changes_its_executor_without_a_new_role_or_runner() -> None:
    def lasting(values: dict[str, object]) -> dict[str, str]:
        resources = mock_run_of("dev", stack_of_machines(big=values)).resources
        kept = ("big-identity-manager", "big-identity-job", "big-object-1-runner")
        return {
            resource.name: json.dumps(resource.inputs.get("name")) for resource in resources if resource.name in kept
        }

    assert lasting(FARGATE) == lasting(DOCKER)


def test_tasks_of_another_executor_are_refused() -> None:
    with pytest.raises(ValueError, match="class medium is of executor docker, which has no tasks"):
        FargateTasksArgs(
            runner_class=machine_class(DOCKER),
            network=None,
            manager_security_group_id="sg-1",  # type: ignore[arg-type]
        )
