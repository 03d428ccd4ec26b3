"""Rules of the cluster, its nodes, namespaces and networks."""

from __future__ import annotations

from typing import Any

import pytest

from access.resource import UNKNOWN
from policies.rule import evaluate_resource
from policies.type_tokens import NETWORK_POLICY
from tests.support.policy_cases import (
    ABSENT,
    BY_ID,
    around,
    changed,
    configured,
    new,
    one,
    says,
    undecides,
    violates,
    whole,
    without,
)
from tests.support.program import raw

CLUSTER, JOBS, MANAGER = "cluster-cluster", "small-runner-jobs-network", "small-runner-manager-network"
ENTRY = "cluster-access-administrator-222222222222-break-glass"


@pytest.mark.parametrize(
    ("rule", "name", "path", "value", "said"),
    [
        ("E01", CLUSTER, "vpcConfig.endpointPrivateAccess", False, "endpointPrivateAccess is off"),
        ("E01", CLUSTER, "vpcConfig.endpointPrivateAccess", ABSENT, "endpointPrivateAccess is off"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", ["0.0.0.0/0"], "is 0.0.0.0/0, wider than /16"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", ["203.0.113.0/24", "10.0.0.0/8"], "publicAccessCidrs[1] is 10.0.0.0/8"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", ABSENT, "which means everywhere"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", ["everywhere"], "is no network"),
        ("E02", CLUSTER, "enabledClusterLogTypes", ["api"], "leaves out audit, authenticator, controllerManager, scheduler"),
        ("E02", CLUSTER, "enabledClusterLogTypes", ABSENT, "leaves out api"),
        ("E03", CLUSTER, "encryptionConfig", ABSENT, "names no key for secrets"),
        ("E03", CLUSTER, "encryptionConfig.resources", [], "names no key for secrets"),
        ("E04", CLUSTER, "accessConfig.authenticationMode", "API_AND_CONFIG_MAP", "is not API"),
        ("E04", CLUSTER, "accessConfig.authenticationMode", ABSENT, "is not API"),
        ("E04", CLUSTER, "accessConfig.bootstrapClusterCreatorAdminPermissions", "true", "whoever creates the cluster"),
        ("E04", CLUSTER, "accessConfig.bootstrapClusterCreatorAdminPermissions", ABSENT, "whoever creates the cluster"),
        ("E04", ENTRY, "principalArn", "arn:aws:iam::222222222222:role/cicd/runner-small", "is not listed"),
        ("E04", ENTRY, "kubernetesGroups", ["system:masters"], "binds the principal to groups"),
        ("E04", f"{ENTRY}-policy", "principalArn", "arn:aws:iam::222222222222:role/other", "is no listed administrator"),
        ("E04", "cluster-access-reader-policy", "policyArn", "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy", "gets AmazonEKSClusterAdminPolicy"),
        ("E06", "small-nodes-class", "spec.advancedNetworking.associatePublicIPAddress", True, "public addresses"),
        ("E06", "small-nodes-class", "spec.advancedNetworking", ABSENT, "public addresses"),
        ("E06", "small-nodes-pool", "spec.template.spec.taints", [], "not tainted"),
        ("E06", "small-nodes-pool", "spec.template.spec.taints.0.effect", "PreferNoSchedule", "not tainted"),
        ("E06", "small-nodes-pool", "spec.template.metadata.labels", {}, "label runner-platform/class is not small"),
        ("E07", "small-runner-jobs", "metadata.labels", {"pod-security.kubernetes.io/enforce": "privileged"}, "is privileged"),
        ("E07", "small-runner-jobs", "metadata.labels", {}, "nothing is enforced"),
        ("E07", "small-runner-manager", "metadata.labels", {"pod-security.kubernetes.io/enforce": "baseline"}, "this namespace is for restricted"),
        ("E08", "cluster-network-policies", "data", {"enable-network-policy-controller": "false"}, "switched off"),
        ("E08", "cluster-network-policies", "data", ABSENT, "switched off"),
        ("E08", "cluster-network-policies", "metadata.name", "other", "there is no ConfigMap"),
        ("E08", "small-nodes-class", "spec.networkPolicy", "DefaultAllow", "is not DefaultDeny"),
        ("E08", "small-nodes-class", "spec.networkPolicy", ABSENT, "is not DefaultDeny"),
        ("E08", JOBS, "spec.policyTypes", ["Ingress"], "no network policy selects all its pods"),
        ("E08", JOBS, "spec.podSelector", {"matchLabels": {"a": "b"}}, "no network policy selects all its pods"),
        ("E08", JOBS, "spec.ingress", [{}], "lets something into job pods"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}], "leaves 169.254.169.254/32 open"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "169.254.0.0/16"}}]}], "leaves 169.254.169.254/32 open"),
        ("E08", JOBS, "spec.egress", [{"ports": [{"port": 443}]}], "has no `to`"),
        ("E08", JOBS, "spec.egress", [{"to": [{"namespaceSelector": {}}]}], "selects pods"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "172.20.0.10/32"}}]}], "opens more than 53"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "10.40.0.0/24"}}]}], "leaves 10.40.0.0/16 open"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "nonsense"}}]}], "which is no network"),
        ("E08", MANAGER, "spec.ingress", [{}], "lets everything in"),
        ("E08", MANAGER, "spec.egress", [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]}], "leaves 169.254.170.23/32 open"),
        ("E09", "small-runner-executor", "rules", [{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}], "grants * on *"),
        ("E09", "small-runner-executor", "rules", [{"resources": ["pods"]}], "grants * on pods"),
        ("E09", "small-runner-executor", "rules", [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}], "serviceaccounts/token"),
        ("E09", "small-runner-executor-binding", "roleRef", {"kind": "ClusterRole", "name": "cluster-admin"}, "a role of the cluster"),
        ("E09", "small-runner-executor-binding", "subjects", [{"kind": "Group", "name": "system:serviceaccounts"}], "is no service account"),
        ("E09", "small-runner-executor-binding", "subjects.0.name", "default", "every pod that names none"),
        ("H03", "network-default-security-group", "ingress", [{"protocol": "-1"}], "default security group is not empty"),
    ],
)  # fmt: skip
def test_what_opens_the_cluster_is_found(rule: str, name: str, path: str, value: Any, said: str) -> None:
    violates(rule, changed(one("prod", name), path, value), said)


