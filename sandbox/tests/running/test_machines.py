"""A machine of a group: its credentials, its end, and what an instance is told. Real boto3 asks the metadata service."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests

from runner_platform_sandbox.aws.client import AwsAdminError
from runner_platform_sandbox.machines import machine, task
from runner_platform_sandbox.machines.machine import MachineError
from tests.support.aws_cases import CICD, REGION, Caller, Cloud, policy, refusal, unique

if TYPE_CHECKING:
    from runner_platform_sandbox.machines.machine import Machine

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)
EC2_TRUST = policy({"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
USER_DATA = "#cloud-config\nruncmd:\n- [systemctl, start, runner]\n"
WHO = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"


class Fleet:
    """A group of its own for each test, with its role, profile and template."""

    def __init__(self, cloud: Cloud, trust: str = EC2_TRUST, user_data: str = USER_DATA, **group: Any) -> None:
        self.cloud, self.name = cloud, unique("fleet")
        root = cloud.root(CICD)
        self.iam, self.scaling, self.ec2 = (root.client(name) for name in ("iam", "autoscaling", "ec2"))
        role = self.iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=trust, Path="/cicd/")
        self.role = role["Role"]["Arn"]
        self.iam.create_instance_profile(InstanceProfileName=self.name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=self.name, RoleName=self.name)
        self.template = {"LaunchTemplateName": self.name, "Version": "$Latest"}
        self.ec2.create_launch_template(LaunchTemplateName=self.name, LaunchTemplateData=self.data(user_data))
        self.scaling.create_auto_scaling_group(
            **{"AutoScalingGroupName": self.name, "MinSize": 1, "MaxSize": 2, "LaunchTemplate": self.template}
            | {"AvailabilityZones": [f"{REGION}a"]}
            | group
        )

    def data(self, user_data: str = USER_DATA) -> dict[str, Any]:
        return {
            "ImageId": "ami-1",
            "InstanceType": "t3.large",
            "IamInstanceProfile": {"Name": self.name},
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "UserData": base64.b64encode(user_data.encode()).decode(),
        }

    def hook(self, **fields: Any) -> None:
        transition = "autoscaling:EC2_INSTANCE_TERMINATING"
        hook = {"AutoScalingGroupName": self.name, "LifecycleHookName": "drain", "LifecycleTransition": transition}
        self.scaling.put_lifecycle_hook(**{**hook, "DefaultResult": "CONTINUE", **fields})

    def complete(self, played: Machine, result: str = "CONTINUE") -> None:
        action = {"AutoScalingGroupName": self.name, "LifecycleHookName": "drain", "InstanceId": played.instance}
        self.scaling.record_lifecycle_action_heartbeat(**action)
        self.scaling.complete_lifecycle_action(**action, LifecycleActionResult=result)

    def start(self) -> Any:
        return machine.start(self.cloud.admin, CICD, REGION, self.name)

    def instances(self) -> dict[str, str]:
        """Return the states of the group's instances by id."""
        group = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"][0]
        return {instance["InstanceId"]: instance["LifecycleState"] for instance in group["Instances"]}

    def scale(self, **sizes: int) -> None:
        self.scaling.update_auto_scaling_group(AutoScalingGroupName=self.name, **sizes)


