"""Cluster: EKS Auto Mode with the platform's own node pools.

`Cluster` owns the control plane with its key and logs, the OIDC provider of its issuer, the Kubernetes provider, and the switch of
network policies. `ClusterRoles` are the roles of control plane and nodes, `ClusterAccess` all access entries. Leaves out nodes
(`node_pool`) and workloads (`runner_class`).
Sources: https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html and
 https://docs.aws.amazon.com/eks/latest/userguide/automode.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.documents import trust
from components.documents.cluster import tagging_permissions
from components.documents.storage import key_policy
from components.providers import cluster_provider
from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, role_arn
from config.networks import overlap
from config.partitions import service_principal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.documents.statements import Document
    from components.network import Network
    from config.names import Names
    from config.sections import Cluster as ClusterSettings

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
LOG_DAYS = 90
CLUSTER_POLICIES = (
    "AmazonEKSClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingPolicy",
)
NODE_POLICIES = ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
ADMIN, VIEW, NODE = "AmazonEKSClusterAdminPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSAutoNodePolicy"


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """Inputs of `Cluster`."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the cluster."""
    settings: ClusterSettings
    """Version, administrators, access to the API, and the services' network."""
    network: Network
    """Subnets of control plane and nodes; its routes outlive the control plane."""
    profile: str
    """AWS profile of the Kubernetes provider."""
    protect: bool
    """Guard cluster and key against deletion."""


