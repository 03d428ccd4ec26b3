"""The account of the aws stand-in's tests, with prerequisites that cases need but do not test."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.aws.client import AwsAdminError
from runner_platform_sandbox.providers.aws.provider import AwsStandIn
from sandbox.tests.support.aws_network import REPORTED_BY_TEST
from tests.support.aws_cases import CICD, REGION

if TYPE_CHECKING:
    from tests.support.aws_cases import Cloud

TRUST: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
PERMISSIONS: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["*"]}],
}
OTHER_PERMISSIONS: dict[str, Any] = {
    **PERMISSIONS,
    "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}],
}


class Account:
    """Prerequisites, created on first use. Names start with `world`."""

    def __init__(self, cloud: Cloud, planes: ControlPlanes) -> None:
        self.cloud = cloud
        self.planes = planes

    def stand_in(self, **config: Any) -> AwsStandIn:
        """Return a configured provider; the fixture's environment points it to this account."""
        provider = AwsStandIn()
        provider.configure({"accessKey": CICD, "secretKey": "any", "region": REGION, **config})
        return provider

    def client(self, service: str) -> Any:
        return self.cloud.root(CICD).client(service)

    @cached_property
    def role_arn(self) -> str:
        role = self.client("iam").create_role(RoleName="world", AssumeRolePolicyDocument=json.dumps(TRUST))
        return str(role["Role"]["Arn"])

    @cached_property
    def other_role_arn(self) -> str:
        role = self.client("iam").create_role(RoleName="world-2", AssumeRolePolicyDocument=json.dumps(TRUST))
        return str(role["Role"]["Arn"])

    @property
    def role(self) -> str:
        return self.role_arn.rpartition("/")[2]

    @cached_property
    def policy_arn(self) -> str:
        answer = self.client("iam").create_policy(PolicyName="world", PolicyDocument=json.dumps(PERMISSIONS))
        return str(answer["Policy"]["Arn"])

    @cached_property
    def bucket(self) -> str:
        place = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket="world-bucket", CreateBucketConfiguration=place)
        return "world-bucket"

    @cached_property
    def key_arn(self) -> str:
        return str(self.client("kms").create_key()["KeyMetadata"]["Arn"])

    @cached_property
    def other_key_arn(self) -> str:
        return str(self.client("kms").create_key()["KeyMetadata"]["Arn"])

    @cached_property
    def vpc(self) -> str:
        return str(self.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"])

    @cached_property
    def other_vpc(self) -> str:
        return str(self.client("ec2").create_vpc(CidrBlock="10.10.0.0/16")["Vpc"]["VpcId"])

    def _subnet(self, block: str, zone: str) -> str:
        answer = self.client("ec2").create_subnet(VpcId=self.vpc, CidrBlock=block, AvailabilityZone=zone)
        return str(answer["Subnet"]["SubnetId"])

    @cached_property
    def subnet_a(self) -> str:
        return self._subnet("10.9.128.0/24", f"{REGION}a")

    @cached_property
    def subnet_b(self) -> str:
        return self._subnet("10.9.129.0/24", f"{REGION}b")

    def _table(self) -> str:
        return str(self.client("ec2").create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"])

    @cached_property
    def table(self) -> str:
        return self._table()

    @cached_property
    def other_table(self) -> str:
        return self._table()

    @cached_property
    def gateway(self) -> str:
        ec2 = self.client("ec2")
        gateway = str(ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"])
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        return gateway

    @cached_property
    def address(self) -> str:
        return str(self.client("ec2").allocate_address(Domain="vpc")["AllocationId"])

    @cached_property
    def nat(self) -> str:
        answer = self.client("ec2").create_nat_gateway(SubnetId=self.subnet_a, AllocationId=self.address)
        return str(answer["NatGateway"]["NatGatewayId"])

    @cached_property
    def group(self) -> str:
        answer = self.client("ec2").create_security_group(GroupName="world", Description="world", VpcId=self.vpc)
        return str(answer["GroupId"])

    @cached_property
    def logs_arn(self) -> str:
        return f"arn:aws:logs:{REGION}:{CICD}:log-group:{self.logs}"

    @cached_property
    def logs(self) -> str:
        self.client("logs").create_log_group(logGroupName="world")
        return "world"

    @cached_property
    def repository(self) -> str:
        self.client("ecr").create_repository(repositoryName="world/repository")
        return "world/repository"

    @cached_property
    def cluster(self) -> str:
        config = {"subnetIds": [self.subnet_a, self.subnet_b]}
        access = {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
        self.client("eks").create_cluster(
            name="world", roleArn=self.role_arn, resourcesVpcConfig=config, accessConfig=access, version="1.35"
        )
        self.client("eks").create_access_entry(clusterName="world", principalArn=self.other_role_arn)
        return "world"

    @cached_property
    def launch_template(self) -> str:
        answer = self.client("ec2").create_launch_template(
            LaunchTemplateName="world", LaunchTemplateData={"InstanceType": "m7i.large"}
        )
        return str(answer["LaunchTemplate"]["LaunchTemplateId"])

    @cached_property
    def scaling_group(self) -> str:
        template = {"LaunchTemplateId": self.launch_template}
        self.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName="world", MinSize=0, MaxSize=1, LaunchTemplate=template, VPCZoneIdentifier=self.subnet_a
        )
        return "world"

    @cached_property
    def ecs_cluster(self) -> str:
        self.client("ecs").create_cluster(clusterName="world")
        return "world"


class ControlPlanes(threading.Thread):
    """Reports the control plane of every new EKS cluster as running, as the supervisor does."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(daemon=True)
        self._cloud = cloud
        self._stopped = threading.Event()
        self.paused = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.2):
            with contextlib.suppress(AwsAdminError):
                self._report()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _report(self) -> None:
        certificate = base64.b64encode(b"a certificate").decode()
        answer = {"status": "ACTIVE", "endpoint": "https://127.0.0.1:6443", "certificate_authority": certificate}
        for cluster in self._cloud.admin.clusters():
            own = not cluster.name.startswith(REPORTED_BY_TEST)
            if own and cluster.status == "CREATING" and not self.paused.is_set():
                self._cloud.admin.report(cluster, answer)
