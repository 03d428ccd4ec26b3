"""Which changes replace a resource: only where that can be known from inputs alone.

AWS, Kubernetes and GitLab cannot change these properties in place. Types that are missing here are never said to be replaced. A
replacement's followers (whoever holds the replaced resource's id) are not seen: in a mock run ids never change.
Sources: "Forces new resource" in the references of the providers aws 7, gitlab 10 and kubernetes 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FIXED: Mapping[str, frozenset[str]] = {
    token: frozenset(paths.split())
    for token, paths in {
        "aws:cloudwatch/logGroup:LogGroup": "name logGroupClass",
        "aws:cloudwatch/metricAlarm:MetricAlarm": "name",
        "aws:ec2/eip:Eip": "domain",
        "aws:ec2/natGateway:NatGateway": "allocationId connectivityType subnetId",
        "aws:ec2/route:Route": "destinationCidrBlock destinationIpv6CidrBlock destinationPrefixListId routeTableId",
        "aws:ec2/routeTable:RouteTable": "vpcId",
        "aws:ec2/routeTableAssociation:RouteTableAssociation": "gatewayId subnetId",
        "aws:ec2/subnet:Subnet": "availabilityZone cidrBlock vpcId",
        "aws:ec2/vpc:Vpc": "cidrBlock",
        "aws:ec2/vpcEndpoint:VpcEndpoint": "serviceName vpcEndpointType vpcId",
        "aws:ecr/repository:Repository": "name encryptionConfigurations",
        "aws:ecr/lifecyclePolicy:LifecyclePolicy": "repository",
        "aws:ecr/repositoryPolicy:RepositoryPolicy": "repository",
        "aws:eks/accessEntry:AccessEntry": "clusterName principalArn type",
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "accessScope clusterName policyArn principalArn",
        "aws:eks/addon:Addon": "addonName clusterName",
        "aws:eks/cluster:Cluster": (
            "name roleArn encryptionConfig bootstrapSelfManagedAddons accessConfig.bootstrapClusterCreatorAdminPermissions "
            "kubernetesNetworkConfig.ipFamily kubernetesNetworkConfig.serviceIpv4Cidr"
        ),
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "url",
        "aws:iam/policy:Policy": "name path description",
        "aws:iam/role:Role": "name path",
        "aws:iam/rolePolicy:RolePolicy": "name role",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "policyArn role",
        "aws:kms/alias:Alias": "name",
        "aws:kms/key:Key": "customerMasterKeySpec keyUsage multiRegion",
        "aws:s3/bucket:Bucket": "bucket objectLockEnabled",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "bucket",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "bucket",
        "aws:s3/bucketPolicy:BucketPolicy": "bucket",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "bucket",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": "bucket",
        "aws:s3/bucketVersioning:BucketVersioning": "bucket",
        "gitlab:index/userRunner:UserRunner": "groupId projectId runnerType",
        "kubernetes:core/v1:Secret": "type",
        "kubernetes:helm.sh/v3:Release": "name namespace",
        "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": "roleRef",
    }.items()
}
"""Paths of inputs by type token; a path stands for all below it."""
OF_EVERY_OBJECT = frozenset({"metadata.name", "metadata.namespace"})
"""Paths of every object in Kubernetes."""


def forces_replacement(token: str, path: str) -> bool:
    """Whether a changed input makes another resource of it."""
    fixed = FIXED.get(token, frozenset())
    if token.startswith("kubernetes:"):
        fixed |= OF_EVERY_OBJECT
    place = path.split(" (", maxsplit=1)[0]
    return any(place == each or place.startswith((f"{each}.", f"{each}[")) for each in fixed)
