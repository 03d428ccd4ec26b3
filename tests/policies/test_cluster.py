"""Rules about the cluster, nodes, namespaces and networks."""

from __future__ import annotations

from typing import Any

import pytest

from access.resource import UNKNOWN
from policies.rule import evaluate_resource
from policies.type_tokens import NETWORK_POLICY
from tests.support.policy_cases import (
    ABSENT,
    BY_ID,
    assert_undecided,
    assert_violation,
    findings_on_stack,
    new_resource,
    options_with,
    report,
    resource_named,
    run_with,
    stack_without,
    with_input,
)
from tests.support.program import raw

CLUSTER, JOBS, MANAGER = "cluster-cluster", "small-runner-jobs-network", "small-runner-manager-network"
ENFORCE = "pod-security.kubernetes.io/enforce"
ENTRY = "cluster-access-administrator-222222222222-break-glass"


@pytest.mark.parametrize(
    ("rule", "name", "path", "value", "message"),
    [
        ("E01", CLUSTER, "vpcConfig.endpointPrivateAccess", False, "endpointPrivateAccess is off"),
        ("E01", CLUSTER, "vpcConfig.endpointPrivateAccess", ABSENT, "endpointPrivateAccess is off"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", ["0.0.0.0/0"], "is 0.0.0.0/0, wider than /16"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", ["203.0.113.0/24", "10.0.0.0/8"], "publicAccessCidrs[1] is 10.0.0.0/8"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", ABSENT, "which means every address"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", ["everywhere"], "is 'everywhere', not a network"),
        ("E02", CLUSTER, "enabledClusterLogTypes", ["api"], "does not list audit, authenticator, controllerManager, scheduler"),
        ("E02", CLUSTER, "enabledClusterLogTypes", ABSENT, "does not list api"),
        ("E03", CLUSTER, "encryptionConfig", ABSENT, "names no key for secrets"),
        ("E03", CLUSTER, "encryptionConfig.resources", [], "names no key for secrets"),
        ("E04", CLUSTER, "accessConfig.authenticationMode", "API_AND_CONFIG_MAP", "is API_AND_CONFIG_MAP, not API"),
        ("E04", CLUSTER, "accessConfig.authenticationMode", ABSENT, "is CONFIG_MAP, not API"),
        ("E04", CLUSTER, "accessConfig.bootstrapClusterCreatorAdminPermissions", "true", "the principal that creates the cluster administers it"),
        ("E04", CLUSTER, "accessConfig.bootstrapClusterCreatorAdminPermissions", ABSENT, "the principal that creates the cluster administers it"),
        ("E04", ENTRY, "principalArn", "arn:aws:iam::222222222222:role/cicd/runner-small", "is not in the settings"),
        ("E04", ENTRY, "kubernetesGroups", ["system:masters"], "puts the principal into system:masters"),
        ("E04", f"{ENTRY}-policy", "principalArn", "arn:aws:iam::222222222222:role/other", "is not a listed administrator"),
        ("E04", "cluster-access-reader-policy", "policyArn", "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy", "gets AmazonEKSClusterAdminPolicy"),
        ("E06", "small-nodes-class", "spec.advancedNetworking.associatePublicIPAddress", True, "public addresses"),
        ("E06", "small-nodes-class", "spec.advancedNetworking", ABSENT, "public addresses"),
        ("E06", "small-nodes-pool", "spec.template.spec.taints", [], "have no taint"),
        ("E06", "small-nodes-pool", "spec.template.spec.taints.0.effect", "PreferNoSchedule", "have no taint"),
        ("E06", "small-nodes-pool", "spec.template.metadata.labels", {}, "the label runner-platform/class of its nodes is '', not small"),
        ("E07", "small-runner-jobs", "metadata.labels", {"pod-security.kubernetes.io/enforce": "privileged"}, "is privileged"),
        ("E07", "small-runner-jobs", "metadata.labels", {}, "is missing, so privileged pods are allowed"),
        ("E07", "small-runner-manager", "metadata.labels", {"pod-security.kubernetes.io/enforce": "baseline"}, "this namespace needs restricted"),
        ("E08", "cluster-network-policies", "data", {"enable-network-policy-controller": "false"}, "switched off"),
        ("E08", "cluster-network-policies", "data", ABSENT, "switched off"),
        ("E08", "cluster-network-policies", "metadata.name", "other", "there is no ConfigMap"),
        ("E08", "small-nodes-class", "spec.networkPolicy", "DefaultAllow", "is DefaultAllow, not DefaultDeny"),
        ("E08", "small-nodes-class", "spec.networkPolicy", ABSENT, "is DefaultAllow, not DefaultDeny"),
        ("E08", JOBS, "spec.policyTypes", ["Ingress"], "no network policy selects all its pods"),
        ("E08", JOBS, "spec.podSelector", {"matchLabels": {"a": "b"}}, "no network policy selects all its pods"),
        ("E08", JOBS, "spec.ingress", [{}], "lets connections into job pods"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}], "leaves 169.254.169.254/32 open"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "169.254.0.0/16"}}]}], "leaves 169.254.169.254/32 open"),
        ("E08", JOBS, "spec.egress", [{"ports": [{"port": 443}]}], "has no `to`"),
        ("E08", JOBS, "spec.egress", [{"to": [{"namespaceSelector": {}}]}], "selects pods"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "172.20.0.10/32"}}]}], "opens more than 53"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "10.40.0.0/24"}}]}], "leaves 10.40.0.0/16 open"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "nonsense"}}]}], "'nonsense', which is not a network"),
        ("E08", MANAGER, "spec.ingress", [{}], "lets every connection in"),
        ("E08", MANAGER, "spec.ingress", [{"from": [], "ports": []}], "lets every connection in"),
        ("E08", JOBS, "spec.egress", [{"to": []}], "has no `to`"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "172.20.0.10/32"}}], "ports": []}], "opens more than 53"),
        ("E08", JOBS, "spec.egress", [{"to": [{"ipBlock": {"cidr": "172.20.0.10/32"}}], "ports": [{"port": 53, "endPort": 65535}]}], "opens more than 53"),
        ("E06", "small-nodes-class", "spec.role", "runner-deploy", "spec.role is 'runner-deploy'"),
        ("E07", "small-runner-jobs", "metadata.labels", {ENFORCE: "baseline", f"{ENFORCE}-version": "v1.20"}, "an old version refuses less"),
        ("E01", CLUSTER, "vpcConfig.publicAccessCidrs", [], "which means every address"),
        ("E08", MANAGER, "spec.egress", [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]}], "leaves 169.254.170.23/32 open"),
        ("E09", "small-runner-executor", "rules", [{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}], "grants * on *"),
        ("E09", "small-runner-executor", "rules", [{"resources": ["pods"]}], "grants * on pods"),
        ("E09", "small-runner-executor", "rules", [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}], "serviceaccounts/token"),
        ("E09", "small-runner-executor-binding", "roleRef", {"kind": "ClusterRole", "name": "cluster-admin"}, "roleRef is cluster-admin, a role of the whole cluster"),
        ("E09", "small-runner-executor-binding", "subjects", [{"kind": "Group", "name": "system:serviceaccounts"}], "is a Group, not a service account"),
        ("E09", "small-runner-executor-binding", "subjects.0.name", "default", "every pod has that names no other"),
        ("H03", "network-default-security-group", "ingress", [{"protocol": "-1"}], "default security group is not empty"),
    ],
)  # fmt: skip
def test_an_input_that_opens_the_cluster_is_a_violation(
    rule: str, name: str, path: str, value: Any, message: str
) -> None:
    assert_violation(rule, with_input(resource_named("prod", name), path, value), message)


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
def test_an_unknown_input_of_the_cluster_is_undecided(rule: str, name: str, path: str) -> None:
    resource = resource_named("prod", name)
    if path.startswith("metadata.labels."):
        resource = with_input(resource, "metadata.labels", {path.removeprefix("metadata.labels."): UNKNOWN})
    else:
        resource = with_input(resource, path, UNKNOWN)
    assert_undecided(rule, resource, path)


