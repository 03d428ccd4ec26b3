"""Rules of what may talk to what: nodes, namespaces, network policies, security groups.

Network policies are off in EKS Auto Mode until three things agree: a policy in the namespace, the switch (ConfigMap `amazon-vpc-cni`) and the
node class's default. One without the others protects nothing. Source: https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from components.documents import alarms
from components.documents.network_policies import METADATA, dns_address
from components.documents.pods import CLASS_LABEL
from config.names import namespace_jobs, namespace_manager
from policies.rule import Option, resource_rule, stack_rule
from policies.type_tokens import (
    CONFIG_MAP,
    DEFAULT_SECURITY_GROUP,
    INGRESS_RULE,
    NAMESPACE,
    NETWORK_POLICY,
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
SWITCH = ("kube-system", "amazon-vpc-cni", "enable-network-policy-controller")
NETWORK_GUIDE = "https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html"
EVERYWHERE = ("0.0.0.0/0", "::/0")


@resource_rule(
    "E05",
    "eks-node-group-never-exists",
    [NODE_GROUP],
    demands="all nodes are Auto Mode's, whose metadata service asks for a token and answers no pod",
    stops="A01: a job reads the node's role from the metadata service",
    remedy="Add a runner class; its nodes come with it.",
    source="https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html; CT.EC2.PR.1, CT.EC2.PR.2, EC2.8",
)
def no_node_groups(_group: CheckedResource) -> Iterator[str]:
    """A node group brings a launch template whose hop limit nobody here sets."""
    yield "a managed node group makes nodes that the rules about Auto Mode do not cover"


@resource_rule(
    "E06",
    "eks-node-pool-stays-private-and-tainted",
    [NODE_CLASS, NODE_POOL],
    demands="nodes have no public address, and their pool's taint and label keep other pods away",
    stops="A05, A23: a node is reachable from outside, or a job lands on the managers' nodes",
    remedy="Build specifications with components/documents/node_pool.py.",
    settings=("runners.{runner}",),
    source="CKV_AWS_100, EC2.25, CIS EKS 5.4.3",
)
def nodes_are_private(case: CheckedResource) -> Iterator[str]:
    """Node classes are private; node pools are tainted and labelled with their own name."""
    spec, name = case["spec"], case["metadata"]["name"].text()
    if case.type == NODE_CLASS:
        if spec["advancedNetworking"]["associatePublicIPAddress"].flag(default=True):
            yield "spec.advancedNetworking.associatePublicIPAddress is not false: nodes may get public addresses"
        return
    template = spec["template"]
    label = template["metadata"]["labels"][CLASS_LABEL].text()
    if label is not None and label != name:
        yield f"its nodes' label {CLASS_LABEL} is not {name}"
    taints = [
        (each["key"].text(), each["value"].text(), each["effect"].text()) for each in template["spec"]["taints"].items()
    ]
    if not any(None in each for each in taints) and (CLASS_LABEL, name, "NoSchedule") not in taints:
        yield f"its nodes are not tainted {CLASS_LABEL}={name}:NoSchedule"


@resource_rule(
    "E07",
    "kubernetes-namespace-enforces-pod-security",
    [NAMESPACE],
    demands="every namespace enforces pod security restricted, or baseline for jobs",
    stops="A02, A05: a privileged pod leaves its container, and takes the tokens of every pod on the node",
    remedy="Set pod_security of the class; labels follow from components/documents/namespaces.py.",
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
    """Managers' namespaces are restricted, jobs' are what the class says, none is privileged."""
    settings, name = namespace.surroundings.runners, namespace["metadata"]["name"].text()
    level = namespace["metadata"]["labels"][ENFORCE].text("privileged, as nothing is enforced")
    if level is None or name is None:
        return
    if settings is not None:
        if settings.alarms.topic is not None and name in namespace.option("privileged"):
            return
        wanted = {namespace_manager(each): "restricted" for each in settings.runners}
        wanted |= {namespace_jobs(each): its.pod_security for each, its in settings.runners.items()}
        if name in wanted and STRICT.index(wanted[name]) > (STRICT.index(level) if level in STRICT else -1):
            yield f"{ENFORCE} is {level}; this namespace is for {wanted[name]}"
            return
    if level not in STRICT:
        yield f"{ENFORCE} is {level}"


@stack_rule(
    "E08",
    "kubernetes-namespace-denies-network-by-default",
    demands="policies, switch and node classes together close each class's network: nothing in, no metadata, no VPC, DNS by address",
    stops="A01, and lateral movement: a job reads the node's role, or talks to another job, to a service or into the VPC",
    remedy="Build policies with components/documents/network_policies.py; keep the ConfigMap amazon-vpc-cni and DefaultDeny.",
    source=f"{NETWORK_GUIDE}; CIS EKS 4.3.2, CKV2_K8S_6",
    severity=Severity.CRITICAL,
)
def network_is_denied(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Switch, node classes, and for each namespace exactly policies that keep the closed addresses closed."""
    settings = stack.surroundings.runners
    if settings is None:
        return
    yield from _switch(stack)
    for node_class in stack.of(NODE_CLASS):
        if node_class["spec"]["networkPolicy"].text("DefaultAllow") not in {"DefaultDeny", None}:
            yield node_class.urn, "spec.networkPolicy is not DefaultDeny: pods start with an open network"
    policies: dict[str, list[CheckedResource]] = {}
    for policy in stack.of(NETWORK_POLICY):
        policies.setdefault(policy["metadata"]["namespace"].text("default") or "", []).append(policy)
    for namespace in stack.of(NAMESPACE):
        name = namespace["metadata"]["name"].text() or ""
        own = policies.get(name, [])
        if not any(_covers_everything(each) for each in own):
            yield namespace.urn, "no network policy selects all its pods in both directions"
    for name, found in policies.items():
        for policy in found:
            yield from ((policy.urn, text) for text in _openings(policy, name, settings))


