"""One case for each resource type of the aws stand-in: what to create, what to change, what forces a new one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sandbox.aws_cases import CICD, REGION
from tests.sandbox.provider_aws_world import OTHER_PERMISSIONS, PERMISSIONS, TRUST, World
from tests.sandbox.provider_driver import State

Inputs = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happens to one resource."""

    token: str
    inputs: Callable[[World], Inputs]
    change: Callable[[World], Inputs] | None = None
    """Merged over the inputs: an update in place."""
    replace: Callable[[World], Inputs] | None = None
    """Merged over the inputs: another resource."""
    import_id: Callable[[State], str] = lambda state: state.id
    kept_inputs: frozenset[str] = frozenset()
    """Inputs that AWS does not know, which an import cannot find."""
    leaves: bool = False
    """Deleting it leaves something behind, on purpose."""


def _rule(**values: Any) -> Inputs:
    return {"id": "expire", "status": "Enabled", "filter": {"prefix": "jobs/"}, **values}


def _statement(world: World, action: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{CICD}:root"},
                    "Action": action,
                    "Resource": [f"arn:aws:s3:::{world.bucket}/*"],
                }
            ],
        }
    )


def _ecr_policy(action: str) -> Inputs:
    principal = {"AWS": f"arn:aws:iam::{CICD}:root"}
    statement = {"Sid": "Pull", "Effect": "Allow", "Principal": principal, "Action": [action]}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _expiry(days: int) -> Inputs:
    selection = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days}
    return {"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]}


def _alarm(**values: Any) -> Inputs:
    return {
        "comparisonOperator": "GreaterThanThreshold",
        "evaluationPeriods": 2,
        "metricName": "NATErrors",
        "namespace": "AWS/NATGateway",
        "period": 300,
        "statistic": "Sum",
        "threshold": 0,
        "dimensions": {"NatGatewayId": "nat-1"},
        **values,
    }


def _cluster(world: World, **values: Any) -> Inputs:
    return {
        "name": "case",
        "roleArn": world.role_arn,
        "version": "1.34",
        "bootstrapSelfManagedAddons": False,
        "vpcConfig": {
            "subnetIds": [world.subnet_b, world.subnet_a],
            "endpointPrivateAccess": True,
            "endpointPublicAccess": True,
            "publicAccessCidrs": ["192.0.2.0/24"],
        },
        "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
        "computeConfig": {"enabled": True, "nodePools": []},
        "kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/16", "elasticLoadBalancing": {"enabled": True}},
        "storageConfig": {"blockStorage": {"enabled": True}},
        "enabledClusterLogTypes": ["scheduler", "api", "audit", "authenticator", "controllerManager"],
        "encryptionConfig": {"provider": {"keyArn": world.key_arn}, "resources": ["secrets"]},
        "upgradePolicy": {"supportType": "STANDARD"},
        "deletionProtection": True,
        "tags": {"a": "1"},
        **values,
    }


TAGS = {"tags": {"a": "1", "b": "2"}}
RETAGGED = {"tags": {"a": "1", "b": "3", "c": "4"}}

