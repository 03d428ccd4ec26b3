"""The mocks' answers: outputs of resources and results of functions, as far as the programs use them, all known.

An unlisted function is an error, so that no policy is evaluated on a guess. A type that is not listed has its inputs as outputs, and an
ARN in AWS; a type that the policies do not know is a finding of theirs (rule H05).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pulumi.runtime import mocks

from access.resource import account_ids
from config.partitions import partition_domain, partition_of

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_ACCOUNT = "000000000000"
"""The account of a resource without a provider."""
EXISTING_CIDR = "10.0.0.0/16"
"""The network of a VPC that exists already (`network.existing`)."""


OUTPUTS: dict[str, dict[str, str]] = {
    "aws:kms/key:Key": {"arn": "arn:{partition}:kms:{region}:{account}:key/{name}", "keyId": "{name}"},
    "aws:s3/bucket:Bucket": {"arn": "arn:{partition}:s3:::{bucket}"},
    "aws:iam/policy:Policy": {"arn": "arn:{partition}:iam::{account}:policy{path}{name}"},
    "aws:iam/role:Role": {"arn": "arn:{partition}:iam::{account}:role{path}{name}"},
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": {
        "arn": "arn:{partition}:iam::{account}:oidc-provider/{host}"
    },
    "aws:cloudwatch/logGroup:LogGroup": {"arn": "arn:{partition}:logs:{region}:{account}:log-group:{name}"},
    "aws:ecr/repository:Repository": {"repositoryUrl": "{account}.dkr.ecr.{region}.{domain}/{name}"},
    "gitlab:index/userRunner:UserRunner": {"token": "glrt-rehearsal"},
}
"""Outputs that the programs use and that are not inputs, as templates over the inputs and the provider's account, region and partition."""


def issuer_of(cluster: str, region: str) -> str:
    """The mock issuer of a cluster, made from the cluster's name: in AWS, too, every cluster has another one."""
    domain = partition_domain(partition_of(region) or "aws")
    return f"https://oidc.eks.{region}.{domain}/id/{hashlib.sha256(cluster.encode()).hexdigest()[:28].upper()}"


def place_of(provider: Mapping[str, Any]) -> dict[str, str]:
    """Account, region and partition in an AWS provider's inputs."""
    region = str(provider.get("region", "eu-central-1"))
    accounts = account_ids(provider) or [NO_ACCOUNT]
    partition = partition_of(region) or "aws"
    return {
        "account": accounts[0],
        "region": region,
        "partition": partition,
        "domain": partition_domain(partition),
    }


class Mocks(mocks.Mocks):
    """Answers of a cloud that accepts every request."""

    def __init__(self, existing: Mapping[str, Any] | None = None) -> None:
        self.existing = existing or {}
        """`network.existing` of the configuration: its subnets are in its VPC, every one in another zone."""
        self.places: dict[str, dict[str, str]] = {}
        """Account, region and partition by the name of the provider."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Outputs of a resource: its inputs and those of `OUTPUTS`."""
        if args.typ == "pulumi:providers:aws":
            self.places[args.name] = place_of(args.inputs)
        place = self._place(args.provider)
        host = str(args.inputs.get("url")).removeprefix("https://")
        outputs = {"name": args.name, "path": "/", "bucket": args.name, "host": host, **args.inputs, **place}
        state = {**args.inputs}
        if args.typ.startswith("aws:"):
            service = args.typ.split(":")[1].partition("/")[0]
            arn = "arn:{partition}:{service}:{region}:{account}:{name}".format(**{**outputs, "service": service})
            state = {"name": args.name, "arn": arn, **state}
        state |= {key: template.format(**outputs) for key, template in OUTPUTS.get(args.typ, {}).items()}
        if args.typ == "aws:eks/cluster:Cluster":
            state |= self._cluster(args.inputs, place)
        return (f"{args.name}-id" if args.custom else None), state

    def _place(self, provider: str | None) -> dict[str, str]:
        """Account, region and partition of a provider, by its reference."""
        return self.places.get((provider or "").rpartition("::")[0].rpartition("::")[2], place_of({}))

    def _cluster(self, inputs: Mapping[str, Any], place: Mapping[str, str]) -> dict[str, Any]:
        return {
            "arn": "arn:{partition}:eks:{region}:{account}:cluster/{name}".format(**place, name=inputs["name"]),
            "endpoint": "https://cluster.invalid",
            "certificateAuthority": {"data": "Y2VydGlmaWNhdGU="},
            "identities": [{"oidcs": [{"issuer": issuer_of(inputs["name"], place["region"])}]}],
            "vpcConfig": {**inputs["vpcConfig"], "clusterSecurityGroupId": "sg-0000000000000000"},
        }

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:  # type: ignore[override]  # the SDK takes a plain answer too
        """Results of the functions that the programs call."""
        function = args.token
        if function == "aws:index/getAvailabilityZones:getAvailabilityZones":
            region = self._place(args.provider)["region"]
            zone_ids = [f"rehearsal-az{number}" for number in (1, 2, 3)]
            return {"names": [f"{region}{letter}" for letter in "abc"], "zoneIds": zone_ids, "id": region}
        if function == "aws:ec2/getVpc:getVpc":
            return {"id": args.args["id"], "cidrBlockAssociations": [{"cidrBlock": EXISTING_CIDR}]}
        if function == "aws:ec2/getSubnet:getSubnet":
            return {
                "id": args.args["id"],
                "vpcId": self.existing.get("vpc"),
                "mapPublicIpOnLaunch": False,
                "outpostArn": "",
                "ipv6Native": False,
                "availabilityZoneId": f"euc1-az{list(self.existing['private']).index(args.args['id']) + 1}",
                "availabilityZone": f"eu-central-1{'abc'[list(self.existing['private']).index(args.args['id']) % 3]}",
            }
        raise ValueError(
            f"the mocks have no answer for function {function}; add it to runner_platform/check/mock_cloud.py"
        )
