"""The cloud of a rehearsal: it always says yes, and answers with outputs that the programs use, all known.

Owns what a mock run is answered. A type or function that it was not told about is an error, so that nothing is judged on a guess.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pulumi.runtime import mocks

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY = "000000000000"
"""The account of what has no provider."""
EXISTING_CIDR = "10.0.0.0/16"
"""The network of a VPC that is not the platform's own."""


OUTPUTS: dict[str, dict[str, str]] = {
    "aws:kms/key:Key": {"arn": "arn:{partition}:kms:{region}:{account}:key/{name}", "keyId": "{name}"},
    "aws:s3/bucket:Bucket": {"arn": "arn:{partition}:s3:::{bucket}"},
    "aws:iam/policy:Policy": {"arn": "arn:{partition}:iam::{account}:policy{path}{name}"},
    "aws:iam/role:Role": {"arn": "arn:{partition}:iam::{account}:role{path}{name}"},
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": {
        "arn": "arn:{partition}:iam::{account}:oidc-provider/{host}"
    },
    "aws:cloudwatch/logGroup:LogGroup": {"arn": "arn:{partition}:logs:{region}:{account}:log-group:{name}"},
    "aws:ecr/repository:Repository": {"repositoryUrl": "{account}.dkr.ecr.{region}.amazonaws.com/{name}"},
    "gitlab:index/userRunner:UserRunner": {"token": "glrt-rehearsal"},
}
"""Outputs that the programs use beyond their inputs, as templates over the inputs and the place of the provider."""
PLAIN = frozenset(
    {
        *("aws:kms/alias:Alias", "aws:iam/rolePolicy:RolePolicy", "aws:iam/rolePolicyAttachment:RolePolicyAttachment"),
        *(
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        ),
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        *("aws:s3/bucketPolicy:BucketPolicy", "aws:s3/bucketVersioning:BucketVersioning"),
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        *("aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/internetGateway:InternetGateway", "aws:ec2/eip:Eip"),
        *(
            "aws:ec2/natGateway:NatGateway",
            "aws:ec2/routeTable:RouteTable",
            "aws:ec2/route:Route",
            "aws:ec2/flowLog:FlowLog",
        ),
        *("aws:ec2/routeTableAssociation:RouteTableAssociation", "aws:ec2/vpcEndpoint:VpcEndpoint"),
        *(
            "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
            "aws:eks/cluster:Cluster",
            "aws:eks/accessEntry:AccessEntry",
        ),
        *("aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "aws:ecr/repositoryPolicy:RepositoryPolicy"),
        *("aws:ecr/lifecyclePolicy:LifecyclePolicy", "aws:eks/addon:Addon"),
        *("aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/logMetricFilter:LogMetricFilter"),
    }
)
"""Types whose outputs, as far as the programs use them, are their inputs."""


def issuer_of(cluster: str, region: str) -> str:
    """The issuer that a rehearsal's cluster has: always the same, and another one for every cluster, as in AWS."""
    return f"https://oidc.eks.{region}.amazonaws.com/id/{hashlib.sha256(cluster.encode()).hexdigest()[:28].upper()}"


def place_of(provider: Mapping[str, Any]) -> dict[str, str]:
    """Account, region and partition that an AWS provider's inputs name."""
    region = str(provider.get("region", "eu-central-1"))
    listed = provider.get("allowedAccountIds", [NOBODY])
    accounts = json.loads(listed) if isinstance(listed, str) else listed
    partition = "aws-us-gov" if region.startswith("us-gov-") else "aws-cn" if region.startswith("cn-") else "aws"
    return {"account": accounts[0], "region": region, "partition": partition}


class Mocks(mocks.Mocks):
    """Answers of a cloud that always says yes."""

    def __init__(self, existing: Mapping[str, Any] | None = None) -> None:
        self.existing = existing or {}
        """`network.existing` of the configuration: its subnets are in its VPC, each in a zone of its own."""
        self.places: dict[str, dict[str, str]] = {}
        """Account, region and partition by the name of the provider."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Outputs of a resource: its inputs, and what `OUTPUTS` adds."""
        known = (
            args.typ in OUTPUTS
            or args.typ in PLAIN
            or args.typ.startswith(("kubernetes:", "pulumi:providers:", "runnerplatform:"))
        )
        if not known:
            raise ValueError(
                f"{args.typ} ({args.name}) is a type that the rehearsal was not told about; add it to runner_platform/check/mock_cloud.py"
            )
        if args.typ == "pulumi:providers:aws":
            self.places[args.name] = place_of(args.inputs)
        place = self.places.get((args.provider or "").rpartition("::")[0].rpartition("::")[2], place_of({}))
        host = str(args.inputs.get("url")).removeprefix("https://")
        outputs = {"name": args.name, "path": "/", "bucket": args.name, "host": host, **args.inputs, **place}
        state = {**args.inputs}
        state |= {key: template.format(**outputs) for key, template in OUTPUTS.get(args.typ, {}).items()}
        if args.typ.startswith("aws:"):
            state.setdefault("name", args.name)
        if args.typ == "aws:eks/cluster:Cluster":
            state |= self._cluster(args.inputs, place)
        return (f"{args.name}-id" if args.custom else None), state

    def _cluster(self, inputs: Mapping[str, Any], place: Mapping[str, str]) -> dict[str, Any]:
        return {
            "arn": "arn:{partition}:eks:{region}:{account}:cluster/{name}".format(**place, name=inputs["name"]),
            "endpoint": "https://cluster.invalid",
            "certificateAuthority": {"data": "Y2VydGlmaWNhdGU="},
            "identities": [{"oidcs": [{"issuer": issuer_of(inputs["name"], place["region"])}]}],
            "vpcConfig": {**inputs["vpcConfig"], "clusterSecurityGroupId": "sg-0000000000000000"},
        }

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:  # type: ignore[override]  # the SDK takes a plain answer too
        """Answers of the functions that the programs call."""
        function = args.token
        if function == "aws:index/getAvailabilityZones:getAvailabilityZones":
            return {"names": ["eu-central-1a", "eu-central-1b", "eu-central-1c"], "id": "eu-central-1"}
        if function == "aws:ec2/getVpc:getVpc":
            return {"id": args.args["id"], "cidrBlockAssociations": [{"cidrBlock": EXISTING_CIDR}]}
        if function == "aws:ec2/getSubnet:getSubnet":
            return {
                "id": args.args["id"],
                "vpcId": self.existing.get("vpc"),
                "mapPublicIpOnLaunch": False,
                "availabilityZone": f"eu-central-1{'abc'[list(self.existing['private']).index(args.args['id']) % 3]}",
            }
        raise ValueError(
            f"{function} is a function that the rehearsal was not told about; add it to runner_platform/check/mock_cloud.py"
        )
