"""Rules of the network: nodes, namespaces, network policies, security groups.

Network policies are off in EKS Auto Mode until three things agree: a policy in the namespace, the switch (ConfigMap `amazon-vpc-cni`) and
the node class's default. One without the others protects nothing. Source: https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from components.documents import alarms
from components.documents.network_policies import METADATA, dns_address
from components.documents.pods import CLASS_LABEL
from config.names import namespace_jobs, namespace_manager
from config.runners import of_kubernetes
from policies.rule import Option, resource_rule, stack_rule
from policies.type_tokens import (
    CONFIG_MAP,
    DEFAULT_SECURITY_GROUP,
    INGRESS_RULE,
    NAMESPACE,
    NETWORK_POLICY,
    NETWORK_SWITCH,
    NODE_CLASS,
    NODE_GROUP,
    NODE_POOL,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from policies.fields import Field
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

ENFORCE = "pod-security.kubernetes.io/enforce"
STRICT = ("baseline", "restricted")
"""Levels of pod security, the stricter one last."""
SWITCH = (*NETWORK_SWITCH, "enable-network-policy-controller")
"""Namespace, name and key of the ConfigMap that switches network policies on."""
NETWORK_GUIDE = "https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html"
WIDE = 8
"""A network with a shorter prefix counts as everybody; no private network has one."""


@resource_rule(
    "E05",
    "eks-node-group-never-exists",
    [NODE_GROUP],
    demands="all nodes are Auto Mode's, whose metadata service needs a token and does not answer pods",
    stops="A01: a job reads the node's role from the metadata service",
    remedy="Remove the node group and add a runner class; its nodes come with it.",
    source="https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html; CT.EC2.PR.1, CT.EC2.PR.2, EC2.8",
)
def no_node_groups(_group: CheckedResource) -> Iterator[str]:
    """A node group brings a launch template whose hop limit this program does not set."""
    yield "a managed node group makes nodes that are not Auto Mode's, and the rules of Auto Mode do not cover them"


@resource_rule(
    "E06",
    "eks-node-pool-stays-private-and-tainted",
    [NODE_CLASS, NODE_POOL],
    demands="nodes have no public address, and their pool's taint and label keep other pods away",
    stops="A05, A23: a node is reachable from outside, or a job runs on the managers' nodes",
    remedy="Build the specification with components/documents/node_pool.py.",
    settings=("runners.{runner}",),
    source="CKV_AWS_100, EC2.25, CIS EKS 5.4.3",
)
def nodes_are_private(resource: CheckedResource) -> Iterator[str]:
    """Node classes are private; node pools are tainted and labelled with their own name."""
    spec, name = resource["spec"], resource["metadata"]["name"].text()
    if resource.type == NODE_CLASS:
        if spec["advancedNetworking"]["associatePublicIPAddress"].flag(default=True):
            yield "spec.advancedNetworking.associatePublicIPAddress is not false: nodes may get public addresses"
        settings = resource.run.platform_settings
        if settings is not None and (role := spec["role"].text()) not in {settings.names.node_role(), None}:
            yield f"spec.role is {role!r}, not {settings.names.node_role()}: its pods' images and logs use another role's rights"
        return
    template = spec["template"]
    label = template["metadata"]["labels"][CLASS_LABEL].text()
    if label is not None and label != name:
        yield f"the label {CLASS_LABEL} of its nodes is {label!r}, not {name}"
    taints = [
        (taint["key"].text(), taint["value"].text(), taint["effect"].text())
        for taint in template["spec"]["taints"].items()
    ]
    if not any(None in taint for taint in taints) and (CLASS_LABEL, name, "NoSchedule") not in taints:
        yield f"its nodes have no taint {CLASS_LABEL}={name}:NoSchedule"


@resource_rule(
    "E07",
    "kubernetes-namespace-enforces-pod-security",
    [NAMESPACE],
    demands="every namespace enforces pod security restricted, or baseline for jobs",
    stops="A02, A05: a privileged pod leaves its container, and takes the tokens of every pod on the node",
    remedy="Set pod_security of the class; the labels follow from components/documents/namespaces.py.",
    settings=("runners.{runner}.pod_security", "runners.{runner}"),
    source="https://kubernetes.io/docs/concepts/security/pod-security-standards/; CIS EKS 4.2.1 to 4.2.5",
    severity=Severity.CRITICAL,
    options={
        "privileged": Option.names(
            "namespaces that may enforce `privileged`, only while the settings have alarms: the CloudWatch agent reads its node",
            [alarms.NAMESPACE],
        )
    },
)
def pod_security(namespace: CheckedResource) -> Iterator[str]:
    """Managers' namespaces are restricted, jobs' namespaces as their class says, no namespace is privileged."""
    settings, name = namespace.run.platform_settings, namespace["metadata"]["name"].text()
    if (version := namespace["metadata"]["labels"][f"{ENFORCE}-version"].text("latest")) not in {"latest", None}:
        yield f"{ENFORCE}-version is {version}: an old version refuses less"
    level = namespace["metadata"]["labels"][ENFORCE].text("missing, so privileged pods are allowed")
    if level is None or name is None:
        return
    if settings is not None:
        if settings.alarms.topic is not None and name in namespace.option("privileged"):
            return
        required = {namespace_manager(runner_class): "restricted" for runner_class in settings.runners}
        required |= {
            namespace_jobs(key): runner.pod_security for key, runner in of_kubernetes(settings.runners).items()
        }
        if name in required and STRICT.index(required[name]) > (STRICT.index(level) if level in STRICT else -1):
            yield f"{ENFORCE} is {level}; this namespace needs {required[name]}"
            return
    if level not in STRICT:
        yield f"{ENFORCE} is {level}"


@stack_rule(
    "E08",
    "kubernetes-namespace-denies-network-by-default",
    demands="policies, switch and node classes together close each class's network: nothing in, no metadata, no VPC, DNS by address",
    stops="A01, and lateral movement: a job reads the node's role, or connects to another job, to a service or into the VPC",
    remedy="Build policies with components/documents/network_policies.py; keep the ConfigMap amazon-vpc-cni and DefaultDeny.",
    source=f"{NETWORK_GUIDE}; CIS EKS 4.3.2, CKV2_K8S_6",
    severity=Severity.CRITICAL,
)
def network_is_denied(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """The switch, the node classes, and policies in each namespace that keep the closed addresses closed."""
    settings = stack.run.platform_settings
    if settings is None or settings.cluster is None:
        return
    yield from _switch(stack)
    for node_class in stack.of(NODE_CLASS):
        if (default := node_class["spec"]["networkPolicy"].text("DefaultAllow")) not in {"DefaultDeny", None}:
            yield node_class.urn, f"spec.networkPolicy is {default}, not DefaultDeny: pods start with an open network"
    policies: dict[str, list[CheckedResource]] = {}
    for policy in stack.of(NETWORK_POLICY):
        policies.setdefault(policy["metadata"]["namespace"].text("default") or "", []).append(policy)
    for namespace in stack.of(NAMESPACE):
        name = namespace["metadata"]["name"].text() or ""
        if not any(_covers_everything(policy) for policy in policies.get(name, [])):
            yield namespace.urn, "no network policy selects all its pods in both directions"
    for name, in_namespace in policies.items():
        for policy in in_namespace:
            yield from ((policy.urn, text) for text in _openings(policy, name, settings))


def _switch(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    namespace, name, key = SWITCH
    config_maps = [
        config_map
        for config_map in stack.of(CONFIG_MAP)
        if (config_map["metadata"]["namespace"].text(), config_map["metadata"]["name"].text()) == (namespace, name)
    ]
    if not config_maps:
        yield "", f"there is no ConfigMap {namespace}/{name}: network policies are switched off"
    for config_map in config_maps:
        if config_map["data"][key].text("false") not in {"true", None}:
            yield config_map.urn, f"data.{key} is not true: network policies are switched off"


def _covers_everything(policy: CheckedResource) -> bool:
    """Whether a policy selects all pods in both directions. Without policyTypes it is for egress only if it has egress rules."""
    spec = policy["spec"]
    all_pods = spec["podSelector"].get({}) == {}
    return all_pods and set(spec["policyTypes"].texts()) == {"Ingress", "Egress"}


def _openings(policy: CheckedResource, namespace: str, settings: Settings) -> Iterator[str]:
    spec = policy["spec"]
    for_jobs = namespace in {namespace_jobs(runner_class) for runner_class in settings.runners}
    if for_jobs:
        for rule in spec["ingress"].items():
            yield f"{rule.path} lets connections into job pods"
    for rule in spec["ingress"].items():
        if _everything(rule["ports"]) and _everything(rule["from"]):
            yield f"{rule.path} lets every connection in"
    for rule in spec["egress"].items():
        if _everything(rule["to"]):
            yield f"{rule.path} has no `to`: every address is open, the metadata service too"
        for peer in rule["to"].items():
            yield from _peer(peer, rule, for_jobs, settings)


def _everything(members: Field) -> bool:
    """Whether a list of ports or peers limits nothing: Kubernetes reads an empty list as it reads none."""
    return not members.unknown and not list(members.items())


def _peer(peer: Field, rule: Field, for_jobs: bool, settings: Settings) -> Iterator[str]:
    if peer["ipBlock"].absent:
        if for_jobs:
            yield f"{peer.path} selects pods; jobs may connect to addresses only, to DNS by its address too"
        return
    block = peer["ipBlock"]
    cidr = block["cidr"].text()
    if cidr is None:
        return
    closed = [*METADATA]
    if for_jobs and settings.cluster is not None:
        closed.append(settings.cluster.service_cidr)
        closed += [settings.network.cidr] if settings.network.cidr else []
        if cidr == f"{dns_address(settings.cluster.service_cidr)}/32" or cidr in settings.network.endpoint_cidrs:
            yield from _narrow_ports(rule, {53.0} if cidr.endswith("/32") else {443.0})
            return
    exempt = block["except"].texts()
    if wrong := [network for network in (cidr, *exempt) if not _is_network(network)]:
        yield f"{block.path} contains {wrong[0]!r}, which is not a network"
        return
    for network in closed:
        if not block["except"].unknown and _open(network, cidr, exempt):
            yield f"{block.path} leaves {network} open"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _narrow_ports(rule: Field, expected: set[float]) -> Iterator[str]:
    ports = {port["port"].number(default=-1) for port in rule["ports"].items()}
    ranges = [port for port in rule["ports"].items() if not port["endPort"].absent]
    if _everything(rule["ports"]) or ranges or not ports <= expected | {None}:
        yield f"{rule['ports'].path} opens more than {', '.join(str(int(port)) for port in sorted(expected))}"


def _open(closed: str, cidr: str, exempt: list[str]) -> bool:
    """Whether an address of a closed network is within a block and not exempt from it."""
    network, block = ipaddress.ip_network(closed, strict=False), ipaddress.ip_network(cidr, strict=False)
    if not network.overlaps(block):
        return False
    exempt_networks = [ipaddress.ip_network(text, strict=False) for text in exempt]
    return not any(network.subnet_of(exempted) for exempted in exempt_networks)  # type: ignore[arg-type]  # IPv4 and IPv6 never overlap


@resource_rule(
    "H03",
    "ec2-security-group-opens-nothing",
    [SECURITY_GROUP, SECURITY_GROUP_RULE, INGRESS_RULE, DEFAULT_SECURITY_GROUP],
    demands="no security group lets everybody in, and the default one has no rules",
    stops="a node or an endpoint answers the internet",
    remedy="Remove the rule; of the platform only the cluster's endpoint is reached from outside.",
    source="EC2.2, EC2.18, EC2.19, CKV_AWS_24, CKV_AWS_260, CKV_AWS_277, AwsSolutions-EC23",
)
def nothing_is_open(group: CheckedResource) -> Iterator[str]:
    """No ingress from everywhere; the default group is closed in both directions."""
    if group.type == DEFAULT_SECURITY_GROUP:
        for key in ("ingress", "egress"):
            if list(group[key].items()):
                yield f"{key} of the VPC's default security group is not empty"
        return
    if group.type == SECURITY_GROUP_RULE and group["type"].text() == "egress":
        return
    rules = list(group["ingress"].items()) if group.type == SECURITY_GROUP else [group.root]
    for rule in rules:
        keys = ("cidrBlocks", "ipv6CidrBlocks") if group.type != INGRESS_RULE else ("cidrIpv4", "cidrIpv6")
        for key in keys:
            if networks := [network for network in rule[key].texts() if _wide(network)]:
                yield f"{rule[key].path} has {networks[0]}, which lets everybody in"
        for key in ("prefixListIds", "prefixListId"):
            if list(rule[key].items()):
                yield f"{rule[key].path} is a list of networks that no rule can read"


def _wide(network: str) -> bool:
    """Whether a network is a large part of the internet."""
    try:
        return ipaddress.ip_network(network, strict=False).prefixlen < WIDE
    except ValueError:
        return True