class Cluster(pulumi.ComponentResource):
    """The EKS cluster."""

    name: pulumi.Output[str]
    """Physical name."""
    update_kubeconfig: pulumi.Output[str]
    """Command that gives a person's `kubectl` access."""
    issuer: pulumi.Output[str]
    """Issuer of the service accounts' tokens, with `https://`."""
    oidc_provider_arn: pulumi.Output[str]
    """The issuer's OIDC provider in the platform's account."""
    security_group_id: pulumi.Output[str]
    """Security group of control plane and nodes."""
    node_role_name: pulumi.Output[str]
    """Role of the nodes."""
    inside: kubernetes.Provider
    """Provider of all Kubernetes objects; it waits for the deployer's access entry."""
    service_cidr: str
    """Network of the cluster's services."""
    ready: list[pulumi.Resource]
    """Resources that nodes need before they can join."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Cluster", name, None, opts)
        self._name, self._args = name, args
        names = args.names
        roles = ClusterRoles(
            f"{name}-roles",
            ClusterRolesArgs(names=names, account_id=args.account_id),
            pulumi.ResourceOptions(parent=self),
        )
        cluster = self._control_plane(roles)
        self.issuer = cluster.identities[0].oidcs[0].issuer.apply(str)
        provider = aws.iam.OpenIdConnectProvider(
            f"{name}-issuer",
            url=self.issuer,
            client_id_lists=["sts.amazonaws.com"],
            opts=pulumi.ResourceOptions(parent=self),
        )
        access = ClusterAccess(
            f"{name}-access",
            ClusterAccessArgs(
                names=names,
                account_id=args.account_id,
                cluster_name=cluster.name,
                administrators=args.settings.administrators,
                node_role_arn=roles.node_role_arn,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.inside = cluster_provider(
            f"{name}-kubernetes",
            cluster=cluster,
            profile=args.profile,
            region=names.organization.region,
            opts=pulumi.ResourceOptions(parent=self),
            wait_for=[access.deployer],
        )
        switch = self._network_policies()
        self.name, self.oidc_provider_arn, self.service_cidr = cluster.name, provider.arn, args.settings.service_cidr
        self.update_kubeconfig = cluster.name.apply(
            lambda cluster_name: (
                f"aws eks update-kubeconfig --name {cluster_name} --region {names.organization.region} --profile {args.profile}"
            )
        )
        self.security_group_id = cluster.vpc_config.cluster_security_group_id.apply(str)
        self.node_role_name, self.ready = roles.node_role_name, [access.nodes, switch]
        self.register_outputs({"name": self.name, "issuer": self.issuer, "oidc_provider_arn": self.oidc_provider_arn})

    def _control_plane(self, roles: ClusterRoles) -> aws.eks.Cluster:
        name, args, names = self._name, self._args, self._args.names
        key, alias = self._key()
        # Made before the cluster: EKS would make the group without retention.
        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=f"/aws/eks/{names.cluster}/cluster",  # fixed: EKS writes to this name
            retention_in_days=LOG_DAYS,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return aws.eks.Cluster(
            f"{name}-cluster",
            name=names.cluster,  # fixed: people and log groups name it
            role_arn=roles.cluster_role_arn,
            version=args.settings.version,
            vpc_config=self._vpc_config(),
            access_config={"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False},
            bootstrap_self_managed_addons=False,
            # Auto Mode needs compute, storage and load balancing together. Without built-in pools there is no node role here.
            compute_config={"enabled": True, "node_pools": []},
            storage_config={"block_storage": {"enabled": True}},
            kubernetes_network_config={
                "elastic_load_balancing": {"enabled": True},
                "service_ipv4_cidr": args.network.vpc_cidrs.apply(
                    partial(verified_services, service_cidr=args.settings.service_cidr)
                ),
            },
            encryption_config={"provider": {"key_arn": key.arn}, "resources": ["secrets"]},
            enabled_cluster_log_types=list(LOG_TYPES),
            upgrade_policy={"support_type": "STANDARD"},
            deletion_protection=args.protect,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=args.protect,
                depends_on=[alias, logs, *roles.attachments, *args.network.routes],
                custom_timeouts=pulumi.CustomTimeouts(create="30m", update="60m", delete="30m"),
            ),
        )

    def _key(self) -> tuple[aws.kms.Key, aws.kms.Alias]:
        name, args, names = self._name, self._args, self._args.names
        guarded = pulumi.ResourceOptions(parent=self, protect=args.protect)
        key = aws.kms.Key(
            f"{name}-key",
            description=f"Kubernetes secrets of {names.cluster}",
            enable_key_rotation=True,
            deletion_window_in_days=30 if args.protect else 7,
            policy=pulumi.Output.json_dumps(key_policy(names.organization, args.account_id)),
            opts=guarded,
        )
        alias = aws.kms.Alias(
            f"{name}-alias",
            name=names.key_alias("cluster"),
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return key, alias

    def _vpc_config(self) -> aws.eks.ClusterVpcConfigArgsDict:
        access = self._args.settings.access
        config: aws.eks.ClusterVpcConfigArgsDict = {
            "subnet_ids": self._args.network.private_subnet_ids,
            "endpoint_private_access": True,
            "endpoint_public_access": access.private is None,
        }
        if access.public_cidrs:
            config["public_access_cidrs"] = list(access.public_cidrs)
        return config

    def _network_policies(self) -> kubernetes.core.v1.ConfigMap:
        # Network policies are off without this object: https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html
        return kubernetes.core.v1.ConfigMap(
            f"{self._name}-network-policies",
            metadata={"name": "amazon-vpc-cni", "namespace": "kube-system"},
            data={"enable-network-policy-controller": "true"},
            opts=pulumi.ResourceOptions(parent=self, provider=self.inside),
        )


@dataclass(frozen=True, kw_only=True)
class ClusterRolesArgs:
    """Inputs of `ClusterRoles`."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the roles."""