def _switch(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    namespace, name, key = SWITCH
    found = [
        each
        for each in stack.of(CONFIG_MAP)
        if (each["metadata"]["namespace"].text(), each["metadata"]["name"].text()) == (namespace, name)
    ]
    if not found:
        yield "", f"there is no ConfigMap {namespace}/{name}: network policies are switched off"
    for each in found:
        if each["data"][key].text("false") not in {"true", None}:
            yield each.urn, f"data.{key} is not true: network policies are switched off"


def _covers_everything(policy: CheckedResource) -> bool:
    spec = policy["spec"]
    everything = spec["podSelector"].get({}) == {}
    # Without policyTypes a policy is for egress only where it has egress rules.
    return everything and set(spec["policyTypes"].texts()) == {"Ingress", "Egress"}


def _openings(policy: CheckedResource, namespace: str, settings: Settings) -> Iterator[str]:
    spec = policy["spec"]
    jobs = {namespace_jobs(each) for each in settings.runners}
    if namespace in jobs:
        for rule in spec["ingress"].items():
            yield f"{rule.path} lets something into job pods"
    for rule in spec["ingress"].items():
        if rule["ports"].absent and rule["from"].absent:
            yield f"{rule.path} lets everything in"
    for rule in spec["egress"].items():
        if rule["to"].absent:
            yield f"{rule.path} has no `to`: every address is open, the metadata service too"
        for peer in rule["to"].items():
            yield from _peer(peer, rule, namespace in jobs, settings)


def _peer(peer: Field, rule: Field, of_jobs: bool, settings: Settings) -> Iterator[str]:
    if peer["ipBlock"].absent:
        if of_jobs:
            yield f"{peer.path} selects pods; jobs talk to addresses only, DNS by its address too"
        return
    block = peer["ipBlock"]
    cidr = block["cidr"].text()
    if cidr is None:
        return
    closed = [*METADATA]
    if of_jobs:
        closed.append(settings.cluster.service_cidr)
        closed += [settings.network.cidr] if settings.network.cidr else []
        if cidr == f"{dns_address(settings.cluster.service_cidr)}/32" or cidr in settings.network.endpoint_cidrs:
            yield from _narrow_ports(rule, {53.0} if cidr.endswith("/32") else {443.0})
            return
    exempt = block["except"].texts()
    if wrong := [each for each in (cidr, *exempt) if not _is_network(each)]:
        yield f"{block.path} names {wrong[0]}, which is no network"
        return
    for each in closed:
        if not block["except"].unknown and _open(each, cidr, exempt):
            yield f"{block.path} leaves {each} open"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _narrow_ports(rule: Field, wanted: set[float]) -> Iterator[str]:
    ports = {each["port"].number(default=-1) for each in rule["ports"].items()}
    if rule["ports"].absent or not ports <= wanted | {None}:
        yield f"{rule['ports'].path} opens more than {', '.join(str(int(each)) for each in sorted(wanted))}"


def _open(closed: str, cidr: str, exempt: list[str]) -> bool:
    """Whether some address of a closed network is within a block and not exempt from it."""
    network, block = ipaddress.ip_network(closed, strict=False), ipaddress.ip_network(cidr, strict=False)
    if not network.overlaps(block):
        return False
    return not any(network.subnet_of(ipaddress.ip_network(each, strict=False)) for each in exempt)  # type: ignore[arg-type]  # IPv4 and IPv6 never overlap


@resource_rule(
    "H03",
    "ec2-security-group-opens-nothing",
    [SECURITY_GROUP, SECURITY_GROUP_RULE, INGRESS_RULE, DEFAULT_SECURITY_GROUP],
    demands="no security group lets everybody in, and the default one has no rules",
    stops="a node or an endpoint answers the internet",
    remedy="Drop the rule; nothing of the platform is reached from outside but the cluster's endpoint.",
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
        lists = ("cidrBlocks", "ipv6CidrBlocks") if group.type != INGRESS_RULE else ("cidrIpv4", "cidrIpv6")
        for key in lists:
            if set(rule[key].texts()) & set(EVERYWHERE):
                yield f"{rule[key].path} lets everybody in"
