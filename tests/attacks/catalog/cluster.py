"""Mutations of the cluster, its nodes, its namespaces and its network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster
from components.documents import namespaces, network_policies, node_pool
from components.runner_class import RunnerClass
from tests.attacks.catalog.trusts import CICD, SMALL
from tests.attacks.change import GONE, answers, besides, given, put
from tests.attacks.mutation import seen_by

if TYPE_CHECKING:
    from tests.attacks.change import Change

SMALL_CLASS = "small-runner"
ENFORCE = "pod-security.kubernetes.io/enforce"
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


def a_node_group(component: Any, args: Any) -> None:
    """Makes a managed node group, with whatever metadata service it comes with."""
    aws.eks.NodeGroup(
        "nodes",
        cluster_name=args.names.cluster,
        node_role_arn=f"arn:aws:iam::{CICD}:role/cicd/{args.names.node_role()}",
        subnet_ids=["subnet-1"],
        scaling_config={"desired_size": 1, "max_size": 1, "min_size": 1},
        opts=pulumi.ResourceOptions(parent=component),
    )


def an_entry(component: Any, args: Any) -> None:
    """Makes an access entry with which the open class's jobs rule the cluster."""
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
    """Makes a binding with which the open class's manager makes pods beside the protected class's jobs."""
    kubernetes.rbac.v1.RoleBinding(
        "elsewhere",
        metadata={"name": "elsewhere", "namespace": "jobs-deploy"},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": "executor"},
        subjects=[{"kind": "ServiceAccount", "name": "manager", "namespace": "runner-small"}],
        opts=pulumi.ResourceOptions(parent=component),
    )


def a_cluster_admin(component: Any, _args: Any) -> None:
    """Makes the open class's manager the cluster's administrator."""
    kubernetes.rbac.v1.ClusterRoleBinding(
        "admin",
        metadata={"name": "admin"},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        subjects=[{"kind": "ServiceAccount", "name": "manager", "namespace": "runner-small"}],
        opts=pulumi.ResourceOptions(parent=component),
    )


def an_open_group(component: Any, _args: Any) -> None:
    """Makes a security group that lets everybody in."""
    aws.ec2.SecurityGroup(
        "ssh",
        ingress=[{"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": ["0.0.0.0/0"]}],
        opts=pulumi.ResourceOptions(parent=component),
    )


def in_small(make: Any) -> Change:
    """Something that the open class makes besides."""
    return besides(RunnerClass, make, SMALL_CLASS)


def more_rights(*rules: dict[str, list[str]]) -> Change:
    """More rights for the managers."""
    return given(kubernetes.rbac.v1.Role, rules=lambda table: [*table, *rules])


MUTATIONS = [
    seen_by("E05", "A01", "a managed node group", besides(Cluster, a_node_group)),
    seen_by(
        "E08",
        "A01",
        "jobs reach the metadata service",
        answers(
            network_policies.jobs_policy,
            put(
                lambda blocks: [each for each in blocks if each not in network_policies.METADATA],
                *("egress", 1, "to", 0, "ipBlock", "except"),
            ),
        ),
    ),
    seen_by(
        "E08",
        "A01",
        "the switch of network policies is off",
        given(
            kubernetes.core.v1.ConfigMap,
            "cluster-network-policies",
            data={"enable-network-policy-controller": "false"},
        ),
    ),
    seen_by(
        "E08",
        "A01",
        "node classes allow what no policy denies",
        answers(node_pool.node_class_spec, put("DefaultAllow", "networkPolicy")),
    ),
    seen_by(
        "E07",
        "A02",
        "the open class's jobs run in a namespace for privileged pods",
        answers(
            namespaces.namespace_labels,
            put("privileged", ENFORCE),
            lambda of: of["kind"] == "jobs" and of["runner_class"] == "small",
        ),
    ),
    seen_by(
        "E07",
        "A05",
        "managers' namespaces enforce nothing",
        answers(namespaces.namespace_labels, put(GONE, ENFORCE), lambda of: of["kind"] == "manager"),
    ),
    seen_by(
        "E06",
        "A05",
        "nodes have public addresses",
        answers(node_pool.node_class_spec, put(True, "advancedNetworking", "associatePublicIPAddress")),
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
    seen_by("E04 I01 I02 T10", "A21", "an access entry for the open class's jobs", besides(Cluster, an_entry)),
    seen_by(
        "E04",
        "A21",
        "the aws-auth ConfigMap lets people in besides",
        given(
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
        given(aws.eks.Cluster, access_config={"authentication_mode": "API"}),
    ),
    seen_by(
        "E06",
        "A23",
        "nodes of a class take every pod",
        answers(node_pool.node_pool_spec, put([], "template", "spec", "taints"), lambda of: of["name"] == "small"),
    ),
    seen_by(
        "E01",
        "",
        "the cluster's API answers everybody",
        given(aws.eks.Cluster, vpc_config=lambda its: {**its, "public_access_cidrs": ["0.0.0.0/0"]}),
    ),
    seen_by("E02", "", "no audit log", given(aws.eks.Cluster, enabled_cluster_log_types=["api"])),
    seen_by("E03", "", "secrets without a key of our own", given(aws.eks.Cluster, encryption_config=GONE)),
    seen_by("H03", "", "a security group that lets everybody in", besides(Cluster, an_open_group)),
]
