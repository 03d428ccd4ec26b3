"""The policies of machines, evaluated: real boto3 with the credentials of the instance's role, as the metadata service gives them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.machines import roles
from runner_platform_sandbox.machines import machine
from tests.support.aws_cases import CICD, REGION, Caller, Cloud, refusal
from tests.support.program import parsed, raw

if TYPE_CHECKING:
    from runner_platform_sandbox.machines.machine import Machine

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)
AUTOSCALER = {
    "executor": "docker-autoscaler",
    "level": "open",
    "instances": {"types": ["m7i.large"]},
    "max_instances": 3,
    "longest_job": "1h",
    "manager": "t3.small",
}
USER_DATA = base64.b64encode(b"#cloud-config\n{}\n").decode()
EC2_TRUST = {"Effect": "Allow", "Principal": {"Service": roles.EC2}, "Action": "sts:AssumeRole"}


@pytest.fixture(scope="module")
def settings() -> Any:
    """Dev, whose class `medium` is autoscaled."""
    values = raw("dev")
    values["runners"]["medium"] = AUTOSCALER
    return parsed(values).runner_class("medium")


@pytest.fixture(scope="module")
def account(aws: Cloud, settings: Any) -> Caller:
    """The platform account with the class's roles, groups and tokens; returns its root."""
    root, names = aws.root(CICD), settings.names
    manager, worker = names.manager_role("medium"), names.worker_role("medium")
    make_role(root, names.role_path, manager, roles.manager_permissions(settings))
    make_role(root, names.role_path, worker, roles.worker_permissions(settings))
    make_group(root, names.manager_group("medium"), manager, smallest=1)
    make_group(root, names.worker_group("medium"), worker, smallest=0)
    trust = json.dumps(roles.job_trust(settings))
    root.client("iam").create_role(
        RoleName=names.job_role("medium"), Path=names.role_path, AssumeRolePolicyDocument=trust
    )
    for runner_class in ("medium", "small"):
        parameter = names.token_parameter(runner_class)
        root.client("ssm").put_parameter(Name=parameter, Type="SecureString", Value=f"token of {runner_class}")
    return root


def make_role(root: Caller, path: str, name: str, permissions: dict[str, Any]) -> None:
    """Make a role of EC2 with its instance profile."""
    iam = root.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": [EC2_TRUST]})
    iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust)
    for policy, document in permissions.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def make_group(root: Caller, name: str, role: str, *, smallest: int) -> None:
    """Make a group of machines with a role."""
    data = {"IamInstanceProfile": {"Name": role}, "UserData": USER_DATA}
    root.client("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    scaling = root.client("autoscaling")
    sizes = {"MinSize": smallest, "MaxSize": 3, "AvailabilityZones": [f"{REGION}a"]}
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchTemplate={"LaunchTemplateName": name},
        NewInstancesProtectedFromScaleIn=True,
        **sizes,
    )
    transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    scaling.put_lifecycle_hook(AutoScalingGroupName=name, LifecycleHookName="drain", LifecycleTransition=transition)


def caller(aws: Cloud, played: Machine) -> Caller:
    """Return who a process on the machine is."""
    keys = played.credentials()[1]
    return Caller(endpoint=aws.jobs, key=keys["AccessKeyId"], secret=keys["SecretAccessKey"], token=keys["Token"])


@pytest.mark.usefixtures("account")
def test_a_manager_reads_its_own_token_alone(aws: Cloud, settings: Any) -> None:
    names = settings.names
    with machine.start(aws.admin, CICD, REGION, names.manager_group("medium")) as (_, played):
        ssm = caller(aws, played).client("ssm")
    answer = ssm.get_parameter(Name=names.token_parameter("medium"), WithDecryption=True)
    assert answer["Parameter"]["Value"] == "token of medium"
    another = {"Name": names.token_parameter("small"), "WithDecryption": True}
    assert refusal(ssm.get_parameter, **another) == (400, "AccessDeniedException")
    both = {"Names": [names.token_parameter("medium"), names.token_parameter("small")]}
    assert refusal(ssm.get_parameters, **both) == (400, "AccessDeniedException")
    assert refusal(ssm.get_parameters_by_path, Path="/cicd-dev", Recursive=True) == (400, "AccessDeniedException")


@pytest.mark.usefixtures("account")
def test_a_manager_scales_its_workers_and_a_worker_takes_the_job_role(aws: Cloud, settings: Any) -> None:
    names = settings.names
    workers = {"AutoScalingGroupName": names.worker_group("medium")}
    job_role = {"RoleArn": names.role_arn(CICD, names.job_role("medium")), "RoleSessionName": "job"}
    with machine.start(aws.admin, CICD, REGION, names.manager_group("medium")) as (_, played):
        manager = caller(aws, played)
    scaling = manager.client("autoscaling")
    scaling.set_desired_capacity(**workers, DesiredCapacity=1)
    own = {"AutoScalingGroupName": names.manager_group("medium"), "DesiredCapacity": 2}
    assert refusal(scaling.set_desired_capacity, **own) == (403, "AccessDenied")
    assert refusal(scaling.update_auto_scaling_group, **workers, MaxSize=9) == (403, "AccessDenied")
    assert refusal(manager.client("sts").assume_role, **job_role) == (403, "AccessDenied")
    with machine.start(aws.admin, CICD, REGION, workers["AutoScalingGroupName"]) as (_, host):
        worker = caller(aws, host)
        assert worker.assume(job_role["RoleArn"]).arn.split("/")[1] == names.job_role("medium")
        end = {"InstanceId": host.instance, "ShouldDecrementDesiredCapacity": True}
        assert refusal(worker.client("autoscaling").terminate_instance_in_auto_scaling_group, **end)[0] == 403
        scaling.terminate_instance_in_auto_scaling_group(**end)
        assert host.state == "Terminating:Wait"
    assert host.state == "Terminated"


def test_a_manager_ends_its_own_wait_alone(aws: Cloud, settings: Any, account: Caller) -> None:
    group = {"AutoScalingGroupName": settings.names.manager_group("medium")}
    root = account.client("autoscaling")
    with machine.start(aws.admin, CICD, REGION, group["AutoScalingGroupName"]) as (_, played):
        root.terminate_instance_in_auto_scaling_group(InstanceId=played.instance, ShouldDecrementDesiredCapacity=False)
        action = {"LifecycleHookName": "drain", "InstanceId": played.instance}
        scaling = caller(aws, played).client("autoscaling")
        workers = {"AutoScalingGroupName": settings.names.worker_group("medium")}
        foreign = {**workers, **action, "LifecycleActionResult": "CONTINUE"}
        assert refusal(scaling.complete_lifecycle_action, **foreign) == (403, "AccessDenied")
        scaling.record_lifecycle_action_heartbeat(**group, **action)
        assert played.state == "Terminating:Wait"
        scaling.complete_lifecycle_action(**group, **action, LifecycleActionResult="CONTINUE")
        assert played.state == "Terminated"