class ClusterRoles(pulumi.ComponentResource):
    """Roles of control plane and nodes."""

    cluster_role_arn: pulumi.Output[str]
    """Role of the control plane."""
    node_role_arn: pulumi.Output[str]
    """Role of the nodes."""
    node_role_name: pulumi.Output[str]
    """Name of the nodes' role, for a NodeClass."""
    attachments: list[pulumi.Resource]
    """Policies of both roles: made before the cluster, deleted after it."""

    def __init__(self, name: str, args: ClusterRolesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:ClusterRoles", name, None, opts)
        self._name, self._names, self._account_id = name, args.names, args.account_id
        control_plane = self._role(
            "cluster",
            args.names.cluster_role(),
            trust.service("eks.amazonaws.com", actions=("sts:AssumeRole", "sts:TagSession")),
        )
        node = self._role(
            "node",
            args.names.node_role(),
            trust.service(service_principal("ec2", args.names.organization.partition)),
        )
        self.attachments = [
            *self._attach("cluster", control_plane, CLUSTER_POLICIES),
            *self._attach("node", node, NODE_POLICIES),
            aws.iam.RolePolicy(
                f"{name}-cluster-tagging",
                name="tagging",
                role=control_plane.name,
                policy=pulumi.Output.json_dumps(tagging_permissions(args.names.organization.partition)),
                opts=pulumi.ResourceOptions(parent=self),
            ),
        ]
        self.cluster_role_arn, self.node_role_arn, self.node_role_name = control_plane.arn, node.arn, node.name
        self.register_outputs({"cluster_role_arn": self.cluster_role_arn, "node_role_arn": self.node_role_arn})

    def _role(self, kind: str, physical_name: str, trust_document: Document) -> aws.iam.Role:
        return aws.iam.Role(
            f"{self._name}-{kind}",
            name=physical_name,  # fixed: `access` and the deployer's permissions name it
            path=self._names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(trust_document),
            permissions_boundary=self._names.organization_boundary(self._account_id),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _attach(self, kind: str, role: aws.iam.Role, policies: Sequence[str]) -> list[aws.iam.RolePolicyAttachment]:
        partition = self._names.organization.partition
        return [
            aws.iam.RolePolicyAttachment(
                f"{self._name}-{kind}-{policy.lower()}",
                role=role.name,
                policy_arn=f"arn:{partition}:iam::aws:policy/{policy}",
                opts=pulumi.ResourceOptions(parent=self),
            )
            for policy in policies
        ]


@dataclass(frozen=True, kw_only=True)
class ClusterAccessArgs:
    """Inputs of `ClusterAccess`."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the cluster, and of its deployer and reader."""
    cluster_name: pulumi.Input[str]
    """Physical name of the cluster."""
    administrators: Sequence[str]
    """ARNs of the roles of people who administer the cluster."""
    node_role_arn: pulumi.Input[str]
    """Role of the nodes."""


class ClusterAccess(pulumi.ComponentResource):
    """All access entries: administrators, deployer, reader (view only) and nodes. The cluster's creator gets none."""

    deployer: pulumi.Resource
    """Policy of the deployer's entry; the Kubernetes provider waits for it."""
    nodes: pulumi.Resource
    """Policy of the nodes' entry; no node joins without it."""

    def __init__(self, name: str, args: ClusterAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:ClusterAccess", name, None, opts)
        self._name, self._args = name, args
        partition = args.names.organization.partition
        deployer = role_arn(partition, args.account_id, PLATFORM_ROLE_PATH, DEPLOYER_ROLE)
        reader = role_arn(partition, args.account_id, PLATFORM_ROLE_PATH, READER_ROLE)
        self.deployer = self._add_entry("deployer", deployer, ADMIN)
        self._add_entry("reader", reader, VIEW)
        self.nodes = self._add_entry("nodes", args.node_role_arn, NODE, entry_type="EC2")
        for arn in sorted(set(args.administrators) - {deployer, reader}):
            # The logical name holds account and role, not the position in the list: reordering the setting changes nothing, and a role
            # `reader` of people does not clash.
            self._add_entry(f"administrator-{arn.split(':')[4]}-{arn.rpartition('/')[2]}", arn, ADMIN)
        self.register_outputs({})

    def _add_entry(
        self, kind: str, principal_arn: pulumi.Input[str], policy: str, entry_type: str = "STANDARD"
    ) -> pulumi.Resource:
        child = pulumi.ResourceOptions(parent=self)
        entry = aws.eks.AccessEntry(
            f"{self._name}-{kind}",
            cluster_name=self._args.cluster_name,
            principal_arn=principal_arn,
            type=entry_type,
            opts=child,
        )
        return aws.eks.AccessPolicyAssociation(
            f"{self._name}-{kind}-policy",
            cluster_name=self._args.cluster_name,
            principal_arn=principal_arn,
            policy_arn=f"arn:{self._args.names.organization.partition}:eks::aws:cluster-access-policy/{policy}",
            access_scope={"type": "cluster"},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[entry]),
        )


def verified_services(vpc_cidrs: Sequence[str], service_cidr: str) -> str:
    """Return the services' network, after checking that it is apart from the VPC, which may be an existing one.

    Raises:
        RunError: a network of the VPC overlaps it, which EKS refuses.
    """
    overlapping = overlap(service_cidr, vpc_cidrs)
    if overlapping is not None:
        raise pulumi.RunError(
            f"cluster.service_cidr: {service_cidr} overlaps {overlapping} of the VPC; choose a private network that is apart"
        )
    return service_cidr
