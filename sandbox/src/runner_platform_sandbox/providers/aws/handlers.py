"""Everything that the aws stand-in models, by token.

Owns the two tables. A new type is a class in the file of its service and a line here.
"""

from collections.abc import Callable
from typing import Any, Final

from runner_platform_sandbox.providers.aws import (
    cloudwatch,
    ec2_endpoints,
    ec2_gateways,
    ec2_network,
    ec2_routes,
    ec2_security,
    ecr,
    eks,
    eks_access,
    eks_addon,
    functions,
    iam,
    iam_oidc,
    kms,
    logs,
    s3,
    s3_settings,
)
from runner_platform_sandbox.providers.aws.resource import Call, Handler
from runner_platform_sandbox.providers.base import Properties

_TYPES: Final[tuple[type[Handler], ...]] = (
    cloudwatch.MetricAlarm,
    ec2_endpoints.VpcEndpoint,
    ec2_gateways.Eip,
    ec2_gateways.FlowLog,
    ec2_gateways.NatGateway,
    ec2_network.InternetGateway,
    ec2_network.Subnet,
    ec2_network.Vpc,
    ec2_routes.Route,
    ec2_routes.RouteTable,
    ec2_routes.RouteTableAssociation,
    ec2_security.DefaultSecurityGroup,
    ec2_security.SecurityGroup,
    ec2_security.SecurityGroupEgressRule,
    ec2_security.SecurityGroupIngressRule,
    ecr.LifecyclePolicy,
    ecr.Repository,
    ecr.RepositoryPolicy,
    eks.Cluster,
    eks_access.AccessEntry,
    eks_access.AccessPolicyAssociation,
    eks_addon.Addon,
    iam.Policy,
    iam.Role,
    iam.RolePolicy,
    iam.RolePolicyAttachment,
    iam_oidc.OpenIdConnectProvider,
    kms.Alias,
    kms.Key,
    logs.LogGroup,
    logs.LogMetricFilter,
    s3.Bucket,
    s3_settings.BucketLifecycleConfiguration,
    s3_settings.BucketOwnershipControls,
    s3_settings.BucketPolicy,
    s3_settings.BucketPublicAccessBlock,
    s3_settings.BucketServerSideEncryptionConfiguration,
    s3_settings.BucketVersioning,
)

HANDLERS: Final[dict[str, Handler]] = {kind.token: kind() for kind in _TYPES}
"""Resource types."""

FUNCTIONS: Final[dict[str, Callable[[Call, dict[str, Any]], Properties]]] = {
    "aws:ec2/getSubnet:getSubnet": functions.get_subnet,
    "aws:ec2/getSubnets:getSubnets": functions.get_subnets,
    "aws:ec2/getVpc:getVpc": functions.get_vpc,
    "aws:eks/getCluster:getCluster": functions.get_cluster,
    "aws:eks/getClusterVersions:getClusterVersions": functions.get_cluster_versions,
    "aws:index/getAvailabilityZones:getAvailabilityZones": functions.get_availability_zones,
    "aws:index/getCallerIdentity:getCallerIdentity": functions.get_caller_identity,
    "aws:index/getPartition:getPartition": functions.get_partition,
    "aws:index/getRegion:getRegion": functions.get_region,
}
"""Data sources."""
