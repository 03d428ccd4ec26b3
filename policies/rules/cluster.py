"""Rules of the EKS cluster: its endpoint, its logs, its secrets, and who may enter it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from pulumi_policy import Severity

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
ADMIN_POLICIES = ("AmazonEKSClusterAdminPolicy", "AmazonEKSAdminPolicy", "AmazonEKSEditPolicy")
"""Access policies with which a principal changes the cluster."""


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
    if networks.absent:
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
    administrators, guests = _listed(settings)
    for entry in stack.of(ACCESS_ENTRY):
        if entry["type"].text("STANDARD") == "EC2":
            continue
        arn = entry["principalArn"].text()
        if arn is not None and arn not in administrators | guests:
            yield entry.urn, f"{arn} has an access entry and is not in the settings"
        if groups := entry["kubernetesGroups"].texts():
            text = f"kubernetesGroups puts the principal into {', '.join(groups)}, which grants rights beside the access policies"
            yield entry.urn, text
    for association in stack.of(ACCESS_POLICY):
        policy = (association["policyArn"].text() or "").rpartition("/")[2]
        if policy in ADMIN_POLICIES:
            arn = association["principalArn"].text()
            if arn is not None and arn not in administrators:
                yield association.urn, f"{arn} gets {policy} and is not a listed administrator"


def _authentication(cluster: CheckedResource) -> Iterator[str]:
    access = cluster["accessConfig"]
    if (mode := access["authenticationMode"].text("CONFIG_MAP")) not in {"API", None}:
        yield f"accessConfig.authenticationMode is {mode}, not API: the aws-auth ConfigMap admits principals, too"
    if access["bootstrapClusterCreatorAdminPermissions"].flag(default=True):
        yield "bootstrapClusterCreatorAdminPermissions is on: the principal that creates the cluster administers it"


def _listed(settings: Settings) -> tuple[set[str], set[str]]:
    """Return the ARNs of `(administrators, guests)`."""
    partition, home = settings.organization.partition, settings.platform_account.id
    deployer, reader = (role_arn(partition, home, PLATFORM_ROLE_PATH, name) for name in (DEPLOYER_ROLE, READER_ROLE))
    return {*settings.cluster.administrators, deployer}, {reader}