@pytest.mark.parametrize(
    ("rule", "name", "path"),
    [
        ("E01", CLUSTER, "vpcConfig.endpointPrivateAccess"),
        ("E01", CLUSTER, "vpcConfig.endpointPublicAccess"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs"),
        ("E02", CLUSTER, "enabledClusterLogTypes"),
        ("E03", CLUSTER, "encryptionConfig"),
        ("E04", CLUSTER, "accessConfig.authenticationMode"),
        ("E04", ENTRY, "principalArn"),
        ("E04", f"{ENTRY}-policy", "policyArn"),
        ("E06", "small-nodes-class", "spec.advancedNetworking.associatePublicIPAddress"),
        ("E06", "small-nodes-pool", "spec.template.spec.taints"),
        ("E07", "small-runner-jobs", "metadata.labels.pod-security.kubernetes.io/enforce"),
        ("E08", JOBS, "spec.egress"),
        ("E08", "small-nodes-class", "spec.networkPolicy"),
        ("E09", "small-runner-executor", "rules"),
        ("E09", "small-runner-executor-binding", "subjects"),
        ("H03", "network-default-security-group", "ingress"),
    ],
)
def test_what_is_not_known_of_the_cluster_is_undecided(rule: str, name: str, path: str) -> None:
    resource = one("prod", name)
    if path.startswith("metadata.labels."):
        resource = changed(resource, "metadata.labels", {path.removeprefix("metadata.labels."): UNKNOWN})
    else:
        resource = changed(resource, path, UNKNOWN)
    undecides(rule, resource, path)


def test_how_wide_a_public_network_may_be_is_configuration() -> None:
    cluster = one("prod", CLUSTER)
    violates("E01", cluster, "wider than /28", widest_prefix=28)
    assert says("E01", changed(cluster, "vpcConfig.publicAccessCidrs", ["10.0.0.0/8"]), widest_prefix=8) == []


def test_a_private_endpoint_needs_no_networks() -> None:
    cluster = changed(one("prod", CLUSTER), "vpcConfig", {"endpointPrivateAccess": True, "endpointPublicAccess": False})
    assert says("E01", cluster) == []


def test_what_makes_an_entry_for_somebody_new_is_found() -> None:
    entry = one("prod", ENTRY)
    violates(
        "E04",
        new(entry, "more", clusterName="c", principalArn="arn:aws:iam::222222222222:role/cicd/runner-small"),
        "is not listed",
    )
    nodes = one("prod", "cluster-access-nodes")
    assert says("E04", changed(nodes, "principalArn", UNKNOWN)) == [], (
        "nodes join with a role of type EC2, whose only policy is for nodes"
    )


def test_node_groups_and_wide_rights_are_found() -> None:
    cluster, binding = one("prod", CLUSTER), one("prod", "small-runner-executor-binding")
    violates("E05", new(cluster, "ng", "aws:eks/nodeGroup:NodeGroup"), "a managed node group")
    violates(
        "E09", new(binding, "cr", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", rules=[]), "a ClusterRole"
    )
    wide = new(
        binding,
        "crb",
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding",
        roleRef={"kind": "ClusterRole"},
        subjects=[],
    )
    violates("E09", wide, "a ClusterRoleBinding")


def test_a_namespace_without_a_policy_is_found() -> None:
    found = [each.text for each in whole("E08", without(JOBS))]
    assert found == ["no network policy selects all its pods in both directions"]
    assert any("there is no ConfigMap" in each.text for each in whole("E08", without("cluster-network-policies")))


def test_a_policy_that_opens_more_beside_ours_is_found() -> None:
    ours = one("prod", JOBS)
    more = new(
        ours,
        "more",
        NETWORK_POLICY,
        metadata={"namespace": "jobs-small"},
        spec={"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
    )
    violates("E08", more, "has no `to`")


def test_the_agents_namespace_may_be_privileged_only_while_there_are_alarms() -> None:
    namespace = one("prod", "small-runner-jobs")
    agent = changed(
        namespace,
        "metadata",
        {"name": "amazon-cloudwatch", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
    )
    violates("E07", agent, "is privileged")
    topic = "arn:aws:sns:eu-central-1:222222222222:alarms"
    rule, alarmed = BY_ID["E07"], around("prod", raw("prod", alarms={"topic": topic}))
    assert evaluate_resource(rule, agent, alarmed, configured(rule, {})) == []
    assert evaluate_resource(rule, agent, alarmed, configured(rule, {"privileged": []})), (
        "which namespaces is configuration"
    )
    other = changed(agent, "metadata.name", "kube-public")
    assert evaluate_resource(rule, other, alarmed, configured(rule, {})), "no other namespace"


@pytest.mark.parametrize(
    ("token", "inputs", "said"),
    [
        ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"cidrBlocks": ["0.0.0.0/0"]}]}, "lets everybody in"),
        ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"ipv6CidrBlocks": ["::/0"]}]}, "lets everybody in"),
        ("aws:ec2/securityGroupRule:SecurityGroupRule", {"type": "ingress", "cidrBlocks": ["0.0.0.0/0"]}, "lets everybody in"),
        ("aws:ec2/securityGroupRule:SecurityGroupRule", {"type": "egress", "cidrBlocks": ["0.0.0.0/0"]}, ""),
        ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {"cidrIpv4": "0.0.0.0/0"}, "lets everybody in"),
        ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"cidrBlocks": ["10.0.0.0/8"]}]}, ""),
    ],
)  # fmt: skip
def test_a_security_group_that_lets_everybody_in_is_found(token: str, inputs: Any, said: str) -> None:
    group = new(one("prod", "network-default-security-group"), "sg", token, **inputs)
    if said:
        violates("H03", group, said)
    else:
        assert says("H03", group) == []
