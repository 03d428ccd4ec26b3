"""AWS's own managed policies that MiniStack lacks and the platform attaches.

The names exist so that a misspelt one can be refused, as in AWS. The documents of the Auto Mode policies are not
modelled: only EKS itself uses the roles that carry them, and EKS here is the wrapper. They allow nothing that exists.
"""

from __future__ import annotations

import json

from ministack.services import iam

_PULL = (
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchGetImage",
)
_NOT_MODELLED = ("sandbox:NotModelled",)
_ACTIONS: dict[str, tuple[str, ...]] = {
    "AmazonEC2ContainerRegistryPullOnly": (*_PULL, "ecr:BatchImportUpstreamImage"),
    "AmazonEC2ContainerRegistryReadOnly": (
        *_PULL,
        "ecr:GetRepositoryPolicy",
        "ecr:DescribeRepositories",
        "ecr:ListImages",
        "ecr:DescribeImages",
        "ecr:GetLifecyclePolicy",
        "ecr:GetLifecyclePolicyPreview",
        "ecr:ListTagsForResource",
        "ecr:DescribeImageScanFindings",
    ),
    "AmazonEKSWorkerNodeMinimalPolicy": ("eks-auth:AssumeRoleForPodIdentity",),
    "AmazonEKSComputePolicy": _NOT_MODELLED,
    "AmazonEKSBlockStoragePolicy": _NOT_MODELLED,
    "AmazonEKSLoadBalancingPolicy": _NOT_MODELLED,
    "AmazonEKSNetworkingPolicy": _NOT_MODELLED,
    "AmazonEKSVPCResourceController": _NOT_MODELLED,
    "service-role/AmazonEBSCSIDriverPolicy": _NOT_MODELLED,
    # Of the two policies for people who look: what they allow in the services that the platform uses.
    "SecurityAudit": (
        "cloudwatch:Describe*",
        "ec2:Describe*",
        "ecr:DescribeRepositories",
        "ecr:GetRepositoryPolicy",
        "eks:Describe*",
        "eks:List*",
        "iam:Generate*",
        "iam:Get*",
        "iam:List*",
        "kms:Describe*",
        "kms:Get*",
        "kms:List*",
        "logs:Describe*",
        "logs:ListTagsForResource",
        "s3:GetBucket*",
        "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
        "s3:ListAllMyBuckets",
    ),
    "job-function/ViewOnlyAccess": (
        "cloudwatch:Get*",
        "cloudwatch:List*",
        "ec2:Describe*",
        "ecr:Describe*",
        "ecr:List*",
        "eks:List*",
        "iam:GetLoginProfile",
        "iam:List*",
        "kms:ListAliases",
        "kms:ListKeys",
        "logs:Describe*",
        "s3:ListAllMyBuckets",
        "s3:ListBucket",
    ),
}


def install() -> None:
    """Add the policies to MiniStack's own list."""
    for name, actions in _ACTIONS.items():
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        arn = f"{iam._AWS_MANAGED_POLICY_PREFIX}{name}"
        iam._aws_managed_policies.setdefault(arn, iam._make_aws_managed_record(name, document))
