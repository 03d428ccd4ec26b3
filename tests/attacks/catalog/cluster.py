"""Mutations of the cluster, nodes, namespaces and network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster
from components.documents import namespaces, network_policies, node_pool
from components.runner_class import RunnerClass
from tests.attacks.catalog.trusts import CICD, SMALL
from tests.attacks.change import GONE, put, with_addition, with_inputs, with_result
from tests.attacks.mutation import seen_by

if TYPE_CHECKING:
    from tests.attacks.change import Change

SMALL_CLASS = "small-runner"
ENFORCE = "pod-security.kubernetes.io/enforce"
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


def a_node_group(component: Any, args: Any) -> None:
    """Make a managed node group with the default metadata service."""
    aws.eks.NodeGroup(
        "nodes",
        cluster_name=args.names.cluster,
        node_role_arn=f"arn:aws:iam::{CICD}:role/cicd/{args.names.node_role()}",
        subnet_ids=["subnet-1"],
        scaling_config={"desired_size": 1, "max_size": 1, "min_size": 1},
        opts=pulumi.ResourceOptions(parent=component),
    )


def an_entry(component: Any, args: Any) -> None:
    """Make an access entry: jobs of the open class administer the cluster."""
    child = pulumi.ResourceOptions(parent=component)
    aws.eks.AccessEntry("entry", cluster_name=args.names.cluster, principal_arn=SMALL, opts=child)
    aws.eks.AccessPolicyAssociation(
        "entry-policy",
        cluster_name=args.names.cluster,
        principal_arn=SMALL,
        policy_arn=ADMIN_POLICY,
        access_scope={"type": "cluster"},
        opts=child,
    )


def bound_elsewhere(component: Any, _args: Any) -> None:
    """Make a role binding: the manager of the open class may make pods in the jobs' namespace of the protected class."""
    kubernetes.rbac.v1.RoleBinding(
        "elsewhere",
        metadata={"name": "elsewhere", "namespace": "jobs-deploy"},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": "executor"},
        subjects=[{"kind": "ServiceAccount", "name": "manager", "namespace": "runner-small"}],
        opts=pulumi.ResourceOptions(parent=component),
    )


def a_cluster_admin(component: Any, _args: Any) -> None:
    """Make the manager of the open class an administrator of the cluster."""
    kubernetes.rbac.v1.ClusterRoleBinding(
        "admin",
        metadata={"name": "admin"},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        subjects=[{"kind": "ServiceAccount", "name": "manager", "namespace": "runner-small"}],
        opts=pulumi.ResourceOptions(parent=component),
    )


def an_open_group(component: Any, _args: Any) -> None:
    """Make a security group that admits any address."""
    aws.ec2.SecurityGroup(
        "ssh",
        ingress=[{"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": ["0.0.0.0/0"]}],
        opts=pulumi.ResourceOptions(parent=component),
    )


def in_small(make: Any) -> Change:
    """Make an additional resource in the open class."""
    return with_addition(RunnerClass, make, SMALL_CLASS)


def more_rights(*rules: dict[str, list[str]]) -> Change:
    """Give the managers more Kubernetes rights."""
    return with_inputs(kubernetes.rbac.v1.Role, rules=lambda table: [*table, *rules])


MUTATIONS = [
    seen_by("E05", "A01", "a managed node group", with_addition(Cluster, a_node_group)),
    seen_by(
        "E08",
        "A01",
        "jobs reach the metadata service",
        with_result(
            network_policies.jobs_policy,
            put(
                lambda blocks: [block for block in blocks if block not in network_policies.METADATA],
                *("egress", 1, "to", 0, "ipBlock", "except"),
            ),
        ),
    ),
    seen_by(
        "E08",
        "A01",
        "the switch of network policies is off",
        with_inputs(
            kubernetes.core.v1.ConfigMap,
            "cluster-network-policies",
            data={"enable-network-policy-controller": "false"},
        ),
    ),
    seen_by(
        "E08",
        "A01",
        "node classes allow what no policy denies",
        with_result(node_pool.node_class_spec, put("DefaultAllow", "networkPolicy")),
    ),
    seen_by(
        "E07",
        "A02",
        "the open class's jobs run in a namespace for privileged pods",
        with_result(
            namespaces.namespace_labels,
            put("privileged", ENFORCE),
            lambda arguments: arguments["kind"] == "jobs" and arguments["runner_class"] == "small",
        ),
    ),
    seen_by(
        "E07",
        "A05",
        "managers' namespaces enforce nothing",
        with_result(namespaces.namespace_labels, put(GONE, ENFORCE), lambda arguments: arguments["kind"] == "manager"),
    ),
    seen_by(
        "E06",
        "A05",
        "nodes have public addresses",
        with_result(node_pool.node_class_spec, put(True, "advancedNetworking", "associatePublicIPAddress")),
    ),
    seen_by(
        "E09",
        "A20",
        "managers mint tokens of every account of their namespace",
        more_rights({"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}),
    ),
    seen_by(
        "E09",
        "A20",
        "managers read everything, by wildcards",
        more_rights({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
    ),
    seen_by("E09 R06 T10", "A20", "the open class's manager is the cluster's administrator", in_small(a_cluster_admin)),
    seen_by(
        "R06 T10",
        "A20",
        "the open class's manager makes pods beside the protected class's jobs",
        in_small(bound_elsewhere),
    ),
    seen_by("E04 I01 I02 T10", "A21", "an access entry for the open class's jobs", with_addition(Cluster, an_entry)),
    seen_by(
        "E04",
        "A21",
        "the aws-auth ConfigMap lets people in besides",
        with_inputs(
            aws.eks.Cluster,
            access_config={
                "authentication_mode": "API_AND_CONFIG_MAP",
                "bootstrap_cluster_creator_admin_permissions": False,
            },
        ),
    ),
    seen_by(
        "E04",
        "A21",
        "whoever creates the cluster administers it",
        with_inputs(aws.eks.Cluster, access_config={"authentication_mode": "API"}),
    ),
    seen_by(
        "E06",
        "A23",
        "nodes of a class take every pod",
        with_result(
            node_pool.node_pool_spec,
            put([], "template", "spec", "taints"),
            lambda arguments: arguments["name"] == "small",
        ),
    ),
    seen_by(
        "E01",
        "",
        "the cluster's API answers everybody",
        with_inputs(
            aws.eks.Cluster, vpc_config=lambda vpc_config: {**vpc_config, "public_access_cidrs": ["0.0.0.0/0"]}
        ),
    ),
    seen_by("E02", "", "no audit log", with_inputs(aws.eks.Cluster, enabled_cluster_log_types=["api"])),
    seen_by("E03", "", "secrets without a key of our own", with_inputs(aws.eks.Cluster, encryption_config=GONE)),
    seen_by("H03", "", "a security group that lets everybody in", with_addition(Cluster, an_open_group)),
]
