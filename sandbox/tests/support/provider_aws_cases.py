"""One case for each resource type of the aws stand-in that is no network: what to create, what to change, what
forces a new one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sandbox.tests.support.provider_aws_account import OTHER_PERMISSIONS, PERMISSIONS, TRUST
from sandbox.tests.support.provider_aws_case import RETAGGED, TAGS, Case, Inputs
from tests.support.aws_cases import CICD

if TYPE_CHECKING:
    from sandbox.tests.support.provider_aws_account import Account


def _rule(**values: Any) -> Inputs:
    return {"id": "expire", "status": "Enabled", "filter": {"prefix": "jobs/"}, **values}


def _statement(account: Account, action: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{CICD}:root"},
                    "Action": action,
                    "Resource": [f"arn:aws:s3:::{account.bucket}/*"],
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


def _cluster(account: Account, **values: Any) -> Inputs:
    return {
        "name": "case",
        "roleArn": account.role_arn,
        "version": "1.34",
        "bootstrapSelfManagedAddons": False,
        "vpcConfig": {
            "subnetIds": [account.subnet_b, account.subnet_a],
            "endpointPrivateAccess": True,
            "endpointPublicAccess": True,
            "publicAccessCidrs": ["192.0.2.0/24"],
        },
        "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
        "computeConfig": {"enabled": True, "nodePools": []},
        "kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/16", "elasticLoadBalancing": {"enabled": True}},
        "storageConfig": {"blockStorage": {"enabled": True}},
        "enabledClusterLogTypes": ["scheduler", "api", "audit", "authenticator", "controllerManager"],
        "encryptionConfig": {"provider": {"keyArn": account.key_arn}, "resources": ["secrets"]},
        "upgradePolicy": {"supportType": "STANDARD"},
        "deletionProtection": True,
        "tags": {"a": "1"},
        **values,
    }


CASES = [
    Case(
        token="aws:iam/role:Role",
        inputs={"assumeRolePolicy": json.dumps(TRUST, indent=2), "path": "/cicd/", **TAGS},
        change=lambda w: {
            "maxSessionDuration": 7200,
            "permissionsBoundary": w.policy_arn,
            "description": "d",
            **RETAGGED,
        },
        replace={"path": "/other/"},
    ),
    Case(
        token="aws:iam/rolePolicy:RolePolicy",
        inputs=lambda w: {"role": w.role, "policy": PERMISSIONS},
        change={"policy": json.dumps(OTHER_PERMISSIONS)},
        replace={"name": "another"},
    ),
    Case(
        token="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        inputs=lambda w: {"role": w.role, "policyArn": "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"},
        replace=lambda w: {"policyArn": w.policy_arn},
    ),
    Case(
        token="aws:iam/policy:Policy",
        inputs={"policy": json.dumps(PERMISSIONS), "path": "/cicd/", "name": "case-policy", **TAGS},
        change={"policy": json.dumps(OTHER_PERMISSIONS), **RETAGGED},
        replace={"description": "only a new one can have it"},
    ),
    Case(
        token="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        inputs={"url": "https://case.example", "clientIdLists": ["b", "a"], **TAGS},
        change={"clientIdLists": ["a", "c"], "thumbprintLists": ["0" * 40], **RETAGGED},
        replace={"url": "https://other.example"},
    ),
    Case(
        token="aws:s3/bucket:Bucket",
        inputs={"bucket": "case-bucket", "forceDestroy": True, **TAGS},
        change={"forceDestroy": False, **RETAGGED},
        replace={"bucket": "case-bucket-2"},
        kept_inputs=frozenset({"forceDestroy"}),
    ),
    Case(
        token="aws:s3/bucketVersioning:BucketVersioning",
        inputs=lambda w: {"bucket": w.bucket, "versioningConfiguration": {"status": "Enabled"}},
        change={"versioningConfiguration": {"status": "Suspended"}},
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
        change={"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        leaves=True,
    ),
    Case(
        token="aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        inputs=lambda w: {"bucket": w.bucket, "blockPublicAcls": True, "blockPublicPolicy": True},
        change={"ignorePublicAcls": True, "restrictPublicBuckets": True},
    ),
    Case(
        token="aws:s3/bucketPolicy:BucketPolicy",
        inputs=lambda w: {"bucket": w.bucket, "policy": _statement(w, "s3:GetObject")},
        change=lambda w: {"policy": _statement(w, "s3:PutObject")},
    ),
    Case(
        token="aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        inputs=lambda w: {"bucket": w.bucket, "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        change={"rule": {"objectOwnership": "BucketOwnerPreferred"}},
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
        change={"rules": [_rule(expiration={"days": 7})]},
    ),
    Case(
        token="aws:kms/key:Key",
        inputs={"description": "d", "deletionWindowInDays": 7, "enableKeyRotation": True, **TAGS},
        change={"description": "e", "enableKeyRotation": False, **RETAGGED},
        replace={"customerMasterKeySpec": "RSA_2048", "keyUsage": "SIGN_VERIFY", "enableKeyRotation": False},
        kept_inputs=frozenset({"deletionWindowInDays"}),
    ),
    Case(
        token="aws:kms/alias:Alias",
        inputs=lambda w: {"name": "alias/cicd/case", "targetKeyId": w.key_arn},
        change=lambda w: {"targetKeyId": w.other_key_arn},
        replace={"name": "alias/cicd/case-2"},
    ),
    Case(
        token="aws:cloudwatch/logGroup:LogGroup",
        inputs={"name": "/aws/eks/case/cluster", "retentionInDays": 30, **TAGS},
        change={"retentionInDays": 7, **RETAGGED},
        replace={"name": "/aws/eks/case-2/cluster"},
    ),
    Case(
        token="aws:cloudwatch/metricAlarm:MetricAlarm",
        inputs=_alarm(alarmDescription="d", alarmActions=[], **TAGS),
        change={"threshold": 5.5, "treatMissingData": "notBreaching"},
        replace={"name": "another-alarm"},
    ),
    Case(
        token="aws:cloudwatch/logMetricFilter:LogMetricFilter",
        inputs=lambda w: {
            "logGroupName": w.logs,
            "pattern": '{ $.log = "*failed*" }',
            "metricTransformation": {"name": "failed", "namespace": "case", "value": "1", "defaultValue": "0"},
        },
        change={"pattern": "failed", "metricTransformation": {"name": "failed", "namespace": "case", "value": "2"}},
        replace={"name": "another-filter"},
        import_id=lambda state: f"{state.outputs['logGroupName']}:{state.id}",
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
        change={
            "imageTagMutability": "MUTABLE",
            "imageScanningConfiguration": {"scanOnPush": False},
            **RETAGGED,
        },
        replace={"name": "protected/case-2"},
        kept_inputs=frozenset({"forceDelete"}),
    ),
    Case(
        token="aws:ecr/repositoryPolicy:RepositoryPolicy",
        inputs=lambda w: {"repository": w.repository, "policy": json.dumps(_ecr_policy("ecr:BatchGetImage"))},
        change={"policy": json.dumps(_ecr_policy("ecr:GetDownloadUrlForLayer"))},
    ),
    Case(
        token="aws:ecr/lifecyclePolicy:LifecyclePolicy",
        inputs=lambda w: {"repository": w.repository, "policy": json.dumps(_expiry(14))},
        change={"policy": json.dumps(_expiry(7))},
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
        change={"kubernetesGroups": ["b"], **RETAGGED},
        replace={"type": "EC2", "kubernetesGroups": None},
    ),
    Case(
        token="aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
        inputs=lambda w: {
            "clusterName": w.cluster,
            "principalArn": w.other_role_arn,
            "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
            "accessScope": {"type": "namespace", "namespaces": ["jobs-b", "jobs-a"]},
        },
        replace={"accessScope": {"type": "cluster"}},
    ),
    Case(
        token="aws:eks/addon:Addon",
        inputs=lambda w: {
            "clusterName": w.cluster,
            "addonName": "amazon-cloudwatch-observability",
            "addonVersion": "v6.3.0-eksbuild.1",
            "serviceAccountRoleArn": w.role_arn,
            "configurationValues": json.dumps({"agent": {"nodeSelector": {"a": "b"}}}),
            "resolveConflictsOnCreate": "OVERWRITE",
            **TAGS,
        },
        change={"addonVersion": "v6.4.0-eksbuild.1", "configurationValues": json.dumps({"agent": {}}), **RETAGGED},
        replace={"addonName": "metrics-server", "serviceAccountRoleArn": None, "configurationValues": None},
        kept_inputs=frozenset({"resolveConflictsOnCreate"}),
    ),
]
