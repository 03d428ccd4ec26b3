"""ClusterRoles: what the control plane and the nodes of an Auto Mode cluster may do in AWS.

Source: https://docs.aws.amazon.com/eks/latest/userguide/automode-get-started-cli.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents import trust
from components.documents.auto_mode import tagging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.names import Names

CLUSTER_POLICIES = (
    "AmazonEKSClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingPolicy",
)
NODE_POLICIES = ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")


@dataclass(frozen=True, kw_only=True)
class ClusterRolesArgs:
    """Inputs of `ClusterRoles`."""

    names: Names
    """Names of the stack."""


class ClusterRoles(pulumi.ComponentResource):
    """Roles of control plane and nodes."""

    cluster_role_arn: pulumi.Output[str]
    """Role of the control plane."""
    node_role_arn: pulumi.Output[str]
    """Role of the nodes."""
    node_role_name: pulumi.Output[str]
    """Its name, as a NodeClass wants it."""
    attachments: list[pulumi.Resource]
    """What must stand before the cluster, and outlive it."""

    def __init__(self, name: str, args: ClusterRolesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:ClusterRoles", name, None, opts)
        self._name, self._names = name, args.names
        control_plane = self._role(
            "cluster",
            args.names.cluster_role(),
            trust.service("eks.amazonaws.com", actions=("sts:AssumeRole", "sts:TagSession")),
        )
        node = self._role(
            "node",
            args.names.node_role(),
            trust.service(trust.service_principal("ec2", args.names.organization.partition)),
        )
        self.attachments = [
            *self._attach("cluster", control_plane, CLUSTER_POLICIES),
            *self._attach("node", node, NODE_POLICIES),
            aws.iam.RolePolicy(
                f"{name}-cluster-tagging",
                name="tagging",
                role=control_plane.name,
                policy=pulumi.Output.json_dumps(tagging(args.names.organization.partition)),
                opts=pulumi.ResourceOptions(parent=self),
            ),
        ]
        self.cluster_role_arn, self.node_role_arn, self.node_role_name = control_plane.arn, node.arn, node.name
        self.register_outputs({"cluster_role_arn": self.cluster_role_arn, "node_role_arn": self.node_role_arn})

    def _role(self, role: str, physical_name: str, document: trust.Document) -> aws.iam.Role:
        return aws.iam.Role(
            f"{self._name}-{role}",
            name=physical_name,  # fixed: the access reasoner and the deployer's permissions know it
            path=self._names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(document),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _attach(self, role: str, to: aws.iam.Role, policies: Sequence[str]) -> list[aws.iam.RolePolicyAttachment]:
        partition = self._names.organization.partition
        return [
            aws.iam.RolePolicyAttachment(
                f"{self._name}-{role}-{policy.lower()}",
                role=to.name,
                policy_arn=f"arn:{partition}:iam::aws:policy/{policy}",
                opts=pulumi.ResourceOptions(parent=self),
            )
            for policy in policies
        ]
