"""Rules of the EKS cluster: its endpoint, its logs, its secrets, and who may enter it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access.resource import UNKNOWN
from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, role_arn
from policies.rule import Option, resource_rule, stack_rule
from policies.type_tokens import ACCESS_ENTRY, ACCESS_POLICY, CLUSTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from policies.fields import Field
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
ADMIN_POLICY, VIEW_POLICY, NODE_POLICY = (
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSAutoNodePolicy",
)
"""Access policies of administrators, of the reader, and of nodes; every other one is a finding."""


@resource_rule(
    "E01",
    "eks-cluster-closes-endpoint",
    [CLUSTER],
    demands="the API answers inside the network, and outside it only to listed networks",
    stops="anybody on the internet tries tokens and flaws on the cluster's API",
    remedy="Set cluster.access to {private: …}, or to the public_cidrs of the company's own exits.",
    settings=("cluster.access.public_cidrs", "cluster.access"),
    source="EKS.1, CT.EKS.PR.1, CKV_AWS_38, CKV_AWS_39, AwsSolutions-EKS1, CIS EKS 5.4.1 and 5.4.2",
    options={
        "widest_prefix": Option(
            schema={
                "type": "integer",
                "minimum": 0,
                "maximum": 32,
                "description": "shortest prefix of a public network",
            },
            default=16,
        )
    },
)
def endpoint_is_closed(cluster: CheckedResource) -> Iterator[str]:
    """The endpoint is private, or public to narrow networks."""
    vpc = cluster["vpcConfig"]
    if vpc["endpointPrivateAccess"].flag(default=False) is False:
        yield "vpcConfig.endpointPrivateAccess is off: nodes and operators would reach the API only from outside"
    if vpc["endpointPublicAccess"].flag(default=True) is False:
        return
    networks = vpc["publicAccessCidrs"]
    if networks.absent or networks.value == []:
        yield "vpcConfig.endpointPublicAccess is on and publicAccessCidrs is missing, which means every address"
    for network in networks.items():
        yield from _narrow(network, cluster.option("widest_prefix"))


def _narrow(network: Field, widest: int) -> Iterator[str]:
    text = network.text()
    if text is None:
        return
    try:
        prefix = ipaddress.ip_network(text, strict=False).prefixlen
    except ValueError:
        yield f"{network.path} is {text!r}, not a network"
        return
    if prefix < widest:
        yield f"{network.path} is {text}, wider than /{widest}"


@resource_rule(
    "E02",
    "eks-cluster-writes-all-logs",
    [CLUSTER],
    demands="all five control plane logs are on",
    stops="an attacker was in the cluster, and no log says what they did",
    remedy="List all five in enabledClusterLogTypes.",
    source="EKS.8, CKV_AWS_37, AwsSolutions-EKS2, CIS EKS 2.1.1",
    severity=Severity.MEDIUM,
)
def logs_are_on(cluster: CheckedResource) -> Iterator[str]:
    """All five types of logs."""
    logs = cluster["enabledClusterLogTypes"]
    missing = [] if logs.unknown else [log for log in LOG_TYPES if log not in logs.texts()]
    if missing:
        yield f"enabledClusterLogTypes does not list {', '.join(missing)}"


@resource_rule(
    "E03",
    "eks-cluster-encrypts-secrets",
    [CLUSTER],
    demands="Kubernetes secrets are encrypted with a key of our own",
    stops="runner tokens can be read from a copy of etcd",
    remedy="Set encryptionConfig with resources [secrets] and a key.",
    source="EKS.3, CT.EKS.PR.2, CKV_AWS_58, CIS EKS 5.3.1",
    severity=Severity.MEDIUM,
)
def secrets_are_encrypted(cluster: CheckedResource) -> Iterator[str]:
    """Secrets are encrypted with a customer key."""
    config = cluster["encryptionConfig"]
    if config.unknown:
        return
    if "secrets" not in config["resources"].texts() or config["provider"].absent:
        yield "encryptionConfig names no key for secrets"


@stack_rule(
    "E04",
    "eks-cluster-admits-listed-roles",
    demands="only access entries admit principals to the cluster, and only listed administrators and the deployer may change it",
    stops="A21: a permission in AWS becomes the right to administer the cluster, and with it every job's identity",
    remedy="List people in cluster.administrators; give no other principal an access entry.",
    settings=("cluster.administrators",),
    source="CIS EKS 4.1.1 and 4.1.7; https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html",
    severity=Severity.CRITICAL,
)
def entries_are_listed(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Authentication by access entries only, and only entries of principals in the settings."""
    settings = stack.run.platform_settings
    if settings is None:
        return
    for cluster in stack.of(CLUSTER):
        yield from ((cluster.urn, text) for text in _authentication(cluster))
    policies = _policies(settings)
    for entry in stack.of(ACCESS_ENTRY):
        arn, kind = _principal(stack, entry), entry["type"].text("STANDARD")
        if arn is not None and arn not in policies:
            yield entry.urn, f"{arn} has an access entry and is not in the settings"
        elif arn is not None and kind not in {None, "EC2" if policies[arn] == NODE_POLICY else "STANDARD"}:
            yield entry.urn, f"type is {kind}, with which {arn} gets the rights of a node or of a service"
        if groups := entry["kubernetesGroups"].texts():
            text = f"kubernetesGroups puts the principal into {', '.join(groups)}, which grants rights beside the access policies"
            yield entry.urn, text
    for association in stack.of(ACCESS_POLICY):
        arn, policy = _principal(stack, association), (association["policyArn"].text() or "").rpartition("/")[2]
        if arn is None or policy in {"", policies.get(arn)}:
            continue
        text = "and is not a listed administrator" if policy == ADMIN_POLICY else "which no rule judges for it"
        yield association.urn, f"{arn} gets {policy} {text}"


def _principal(stack: CheckedStack, resource: CheckedResource) -> str | None:
    """Return the principal; a role that a first preview would make is unknown, and decided on the deployed state."""
    principal = resource["principalArn"]
    if principal.value is UNKNOWN and stack.run.waits_for_issuer():
        return None
    return principal.text()


def _authentication(cluster: CheckedResource) -> Iterator[str]:
    access = cluster["accessConfig"]
    if (mode := access["authenticationMode"].text("CONFIG_MAP")) not in {"API", None}:
        yield f"accessConfig.authenticationMode is {mode}, not API: the aws-auth ConfigMap admits principals, too"
    if access["bootstrapClusterCreatorAdminPermissions"].flag(default=True):
        yield "bootstrapClusterCreatorAdminPermissions is on: the principal that creates the cluster administers it"


def _policies(settings: Settings) -> dict[str, str]:
    """Return the access policy of each principal that the settings admit."""
    partition, home, names = settings.organization.partition, settings.platform_account.id, settings.names
    deployer, reader = (role_arn(partition, home, PLATFORM_ROLE_PATH, name) for name in (DEPLOYER_ROLE, READER_ROLE))
    return {
        reader: VIEW_POLICY,
        names.role_arn(home, names.node_role()): NODE_POLICY,
        **dict.fromkeys(
            [*(settings.cluster.administrators if settings.cluster is not None else ()), deployer], ADMIN_POLICY
        ),
    }
