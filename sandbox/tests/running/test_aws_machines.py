"""Launch templates, Auto Scaling and parameters: what is kept, what AWS refuses, who may."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sandbox.tests.support.aws_network import Network, network
from tests.support.aws_cases import DEV, REGION, Cloud, policy, refusal, trusting, unique

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)
EC2_TRUST = policy({"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
DATA: dict[str, Any] = {
    "InstanceType": "m7i.large",
    "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}},
    "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True, "KmsKeyId": "k", "VolumeSize": 50}}],
    "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 2},
    "MaintenanceOptions": {"AutoRecovery": "disabled"},
    "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "disabled"},
    "Monitoring": {"Enabled": False},
    "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "<&>"}]}],
    "UserData": base64.b64encode(b"#cloud-config").decode(),
}


@pytest.fixture
def net(aws: Cloud) -> Network:
    """A network of its own for each test."""
    return network(aws, DEV)


@pytest.fixture
def template(net: Network) -> dict[str, str]:
    """A template, as a group names it."""
    name = unique("template")
    net.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=DATA)
    return {"LaunchTemplateName": name}


@pytest.fixture
def group(aws: Cloud, net: Network, template: dict[str, str]) -> Group:
    """A group of one instance."""
    return Group(aws, net, template)


class Group:
    """A group with its client."""

    def __init__(self, aws: Cloud, net: Network, template: dict[str, str], **fields: Any) -> None:
        self.scaling = aws.root(DEV).client("autoscaling")
        self.named = {"AutoScalingGroupName": unique("group")}
        sizes = {"MinSize": 1, "MaxSize": 3, "VPCZoneIdentifier": ",".join(net.subnets)}
        self.fields = {**self.named, **sizes, **(fields or {"LaunchTemplate": template})}
        self.scaling.create_auto_scaling_group(**self.fields)

    def shown(self) -> dict[str, Any]:
        answer = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.named["AutoScalingGroupName"]])
        return dict(answer["AutoScalingGroups"][0])

    def instances(self) -> list[str]:
        return [instance["InstanceId"] for instance in self.shown()["Instances"]]

    def capacity(self, number: int) -> None:
        self.scaling.set_desired_capacity(**self.named, DesiredCapacity=number)


def test_a_template_keeps_every_field_and_counts_its_versions(net: Network, template: dict[str, str]) -> None:
    versions = net.ec2.describe_launch_template_versions(**template)["LaunchTemplateVersions"]
    shown = versions[0]["LaunchTemplateData"]
    assert shown == DATA | {"Monitoring": {"Enabled": False}}
    net.ec2.create_launch_template_version(**template, LaunchTemplateData={"InstanceType": "m7i.xlarge"})
    (described,) = net.ec2.describe_launch_templates(LaunchTemplateNames=[template["LaunchTemplateName"]])[
        "LaunchTemplates"
    ]
    assert (described["LatestVersionNumber"], described["DefaultVersionNumber"]) == (2, 1)
    net.ec2.modify_launch_template(**template, DefaultVersion="2")
    (default,) = net.ec2.describe_launch_template_versions(**template, Versions=["$Default"])["LaunchTemplateVersions"]
    assert default["LaunchTemplateData"] == {"InstanceType": "m7i.xlarge"}, "a version has only what it was given"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"UserData": "no base64!"}, "InvalidUserData.Malformed"),
        ({"UserData": base64.b64encode(b"x" * 16385).decode()}, "InvalidParameterValue"),
        ({"CpuOptions": {"CoreCount": "two"}}, "InvalidParameterValue"),
        ({}, "MissingParameter"),
    ],
)
def test_data_that_ec2_refuses_makes_no_template(net: Network, data: dict[str, Any], expected: str) -> None:
    fields = {"LaunchTemplateName": unique("template"), "LaunchTemplateData": data}
    assert refusal(net.ec2.create_launch_template, **fields) == (400, expected)


def test_templates_and_versions_that_do_not_exist_are_named(net: Network, template: dict[str, str]) -> None:
    describe = net.ec2.describe_launch_template_versions
    assert refusal(describe, **template, Versions=["7"])[1] == "InvalidLaunchTemplateId.VersionNotFound"
    assert refusal(describe, LaunchTemplateId="lt-0")[1] == "InvalidLaunchTemplateId.NotFound"
    assert refusal(net.ec2.delete_launch_template, LaunchTemplateName="absent")[1] == (
        "InvalidLaunchTemplateName.NotFoundException"
    )


def test_a_group_launches_protects_and_scales(group: Group) -> None:
    first = group.instances()
    assert len(first) == 1
    group.capacity(3)
    assert len(group.instances()) == 3
    group.scaling.set_instance_protection(**group.named, InstanceIds=first, ProtectedFromScaleIn=True)
    group.capacity(1)
    assert group.instances() == first, "the protected instance stays"
    assert refusal(group.scaling.set_desired_capacity, **group.named, DesiredCapacity=4) == (400, "ValidationError")
    assert refusal(group.scaling.set_desired_capacity, **group.named, DesiredCapacity=0) == (400, "ValidationError")


def test_a_runner_ends_one_instance_and_lowers_the_capacity(group: Group) -> None:
    group.capacity(2)
    before = group.instances()
    end = {"InstanceId": before[0], "ShouldDecrementDesiredCapacity": True}
    activity = group.scaling.terminate_instance_in_auto_scaling_group(**end)["Activity"]
    assert before[0] in activity["Description"]
    assert (group.instances(), group.shown()["DesiredCapacity"]) == (before[1:], 1)
    last = {"InstanceId": before[1], "ShouldDecrementDesiredCapacity": True}
    assert refusal(group.scaling.terminate_instance_in_auto_scaling_group, **last) == (400, "ValidationError")
    group.scaling.terminate_instance_in_auto_scaling_group(**{**last, "ShouldDecrementDesiredCapacity": False})
    assert len(group.instances()) == 1, "the group replaces it"
    assert group.instances() != before[1:]


def test_suspended_processes_are_kept_and_obeyed(group: Group) -> None:
    processes = {"ScalingProcesses": ["AZRebalance", "Launch"]}
    group.scaling.suspend_processes(**group.named, **processes)
    group.capacity(2)
    assert len(group.instances()) == 1
    assert {item["ProcessName"] for item in group.shown()["SuspendedProcesses"]} == {"AZRebalance", "Launch"}
    group.scaling.resume_processes(**group.named, ScalingProcesses=["Launch"])
    assert len(group.instances()) == 2
    assert refusal(group.scaling.suspend_processes, **group.named, ScalingProcesses=["Nothing"])[1] == "ValidationError"


def test_new_instances_have_the_template_of_now_and_old_ones_theirs(
    aws: Cloud, net: Network, template: dict[str, str]
) -> None:
    group = Group(aws, net, {**template, "Version": "$Latest"})
    net.ec2.create_launch_template_version(**template, LaunchTemplateData={"InstanceType": "m7i.xlarge"})
    group.capacity(2)
    assert [item["LaunchTemplate"]["Version"] for item in group.shown()["Instances"]] == ["1", "2"]
    group.capacity(1)
    assert [item["LaunchTemplate"]["Version"] for item in group.shown()["Instances"]] == ["2"], "old ones end first"


def test_a_mixed_instances_policy_is_kept(aws: Cloud, net: Network, template: dict[str, str]) -> None:
    overrides = [{"InstanceType": "m6i.large"}, {"InstanceType": "m5.large"}]
    mixed = {
        "LaunchTemplate": {"LaunchTemplateSpecification": template, "Overrides": overrides},
        "InstancesDistribution": {"SpotAllocationStrategy": "price-capacity-optimized"},
    }
    group = Group(aws, net, template, MixedInstancesPolicy=mixed).shown()
    assert "LaunchTemplate" not in group
    assert group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"] == overrides
    distribution = group["MixedInstancesPolicy"]["InstancesDistribution"]
    assert distribution["SpotAllocationStrategy"] == "price-capacity-optimized"
    assert distribution["OnDemandPercentageAboveBaseCapacity"] == 100
    assert group["Instances"][0]["InstanceType"] == "m6i.large"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"MinSize": 4}, "must be greater than or equal to min bound"),
        ({"DesiredCapacity": 9}, "must be between"),
        ({"VPCZoneIdentifier": "subnet-0"}, "subnet ID 'subnet-0' does not exist"),
        ({"LaunchTemplate": {"LaunchTemplateName": "absent"}}, "launch template, absent"),
        ({"LaunchTemplate": None}, "must contain either LaunchTemplate"),
        ({"MinSize": "two"}, "is not of type integer"),
    ],
)
def test_a_group_that_cannot_work_is_refused(group: Group, fields: dict[str, Any], words: str) -> None:
    request = {**group.fields, "AutoScalingGroupName": unique("group"), **fields}
    request = {name: value for name, value in request.items() if value is not None}
    with pytest.raises(group.scaling.exceptions.ClientError, match=words) as error:
        group.scaling.create_auto_scaling_group(**request)
    assert error.value.response["Error"]["Code"] == "ValidationError"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"IamInstanceProfile": {"Name": "absent"}}, "Invalid IAM Instance Profile name"),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0}], "SecurityGroupIds": ["sg-1"]},
            "may not be specified on the same request",
        ),
        ({"SecurityGroupIds": ["sg-0"]}, "security group 'sg-0' does not exist"),
    ],
)
def test_a_group_refuses_a_template_that_launches_nothing(
    aws: Cloud, net: Network, data: dict[str, Any], words: str
) -> None:
    name = unique("template")
    net.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    scaling = aws.root(DEV).client("autoscaling")
    with pytest.raises(scaling.exceptions.ClientError, match=f"valid fully-formed launch template.*{words}"):
        Group(aws, net, {"LaunchTemplateName": name})


def test_a_group_keeps_what_a_change_does_not_name(group: Group) -> None:
    group.scaling.update_auto_scaling_group(**group.named, MaxInstanceLifetime=604800, Context="c")
    group.scaling.update_auto_scaling_group(**group.named, MaxSize=5)
    shown = group.shown()
    assert (shown["MaxInstanceLifetime"], shown["Context"], shown["MaxSize"]) == (604800, "c", 5)
    tags = [{"ResourceId": group.named["AutoScalingGroupName"], "ResourceType": "auto-scaling-group", "Key": "a"}]
    group.scaling.create_or_update_tags(Tags=[{**tags[0], "Value": "<&>", "PropagateAtLaunch": True}])
    assert [(tag["Key"], tag["Value"], tag["PropagateAtLaunch"]) for tag in group.shown()["Tags"]] == [
        ("a", "<&>", True)
    ]


def test_the_caller_needs_the_role_and_the_right_to_launch(aws: Cloud, net: Network) -> None:
    root, name = aws.root(DEV), unique("manager")
    iam = root.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=EC2_TRUST)["Role"]["Arn"]
    iam.create_instance_profile(InstanceProfileName=name)
    deployer = unique("deployer")
    deployer_arn = iam.create_role(RoleName=deployer, AssumeRolePolicyDocument=trusting(DEV))["Role"]["Arn"]
    iam_statement = {"Action": ["iam:AddRoleToInstanceProfile", "autoscaling:*", "ec2:Describe*"], "Resource": "*"}
    passing = {
        "Action": "iam:PassRole",
        "Resource": role,
        "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    }
    launching = {"Action": "ec2:RunInstances", "Resource": "*"}
    net.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"IamInstanceProfile": {"Name": name}})

    def allow(*statements: dict[str, Any]) -> Any:
        document = policy(iam_statement, *statements)
        iam.put_role_policy(RoleName=deployer, PolicyName="p", PolicyDocument=document)
        return root.assume(deployer_arn)

    add = {"InstanceProfileName": name, "RoleName": name}
    assert refusal(allow().client("iam").add_role_to_instance_profile, **add) == (403, "AccessDenied")
    allow(passing).client("iam").add_role_to_instance_profile(**add)
    request = {"AutoScalingGroupName": name, "MinSize": 0, "MaxSize": 1, "VPCZoneIdentifier": net.subnets[0]}
    request |= {"LaunchTemplate": {"LaunchTemplateName": name}}
    for statements in ((passing,), (launching,)):
        scaling = allow(*statements).client("autoscaling")
        assert refusal(scaling.create_auto_scaling_group, **request) == (403, "AccessDenied")
    allow(passing, launching).client("autoscaling").create_auto_scaling_group(**request)


def test_a_secure_parameter_opens_only_to_who_may_use_its_key(aws: Cloud) -> None:
    root, name = aws.root(DEV), f"/{unique('cicd')}/token"
    iam, key = root.client("iam"), root.client("kms").create_key()["KeyMetadata"]["Arn"]
    root.client("ssm").put_parameter(Name=name, Type="SecureString", Value="secret", KeyId=key)
    reader = unique("reader")
    arn = iam.create_role(RoleName=reader, AssumeRolePolicyDocument=trusting(DEV))["Role"]["Arn"]
    parameter = f"arn:aws:ssm:{REGION}:{DEV}:parameter{name}"
    reading = {"Action": ["ssm:GetParameter", "ssm:GetParameters"], "Resource": parameter}

    def allow(*statements: dict[str, Any]) -> Any:
        iam.put_role_policy(RoleName=reader, PolicyName="p", PolicyDocument=policy(reading, *statements))
        return root.assume(arn).client("ssm")

    only_parameter = allow()
    assert only_parameter.get_parameter(Name=name)["Parameter"]["Value"] != "secret"
    assert refusal(only_parameter.get_parameter, Name=name, WithDecryption=True) == (400, "AccessDeniedException")
    assert refusal(only_parameter.get_parameters, Names=[name], WithDecryption=True)[1] == "AccessDeniedException"
    assert refusal(only_parameter.get_parameters, Names=[f"{name}-2"])[1] == "AccessDeniedException"
    with_key = allow({"Action": "kms:Decrypt", "Resource": key})
    assert with_key.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "secret"
    through = {"StringEquals": {"kms:EncryptionContext:PARAMETER_ARN": f"{parameter}-2"}}
    narrow = allow({"Action": "kms:Decrypt", "Resource": key, "Condition": through})
    assert refusal(narrow.get_parameter, Name=name, WithDecryption=True)[1] == "AccessDeniedException"


def test_the_own_key_of_the_service_opens_to_every_reader(aws: Cloud) -> None:
    root, name = aws.root(DEV), f"/{unique('cicd')}/token"
    root.client("ssm").put_parameter(Name=name, Type="SecureString", Value="secret")
    role = unique("reader")
    arn = root.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=trusting(DEV))["Role"]["Arn"]
    reading = policy({"Action": "ssm:GetParameter", "Resource": f"arn:aws:ssm:{REGION}:{DEV}:parameter{name}"})
    root.client("iam").put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=reading)
    answer = root.assume(arn).client("ssm").get_parameter(Name=name, WithDecryption=True)
    assert answer["Parameter"]["Value"] == "secret"
    absent = {"Name": f"{name}-2", "Type": "SecureString", "Value": "v", "KeyId": "alias/absent"}
    assert refusal(root.client("ssm").put_parameter, **absent) == (400, "InvalidKeyId")


@pytest.mark.parametrize(
    "path",
    [
        "/aws/service/canonical/ubuntu/server/24.04/stable/20260115/amd64/hvm/ebs-gp3/ami-id",
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
    ],
)
def test_public_parameters_name_an_image(aws: Cloud, path: str) -> None:
    ssm = aws.root(DEV).client("ssm")
    image = ssm.get_parameter(Name=path)["Parameter"]["Value"]
    assert image.startswith("ami-")
    assert image == aws.root("444444444444").client("ssm").get_parameter(Name=path)["Parameter"]["Value"]
    assert json.dumps(refusal(ssm.get_parameter, Name=f"{path}/absent")) == '[400, "ParameterNotFound"]'