def who(
    address: str, endpoint: str, variable: str = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
) -> subprocess.CompletedProcess[str]:
    """Return what a process says that it is, with nothing but the two addresses."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_STS": endpoint,
        variable: address,
    }
    return subprocess.run([sys.executable, "-c", WHO], env=environment, capture_output=True, text=True, check=False)


def told(address: str, path: str) -> str:
    """Return a text of the metadata service."""
    with requests.Session() as http:
        http.trust_env = False
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = http.put(f"{address}/latest/api/token", headers=ttl, timeout=5).text
        return http.get(f"{address}/latest/{path}", headers={"X-aws-ec2-metadata-token": token}, timeout=5).text


def test_a_process_with_the_address_is_the_instance_role(aws: Cloud) -> None:
    fleet = Fleet(aws)
    with fleet.start() as (address, played):
        assert played.cloud_config == {"runcmd": [["systemctl", "start", "runner"]]}
        assert played.hop_limit == 1
        answer = who(address, aws.jobs)
        assert answer.stdout.strip() == f"arn:aws:sts::{CICD}:assumed-role/{fleet.name}/{played.instance}", (
            answer.stderr
        )
        identity = json.loads(told(address, "dynamic/instance-identity/document"))
        assert (identity["instanceId"], identity["accountId"], identity["region"]) == (played.instance, CICD, REGION)
        assert told(address, "meta-data/placement/region") == REGION
        interface = told(address, "meta-data/network/interfaces/macs/")
        networks = told(address, f"meta-data/network/interfaces/macs/{interface}vpc-ipv4-cidr-blocks")
        assert networks == "172.31.0.0/16"
        assert told(address, "meta-data/autoscaling/target-lifecycle-state") == "InService"
        assert told(address, "user-data") == USER_DATA


def test_a_visitor_of_an_instance_holds_nothing_up(aws: Cloud) -> None:
    fleet = Fleet(aws)
    fleet.hook()
    with fleet.start() as (_, played), machine.visit(aws.admin, CICD, REGION, fleet.name) as address:
        assert told(address, "meta-data/instance-id") == played.instance, "beside its machine"
    with machine.visit(aws.admin, CICD, REGION, fleet.name):
        fleet.scale(MinSize=0, DesiredCapacity=0)
        assert fleet.instances() == {}, "no hook waits"
    with (
        pytest.raises(AwsAdminError, match="no instance in service"),
        machine.visit(aws.admin, CICD, REGION, fleet.name),
    ):
        pass


def test_the_role_reaches_only_roles_that_trust_it(aws: Cloud) -> None:
    fleet, job = Fleet(aws), unique("job")
    trust = policy({"Principal": {"AWS": fleet.role}, "Action": "sts:AssumeRole"})
    job_role = fleet.iam.create_role(RoleName=job, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    allowed = policy({"Action": "sts:AssumeRole", "Resource": job_role})
    fleet.iam.put_role_policy(RoleName=fleet.name, PolicyName="job", PolicyDocument=allowed)
    with fleet.start() as (_, played):
        document = played.credentials()[1]
    manager = Caller(
        endpoint=aws.jobs,
        key=document["AccessKeyId"],
        secret=document["SecretAccessKey"],
        token=document["Token"],
    )
    assert manager.assume(job_role).arn == f"arn:aws:sts::{CICD}:assumed-role/{job}/test"
    longer = {"RoleArn": job_role, "RoleSessionName": "test", "DurationSeconds": 7200}
    assert refusal(manager.client("sts").assume_role, **longer) == (400, "ValidationError"), "a chain lasts one hour"
    assert refusal(manager.client("iam").list_roles) == (403, "AccessDenied")


@pytest.mark.parametrize(
    "trust",
    [
        policy({"Principal": {"AWS": f"arn:aws:iam::{CICD}:root"}, "Action": "sts:AssumeRole"}),
        policy({"Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}),
        policy(
            {"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
            {"Effect": "Deny", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ),
    ],
    ids=["account", "another service", "denied"],
)
def test_a_role_that_does_not_trust_ec2_gives_no_credentials(aws: Cloud, trust: str) -> None:
    with Fleet(aws, trust).start() as (address, played):
        assert played.credentials()[1]["Code"] == "AssumeRoleUnauthorizedAccess"
        assert "Unable to locate credentials" in who(address, aws.jobs).stderr


def test_a_profile_without_a_role_gives_no_credentials(aws: Cloud) -> None:
    fleet = Fleet(aws)
    fleet.iam.remove_role_from_instance_profile(InstanceProfileName=fleet.name, RoleName=fleet.name)
    with fleet.start() as (address, _):
        assert "Unable to locate credentials" in who(address, aws.jobs).stderr


def test_jobs_cannot_ask_for_credentials_of_a_machine(aws: Cloud) -> None:
    answer = requests.post(f"{aws.jobs}/_sandbox/machines/credentials", json={}, timeout=5)
    assert answer.status_code == 403


def test_an_instance_ends_when_its_machine_says_so(aws: Cloud) -> None:
    fleet = Fleet(aws)
    fleet.hook()
    with fleet.start() as (address, played):
        fleet.scale(MinSize=0, DesiredCapacity=0)
        assert fleet.instances() == {played.instance: "Terminating:Wait"}
        assert told(address, "meta-data/autoscaling/target-lifecycle-state") == "Terminated"
        deletion = {"AutoScalingGroupName": fleet.name}
        assert refusal(fleet.scaling.delete_auto_scaling_group, **deletion) == (400, "ResourceInUse")
        fleet.complete(played)
        assert fleet.instances() == {}
        assert played.state == "Terminated"
        with pytest.raises(AwsAdminError, match="has no instance"):
            played.credentials()
        fleet.scaling.delete_auto_scaling_group(**deletion)


def test_an_abandoned_end_keeps_the_instance_if_the_group_says_so(aws: Cloud) -> None:
    fleet = Fleet(aws, InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "retain"}})
    fleet.hook()
    with fleet.start() as (_, played):
        fleet.scale(MinSize=0, DesiredCapacity=0)
        fleet.complete(played, "ABANDON")
        assert played.state == "Terminating:Retained"


def test_an_instance_without_a_machine_does_not_wait(aws: Cloud) -> None:
    fleet = Fleet(aws)
    fleet.hook()
    with fleet.start():
        fleet.scale(MinSize=0, DesiredCapacity=0)
        assert list(fleet.instances().values()) == ["Terminating:Wait"]
    assert fleet.instances() == {}, "nobody is left who could complete the hook"


@pytest.mark.parametrize(
    ("preferences", "during"),
    [
        ({"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200}, ["InService", "Terminating:Wait"]),
        ({"MinHealthyPercentage": 0, "MaxHealthyPercentage": 100}, ["Terminating:Wait"]),
    ],
    ids=["launch first", "terminate first"],
)
def test_a_refresh_replaces_the_instance_once_its_machine_has_ended(
    aws: Cloud, preferences: dict[str, int], during: list[str]
) -> None:
    fleet = Fleet(aws)
    fleet.hook()
    group = {"AutoScalingGroupName": fleet.name}
    with fleet.start() as (_, played):
        template = {"LaunchTemplateName": fleet.name, "LaunchTemplateData": fleet.data("#cloud-config\n{a: 1}\n")}
        fleet.ec2.create_launch_template_version(**template)
        refresh = fleet.scaling.start_instance_refresh(**group, Strategy="Rolling", Preferences=preferences)
        assert sorted(fleet.instances().values()) == during
        assert refusal(fleet.scaling.start_instance_refresh, **group) == (400, "InstanceRefreshInProgress")
        fleet.complete(played)
        assert played.instance not in fleet.instances()
        assert list(fleet.instances().values()) == ["InService"]
    shown = fleet.scaling.describe_instance_refreshes(**group)["InstanceRefreshes"][0]
    assert (shown["InstanceRefreshId"], shown["Status"], shown["PercentageComplete"]) == (
        refresh["InstanceRefreshId"],
        "Successful",
        100,
    )
    assert shown["Preferences"]["MinHealthyPercentage"] == preferences["MinHealthyPercentage"]
    with fleet.start() as (_, successor):
        assert successor.cloud_config == {"a": 1}, "the new instance has the new template"


def test_a_group_without_a_free_instance_has_no_machine(aws: Cloud) -> None:
    fleet = Fleet(aws)
    with fleet.start(), pytest.raises(AwsAdminError, match="has no instance without a machine"), fleet.start():
        pass
    with (
        pytest.raises(AwsAdminError, match="has no Auto Scaling group absent"),
        machine.start(aws.admin, CICD, REGION, "absent"),
    ):
        pass


def test_user_data_that_is_no_cloud_config_is_named(aws: Cloud) -> None:
    with Fleet(aws, user_data="#!/bin/sh\n").start() as (_, played), pytest.raises(MachineError, match="#cloud-config"):
        _ = played.cloud_config


def task_definition(cloud: Cloud, **condition: Any) -> tuple[str, str]:
    """Return a cluster and a family of the same name, whose role trusts ECS under a condition."""
    name, root = unique("task"), cloud.root(CICD)
    statement = {"Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = policy({**statement, **({"Condition": condition} if condition else {})})
    role = root.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    ecs = root.client("ecs")
    ecs.create_cluster(clusterName=name)
    containers = [{"name": "job", "image": "job"}]
    ecs.register_task_definition(family=name, taskRoleArn=role, containerDefinitions=containers)
    return name, name


def test_a_task_is_its_task_role(aws: Cloud) -> None:
    condition = {
        "StringEquals": {"aws:SourceAccount": CICD},
        "ArnLike": {"aws:SourceArn": f"arn:aws:ecs:{REGION}:{CICD}:*"},
    }
    cluster, family = task_definition(aws, **condition)
    with task.start(aws.admin, CICD, REGION, cluster, family) as address:
        answer = who(address, aws.jobs, "AWS_CONTAINER_CREDENTIALS_FULL_URI")
        assert answer.stdout.startswith(f"arn:aws:sts::{CICD}:assumed-role/{family}/"), answer.stderr
        assert requests.get(f"{address}-2", timeout=5).status_code == 404


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:SourceAccount": "333333333333"}},
        {"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:eu-west-1:{CICD}:*"}},
        {"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:{REGION}:{CICD}:task/*"}},
    ],
    ids=["another account", "another region", "a cluster, which AWS does not support"],
)
def test_a_role_that_trusts_other_tasks_starts_none(aws: Cloud, condition: dict[str, Any]) -> None:
    cluster, family = task_definition(aws, **condition)
    with (
        pytest.raises(AwsAdminError, match="ECS was unable to assume the role"),
        task.start(aws.admin, CICD, REGION, cluster, family),
    ):
        pass


def test_a_deregistered_definition_starts_no_task(aws: Cloud) -> None:
    cluster, family = task_definition(aws)
    aws.root(CICD).client("ecs").deregister_task_definition(taskDefinition=f"{family}:1")
    with (
        pytest.raises(AwsAdminError, match=f"no active task definition {family}:1"),
        task.start(aws.admin, CICD, REGION, cluster, f"{family}:1"),
    ):
        pass
