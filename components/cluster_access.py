"""ClusterAccess: the access entries of the cluster, all there are.

Administrators, the deployer, the reader (view only) and the nodes; whoever created the cluster gets nothing by that.
Source: https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, role_arn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.names import Names

ADMIN, VIEW, NODE = "AmazonEKSClusterAdminPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSAutoNodePolicy"


@dataclass(frozen=True, kw_only=True)
class ClusterAccessArgs:
    """Inputs of `ClusterAccess`."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the cluster, and of its deployer and reader."""
    cluster_name: pulumi.Input[str]
    """The cluster."""
    administrators: Sequence[str]
    """ARNs of roles of people who administer it."""
    node_role_arn: pulumi.Input[str]
    """Role of the nodes."""


class ClusterAccess(pulumi.ComponentResource):
    """Who may enter the cluster's API."""

    deployer: pulumi.Resource
    """Policy of the deployer's entry: what the Kubernetes provider waits for."""
    nodes: pulumi.Resource
    """Policy of the nodes' entry: without it none joins."""

    def __init__(self, name: str, args: ClusterAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:ClusterAccess", name, None, opts)
        self._name, self._args = name, args
        partition = args.names.organization.partition
        deployer = role_arn(partition, args.account_id, PLATFORM_ROLE_PATH, DEPLOYER_ROLE)
        reader = role_arn(partition, args.account_id, PLATFORM_ROLE_PATH, READER_ROLE)
        self.deployer = self._let_in("deployer", deployer, ADMIN)
        self._let_in("reader", reader, VIEW)
        self.nodes = self._let_in("nodes", args.node_role_arn, NODE, kind="EC2")
        for arn in sorted(set(args.administrators) - {deployer, reader}):
            # The logical name holds the role, not its place in the list: reordering the setting changes nothing. A role's name is
            # unique in its account only, and may well be `reader`.
            self._let_in(f"administrator-{arn.split(':')[4]}-{arn.rpartition('/')[2]}", arn, ADMIN)
        self.register_outputs({})

    def _let_in(
        self, who: str, principal_arn: pulumi.Input[str], policy: str, kind: str = "STANDARD"
    ) -> pulumi.Resource:
        child = pulumi.ResourceOptions(parent=self)
        entry = aws.eks.AccessEntry(
            f"{self._name}-{who}",
            cluster_name=self._args.cluster_name,
            principal_arn=principal_arn,
            type=kind,
            opts=child,
        )
        return aws.eks.AccessPolicyAssociation(
            f"{self._name}-{who}-policy",
            cluster_name=self._args.cluster_name,
            principal_arn=principal_arn,
            policy_arn=f"arn:{self._args.names.organization.partition}:eks::aws:cluster-access-policy/{policy}",
            access_scope={"type": "cluster"},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[entry]),
        )
