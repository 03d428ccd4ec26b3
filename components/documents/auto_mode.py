"""What Auto Mode needs beyond its managed policies, and the objects that describe a class's nodes.

Sources: https://docs.aws.amazon.com/eks/latest/userguide/auto-learn-iam.html, …/create-node-class.html, …/create-node-pool.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents import pods
from components.documents.trust import Document, document
from config.quantities import duration_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.documents.disruption import Disruption
    from components.documents.nodes import NodePlan

NODE_CLASS_GROUP, NODE_CLASS_KIND = "eks.amazonaws.com", "NodeClass"


def tagging(partition: str) -> Document:
    """Permission to put tags of our own on what a NodeClass makes; without it no node with such tags starts."""
    cluster = "${aws:PrincipalTag/eks:eks-cluster-name}"
    condition = {
        "StringEquals": {"aws:RequestTag/eks:eks-cluster-name": cluster},
        "StringLike": {
            "aws:RequestTag/eks:kubernetes-node-class-name": "*",
            "aws:RequestTag/eks:kubernetes-node-pool-name": "*",
        },
    }
    ec2 = f"arn:{partition}:ec2:*:*:"
    return document(
        {
            "Sid": "Compute",
            "Effect": "Allow",
            "Action": ["ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateLaunchTemplate"],
            "Resource": "*",
            "Condition": condition,
        },
        {
            "Sid": "Storage",
            "Effect": "Allow",
            "Action": ["ec2:CreateVolume", "ec2:CreateSnapshot"],
            "Resource": [f"{ec2}volume/*", f"{ec2}snapshot/*"],
            "Condition": {"StringEquals": condition["StringEquals"]},
        },
        {
            "Sid": "Networking",
            "Effect": "Allow",
            "Action": "ec2:CreateNetworkInterface",
            "Resource": "*",
            "Condition": {
                "StringEquals": condition["StringEquals"],
                "StringLike": {"aws:RequestTag/eks:kubernetes-cni-node-name": "*"},
            },
        },
    )


def node_class(
    *, role: Any, subnet_ids: Any, security_group_id: Any, plan: NodePlan, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Specification of a NodeClass.

    Args:
        role: name of the nodes' role.
        subnet_ids: private subnets, selected by id: tags of shared subnets are not visible to participants.
        security_group_id: the cluster's own security group.
        plan: the nodes' disk.
        tags: tags of instances and volumes.
    """
    return {
        "role": role,
        "subnetSelectorTerms": subnet_ids,
        "securityGroupSelectorTerms": [{"id": security_group_id}],
        "networkPolicy": "DefaultDeny",
        "networkPolicyEventLogs": "Enabled",
        "advancedNetworking": {"associatePublicIPAddress": False},
        "ephemeralStorage": {"size": f"{plan.disk_gib}Gi"},
        "tags": dict(tags),
    }


def node_pool(*, name: str, plan: NodePlan, times: Disruption, arch: str, spot: bool) -> dict[str, Any]:
    """Specification of a NodePool: scales to zero, replaces nothing that still holds a job.

    Args:
        name: the class, or `managers`; label and taint of its nodes.
        plan: instance types and ceiling.
        times: the disruption contract.
        arch: `amd64` or `arm64`.
        spot: whether spot capacity may be used; on-demand is always allowed as a fall-back.
    """
    capacity = ["spot", "on-demand"] if spot else ["on-demand"]
    requirements = {
        "kubernetes.io/arch": [arch],
        "karpenter.sh/capacity-type": capacity,
        "node.kubernetes.io/instance-type": list(plan.types),
    }
    return {
        "limits": {"cpu": str(plan.limit_cpu), "memory": f"{plan.limit_memory_gib}Gi"},
        "disruption": {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": duration_text(times.consolidate_after),
            # Drift and emptiness are dealt with one node at a time; a pod that must not be disrupted blocks them.
            "budgets": [{"nodes": "1"}],
        },
        "template": {
            "metadata": {"labels": {pods.CLASS_LABEL: name}},
            "spec": {
                "nodeClassRef": {"group": NODE_CLASS_GROUP, "kind": NODE_CLASS_KIND, "name": name},
                "taints": [{"key": pods.CLASS_LABEL, "value": name, "effect": "NoSchedule"}],
                "requirements": [
                    {"key": key, "operator": "In", "values": values} for key, values in requirements.items()
                ],
                "expireAfter": duration_text(times.expire_after),
                "terminationGracePeriod": duration_text(times.node_grace),
            },
        },
    }