def test_the_widest_public_network_is_an_option() -> None:
    cluster = resource_named("prod", CLUSTER)
    assert_violation("E01", cluster, "wider than /28", widest_prefix=28)
    assert report("E01", with_input(cluster, "vpcConfig.publicAccessCidrs", ["10.0.0.0/8"]), widest_prefix=8) == []


def test_a_private_endpoint_needs_no_networks() -> None:
    cluster = with_input(
        resource_named("prod", CLUSTER), "vpcConfig", {"endpointPrivateAccess": True, "endpointPublicAccess": False}
    )
    assert report("E01", cluster) == []


def test_an_access_entry_for_an_unlisted_principal_is_a_violation() -> None:
    entry = resource_named("prod", ENTRY)
    assert_violation(
        "E04",
        new_resource(entry, "more", clusterName="c", principalArn="arn:aws:iam::222222222222:role/cicd/runner-small"),
        "is not in the settings",
    )
    nodes = resource_named("prod", "cluster-access-nodes")
    assert_undecided("E04", with_input(nodes, "principalArn", UNKNOWN), "principalArn")
    job = "arn:aws:iam::222222222222:role/cicd/runner-small"
    assert_violation("E04", with_input(nodes, "principalArn", job), "is not in the settings")
    assert_violation("E04", with_input(entry, "type", "EC2"), "gets the rights of a node")
    for policy in ("AmazonEKSSecretReaderPolicy", "AmazonEKSEditPolicy", "AmazonEKSAutoNodePolicy"):
        arn = f"arn:aws:eks::aws:cluster-access-policy/{policy}"
        assert_violation(
            "E04", with_input(resource_named("prod", f"{ENTRY}-policy"), "policyArn", arn), f"gets {policy}"
        )