CASES = [
    Case(
        token="aws:iam/role:Role",
        inputs=lambda w: {"assumeRolePolicy": json.dumps(TRUST, indent=2), "path": "/cicd/", **TAGS},
        change=lambda w: {
            "maxSessionDuration": 7200,
            "permissionsBoundary": w.policy_arn,
            "description": "d",
            **RETAGGED,
        },
        replace=lambda w: {"path": "/other/"},
    ),
    Case(
        token="aws:iam/rolePolicy:RolePolicy",
        inputs=lambda w: {"role": w.role, "policy": PERMISSIONS},
        change=lambda w: {"policy": json.dumps(OTHER_PERMISSIONS)},
        replace=lambda w: {"name": "another"},
    ),
    Case(
        token="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        inputs=lambda w: {"role": w.role, "policyArn": "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"},
        replace=lambda w: {"policyArn": w.policy_arn},
    ),
    Case(
        token="aws:iam/policy:Policy",
        inputs=lambda w: {"policy": json.dumps(PERMISSIONS), "path": "/cicd/", "name": "case-policy", **TAGS},
        change=lambda w: {"policy": json.dumps(OTHER_PERMISSIONS), **RETAGGED},
        replace=lambda w: {"description": "only a new one can have it"},
    ),
    Case(
        token="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        inputs=lambda w: {"url": "https://case.example", "clientIdLists": ["b", "a"], **TAGS},
        change=lambda w: {"clientIdLists": ["a", "c"], "thumbprintLists": ["0" * 40], **RETAGGED},
        replace=lambda w: {"url": "https://other.example"},
    ),
    Case(
        token="aws:s3/bucket:Bucket",
        inputs=lambda w: {"bucket": "case-bucket", "forceDestroy": True, **TAGS},
        change=lambda w: {"forceDestroy": False, **RETAGGED},
        replace=lambda w: {"bucket": "case-bucket-2"},
        kept_inputs=frozenset({"forceDestroy"}),
    ),
    Case(
        token="aws:s3/bucketVersioning:BucketVersioning",
        inputs=lambda w: {"bucket": w.bucket, "versioningConfiguration": {"status": "Enabled"}},
        change=lambda w: {"versioningConfiguration": {"status": "Suspended"}},
        leaves=True,
    ),
    Case(
        token="aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        inputs=lambda w: {
            "bucket": w.bucket,
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": w.key_arn},
                    "bucketKeyEnabled": True,
                }
            ],
        },
        change=lambda w: {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        leaves=True,
    ),
    Case(
        token="aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        inputs=lambda w: {"bucket": w.bucket, "blockPublicAcls": True, "blockPublicPolicy": True},
        change=lambda w: {"ignorePublicAcls": True, "restrictPublicBuckets": True},
    ),
    Case(
        token="aws:s3/bucketPolicy:BucketPolicy",
        inputs=lambda w: {"bucket": w.bucket, "policy": _statement(w, "s3:GetObject")},
        change=lambda w: {"policy": _statement(w, "s3:PutObject")},
    ),
    Case(
        token="aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        inputs=lambda w: {"bucket": w.bucket, "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        change=lambda w: {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
        leaves=True,
    ),
    Case(
        token="aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        inputs=lambda w: {
            "bucket": w.bucket,
            "rules": [
                _rule(expiration={"days": 14}, abortIncompleteMultipartUpload={"daysAfterInitiation": 2}),
                {
                    "id": "old",
                    "status": "Enabled",
                    "noncurrentVersionExpiration": {"noncurrentDays": 30, "newerNoncurrentVersions": 5},
                    "filter": {"and": {"prefix": "a/", "tags": {"k": "v", "l": "w"}}},
                },
                {"id": "all", "status": "Disabled", "filter": {}, "expiration": {"expiredObjectDeleteMarker": True}},
            ],
        },
        change=lambda w: {"rules": [_rule(expiration={"days": 7})]},
    ),
    Case(
        token="aws:kms/key:Key",
        inputs=lambda w: {"description": "d", "deletionWindowInDays": 7, "enableKeyRotation": True, **TAGS},
        change=lambda w: {"description": "e", "enableKeyRotation": False, **RETAGGED},
        replace=lambda w: {"customerMasterKeySpec": "RSA_2048", "keyUsage": "SIGN_VERIFY", "enableKeyRotation": False},
        kept_inputs=frozenset({"deletionWindowInDays"}),
    ),
    Case(
        token="aws:kms/alias:Alias",
        inputs=lambda w: {"name": "alias/cicd/case", "targetKeyId": w.key_arn},
        change=lambda w: {"targetKeyId": w.other_key_arn},
        replace=lambda w: {"name": "alias/cicd/case-2"},
    ),
    Case(
        token="aws:cloudwatch/logGroup:LogGroup",
        inputs=lambda w: {"name": "/aws/eks/case/cluster", "retentionInDays": 30, **TAGS},
        change=lambda w: {"retentionInDays": 7, **RETAGGED},
        replace=lambda w: {"name": "/aws/eks/case-2/cluster"},
    ),
    Case(
        token="aws:cloudwatch/metricAlarm:MetricAlarm",
        inputs=lambda w: _alarm(alarmDescription="d", alarmActions=[], **TAGS),
        change=lambda w: {"threshold": 5.5, "treatMissingData": "notBreaching"},
        replace=lambda w: {"name": "another-alarm"},
    ),
    Case(
        token="aws:ec2/vpc:Vpc",
        inputs=lambda w: {"cidrBlock": "10.20.0.0/16", "enableDnsHostnames": True, **TAGS},
        change=lambda w: {"enableDnsHostnames": False, **RETAGGED},
        replace=lambda w: {"cidrBlock": "10.21.0.0/16"},
    ),
    Case(
        token="aws:ec2/subnet:Subnet",
        inputs=lambda w: {"vpcId": w.vpc, "cidrBlock": "10.9.1.0/24", "availabilityZone": f"{REGION}b", **TAGS},
        change=lambda w: {"mapPublicIpOnLaunch": True, **RETAGGED},
        replace=lambda w: {"cidrBlock": "10.9.2.0/24"},
    ),
    Case(
        token="aws:ec2/internetGateway:InternetGateway",
        inputs=lambda w: {"vpcId": w.other_vpc, **TAGS},
        change=lambda w: RETAGGED,
    ),
    Case(token="aws:ec2/eip:Eip", inputs=lambda w: {"domain": "vpc", **TAGS}, change=lambda w: RETAGGED),
    Case(
        token="aws:ec2/natGateway:NatGateway",
        inputs=lambda w: {"subnetId": w.subnet_a, "allocationId": w.address, **TAGS},
        change=lambda w: RETAGGED,
        replace=lambda w: {"subnetId": w.subnet_b},
    ),
    Case(
        token="aws:ec2/routeTable:RouteTable",
        inputs=lambda w: {"vpcId": w.vpc, **TAGS},
        change=lambda w: RETAGGED,
        replace=lambda w: {"vpcId": w.other_vpc},
    ),
    Case(
        token="aws:ec2/route:Route",
        inputs=lambda w: {"routeTableId": w.table, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": w.gateway},
        change=lambda w: {"gatewayId": None, "natGatewayId": w.nat},
        replace=lambda w: {"destinationCidrBlock": "198.51.100.0/24"},
        import_id=lambda state: f"{state.outputs['routeTableId']}_{state.outputs['destinationCidrBlock']}",
    ),
    Case(
        token="aws:ec2/routeTableAssociation:RouteTableAssociation",
        inputs=lambda w: {"routeTableId": w.table, "subnetId": w.subnet_a},
        replace=lambda w: {"routeTableId": w.other_table},
        import_id=lambda state: f"{state.outputs['subnetId']}/{state.outputs['routeTableId']}",
    ),
    Case(
        token="aws:ec2/vpcEndpoint:VpcEndpoint",
        inputs=lambda w: {
            "vpcId": w.vpc,
            "serviceName": f"com.amazonaws.{REGION}.s3",
            "routeTableIds": [w.table],
            "policy": {**PERMISSIONS, "Statement": [{**PERMISSIONS["Statement"][0], "Principal": "*"}]},  # type: ignore[dict-item]
            **TAGS,
        },
        change=lambda w: {"routeTableIds": [w.table, w.other_table], **RETAGGED},
        replace=lambda w: {"vpcId": w.other_vpc, "routeTableIds": []},
    ),
    Case(
        token="aws:ec2/flowLog:FlowLog",
        inputs=lambda w: {
            "vpcId": w.vpc,
            "iamRoleArn": w.role_arn,
            "logDestination": w.logs_arn,
            "trafficType": "ALL",
            **TAGS,
        },
        change=lambda w: RETAGGED,
        replace=lambda w: {"trafficType": "REJECT"},
        kept_inputs=frozenset({"iamRoleArn"}),  # MiniStack does not tell; AWS would
    ),
    Case(
        token="aws:ec2/securityGroup:SecurityGroup",
        inputs=lambda w: {
            "vpcId": w.vpc,
            "description": "d",
            "ingress": [
                {"protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["10.1.0.0/16", "10.0.0.0/16"]},
                {"protocol": "-1", "fromPort": 0, "toPort": 0, "self": True, "description": "each other"},
            ],
            "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
            **TAGS,
        },
        change=lambda w: {
            "ingress": [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "securityGroups": [w.group]}],
            **RETAGGED,
        },
        replace=lambda w: {"description": "e"},
    ),
    Case(
        token="aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        inputs=lambda w: {"vpcId": w.vpc, "ingress": [], "egress": [], **TAGS},
        change=lambda w: {
            "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
            **RETAGGED,
        },
        leaves=True,
    ),
    Case(
        token="aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        inputs=lambda w: {
            "securityGroupId": w.group,
            "ipProtocol": "tcp",
            "fromPort": 443,
            "toPort": 443,
            "cidrIpv4": "10.0.0.0/8",
            "description": "d",
            **TAGS,
        },
        change=lambda w: {"fromPort": 8443, "toPort": 8443, "cidrIpv4": "10.1.0.0/16", **RETAGGED},
    ),
    Case(
        token="aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        inputs=lambda w: {"securityGroupId": w.group, "ipProtocol": "-1", "referencedSecurityGroupId": w.group},
        change=lambda w: {"ipProtocol": "tcp", "fromPort": 1, "toPort": 2},
    ),
    Case(
        token="aws:ecr/repository:Repository",
        inputs=lambda w: {
            "name": "protected/case",
            "imageTagMutability": "IMMUTABLE",
            "imageScanningConfiguration": {"scanOnPush": True},
            "encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": w.key_arn}],
            "forceDelete": True,
            **TAGS,
        },
        change=lambda w: {
            "imageTagMutability": "MUTABLE",
            "imageScanningConfiguration": {"scanOnPush": False},
            **RETAGGED,
        },
        replace=lambda w: {"name": "protected/case-2"},
        kept_inputs=frozenset({"forceDelete"}),
    ),
    Case(
        token="aws:ecr/repositoryPolicy:RepositoryPolicy",
        inputs=lambda w: {"repository": w.repository, "policy": json.dumps(_ecr_policy("ecr:BatchGetImage"))},
        change=lambda w: {"policy": json.dumps(_ecr_policy("ecr:GetDownloadUrlForLayer"))},
    ),
    Case(
        token="aws:ecr/lifecyclePolicy:LifecyclePolicy",
        inputs=lambda w: {"repository": w.repository, "policy": json.dumps(_expiry(14))},
        change=lambda w: {"policy": json.dumps(_expiry(7))},
    ),
    Case(
        token="aws:eks/cluster:Cluster",
        inputs=_cluster,
        change=lambda w: {
            "version": "1.35",
            "enabledClusterLogTypes": ["api"],
            "vpcConfig": {**_cluster(w)["vpcConfig"], "publicAccessCidrs": ["198.51.100.0/24"]},
            "deletionProtection": False,
            **RETAGGED,
        },
        replace=lambda w: {"roleArn": w.other_role_arn, "deletionProtection": False},
        kept_inputs=frozenset({"bootstrapSelfManagedAddons"}),
    ),
    Case(
        token="aws:eks/accessEntry:AccessEntry",
        inputs=lambda w: {"clusterName": w.cluster, "principalArn": w.role_arn, "kubernetesGroups": ["a"], **TAGS},
        change=lambda w: {"kubernetesGroups": ["b"], **RETAGGED},
        replace=lambda w: {"type": "EC2", "kubernetesGroups": None},
    ),
    Case(
        token="aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
        inputs=lambda w: {
            "clusterName": w.cluster,
            "principalArn": w.other_role_arn,
            "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
            "accessScope": {"type": "namespace", "namespaces": ["jobs-b", "jobs-a"]},
        },
        replace=lambda w: {"accessScope": {"type": "cluster"}},
    ),
]
