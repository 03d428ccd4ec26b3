"""A network and a cluster to test with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.aws_cases import CICD, REGION, policy, unique

if TYPE_CHECKING:
    from runner_platform_sandbox.aws.client import EksCluster
    from tests.support.aws_cases import Cloud


@dataclass(frozen=True, kw_only=True)
class Network:
    """A VPC with one subnet in each of two zones."""

    ec2: Any
    vpc: str
    subnets: tuple[str, str]


def network(aws: Cloud, account: str) -> Network:
    """Make a network."""
    ec2 = aws.root(account).client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.40.{16 * number}.0/20", AvailabilityZone=REGION + zone)["Subnet"]
        for number, zone in enumerate("ab")
    ]
    return Network(ec2=ec2, vpc=vpc, subnets=(subnets[0]["SubnetId"], subnets[1]["SubnetId"]))


def auto_mode(*, enabled: bool) -> dict[str, Any]:
    """Return the three switches of Auto Mode."""
    return {
        "computeConfig": {"enabled": enabled},
        "kubernetesNetworkConfig": {"elasticLoadBalancing": {"enabled": enabled}},
        "storageConfig": {"blockStorage": {"enabled": enabled}},
    }


def cluster_request(aws: Cloud, account: str, **fields: Any) -> dict[str, Any]:
    """Return a CreateCluster request as the platform makes it, with a network and a role of its own."""
    trust = policy({"Principal": {"Service": "eks.amazonaws.com"}, "Action": ["sts:AssumeRole", "sts:TagSession"]})
    role = aws.root(account).client("iam").create_role(RoleName=unique("cluster"), AssumeRolePolicyDocument=trust)
    switches = auto_mode(enabled=True)
    switches["kubernetesNetworkConfig"]["serviceIpv4Cidr"] = "172.20.0.0/16"
    return {
        "name": unique("c"),
        "version": "1.35",
        "roleArn": role["Role"]["Arn"],
        "resourcesVpcConfig": {
            "subnetIds": list(network(aws, account).subnets),
            "endpointPrivateAccess": True,
            "publicAccessCidrs": ["203.0.113.0/24"],
        },
        "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
        "bootstrapSelfManagedAddons": False,
        "upgradePolicy": {"supportType": "STANDARD"},
        "logging": {"clusterLogging": [{"types": ["api", "audit"], "enabled": True}]},
        "tags": {"platform:stack": "dev"},
        **switches,
        **fields,
    }


REPORTED_BY_TEST = "reported"
"""Beginning of the names of clusters that `ControlPlanes`, which another module of the same session may have started, leaves alone."""


def make_cluster(aws: Cloud, *, active: bool = True, **fields: Any) -> tuple[Any, EksCluster]:
    """Make a cluster and return the client with what its keepers see; nobody but the test reports its control plane."""
    eks = aws.root(CICD).client("eks")
    request = cluster_request(aws, CICD, **{"name": unique(REPORTED_BY_TEST), **fields})
    eks.create_cluster(**request)
    cluster = next(cluster for cluster in aws.admin.clusters() if cluster.name == request["name"])
    if active:
        aws.admin.report(
            cluster, {"status": "ACTIVE", "endpoint": "https://127.0.0.1:1", "certificate_authority": "Y2E="}
        )
    return eks, cluster