def test_node_groups_and_cluster_roles_are_violations() -> None:
    cluster, binding = resource_named("prod", CLUSTER), resource_named("prod", "small-runner-executor-binding")
    assert_violation("E05", new_resource(cluster, "ng", "aws:eks/nodeGroup:NodeGroup"), "a managed node group")
    assert_violation(
        "E09",
        new_resource(binding, "cr", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", rules=[]),
        "a ClusterRole",
    )
    wide = new_resource(
        binding,
        "crb",
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding",
        roleRef={"kind": "ClusterRole"},
        subjects=[],
    )
    assert_violation("E09", wide, "a ClusterRoleBinding")


def test_a_namespace_without_a_network_policy_is_a_violation() -> None:
    messages = [finding.text for finding in findings_on_stack("E08", stack_without(JOBS))]
    assert messages == ["no network policy selects all its pods in both directions"]
    assert any(
        "there is no ConfigMap" in finding.text
        for finding in findings_on_stack("E08", stack_without("cluster-network-policies"))
    )


def test_a_second_network_policy_that_opens_more_is_a_violation() -> None:
    network_policy = resource_named("prod", JOBS)
    second_policy = new_resource(
        network_policy,
        "more",
        NETWORK_POLICY,
        metadata={"namespace": "jobs-small"},
        spec={"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
    )
    assert_violation("E08", second_policy, "has no `to`")


def test_the_namespace_of_the_agent_may_be_privileged_only_with_alarms() -> None:
    namespace = resource_named("prod", "small-runner-jobs")
    agent = with_input(
        namespace,
        "metadata",
        {"name": "amazon-cloudwatch", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
    )
    assert_violation("E07", agent, "is privileged")
    topic = "arn:aws:sns:eu-central-1:222222222222:alarms"
    rule, run_with_alarms = BY_ID["E07"], run_with("prod", raw("prod", alarms={"topic": topic}))
    assert evaluate_resource(rule, agent, run_with_alarms, options_with(rule, {})) == []
    assert evaluate_resource(rule, agent, run_with_alarms, options_with(rule, {"privileged": []})), (
        "the option `privileged` lists the namespaces"
    )
    other_namespace = with_input(agent, "metadata.name", "kube-public")
    assert evaluate_resource(rule, other_namespace, run_with_alarms, options_with(rule, {})), (
        "other namespaces stay restricted"
    )


@pytest.mark.parametrize(
    ("token", "inputs", "message"),
    [
        ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"cidrBlocks": ["0.0.0.0/0"]}]}, "lets everybody in"),
        ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"ipv6CidrBlocks": ["::/0"]}]}, "lets everybody in"),
        ("aws:ec2/securityGroupRule:SecurityGroupRule", {"type": "ingress", "cidrBlocks": ["0.0.0.0/0"]}, "lets everybody in"),
        ("aws:ec2/securityGroupRule:SecurityGroupRule", {"type": "egress", "cidrBlocks": ["0.0.0.0/0"]}, ""),
        ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {"cidrIpv4": "0.0.0.0/0"}, "lets everybody in"),
        ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"cidrBlocks": ["10.0.0.0/8"]}]}, ""),
    ],
)  # fmt: skip
def test_a_security_group_that_admits_any_address_is_a_violation(token: str, inputs: Any, message: str) -> None:
    group = new_resource(resource_named("prod", "network-default-security-group"), "sg", token, **inputs)
    if message:
        assert_violation("H03", group, message)
    else:
        assert report("H03", group) == []
