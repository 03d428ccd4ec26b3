"""IAM roles and OIDC providers of some resources.

A role is put together from several resources: its trust, inline policies, attachments, customer managed policies and boundary. AWS's own
policies are known by name, as far as they matter here. A provider belongs to one account and takes listed audiences: a trust in a provider
that is missing, or that belongs to another account, admits nobody. What the documents mean: `evaluation`.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from access import globs
from access.callers import Choice
from access.conditions import narrows
from access.decision import Truth, Undecided
from access.policy_documents import ALLOW, Document, normalise
from access.resource import UNKNOWN, Resource, at, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from access.inventory import Inventory

ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
POLICY_ATTACHMENT = "aws:iam/policyAttachment:PolicyAttachment"
POLICY = "aws:iam/policy:Policy"
AWS_MANAGED = ":iam::aws:"
"""Part of the ARN of every AWS managed policy."""

WITHOUT_REACH = frozenset(
    {
        *("AmazonEKSClusterPolicy", "AmazonEKSBlockStoragePolicy", "AmazonEKSLoadBalancingPolicy"),
        *("AmazonEKSNetworkingPolicy", "AmazonEKSWorkerNodeMinimalPolicy", "AmazonEKSWorkerNodePolicy"),
        *("AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryReadOnly", "AmazonEKS_CNI_Policy"),
        *("SecurityAudit", "ViewOnlyAccess", "ReadOnlyAccess", "CloudWatchAgentServerPolicy"),
    }
)
"""AWS managed policies that assume no role, change no role, and write no image or object.

Source: https://docs.aws.amazon.com/aws-managed-policy/latest/reference/
"""
EXCERPTS: dict[str, dict[str, Any]] = {
    "AdministratorAccess": {"Effect": "Allow", "Action": "*", "Resource": "*"},
    "PowerUserAccess": {"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"},
    "IAMFullAccess": {"Effect": "Allow", "Action": ["iam:*", "organizations:Describe*"], "Resource": "*"},
    "AmazonEKSComputePolicy": {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": "*",
        "Condition": {"StringEquals": {"iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]}},
    },
}
"""The statements that matter of other AWS managed policies."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Role:
    """A role with every document that decides who can assume it and what it may do."""

    arn: str
    account: str
    name: str
    stack: str
    urn: str
    trust: Document | Undecided
    policies: tuple[Document | Undecided, ...] = ()
    boundary: Document | Undecided | None = None
    boundary_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    customer_policies: tuple[str, ...] = ()
    """ARNs of the attached policies that are not AWS's: a caller that changes one changes the role."""

    @cached_property
    def effective_trust(self) -> Document | Undecided:
        """The trust without ineffective conditions of Allow statements."""
        if isinstance(self.trust, Undecided):
            return self.trust
        return tuple(
            replace(statement, conditions=tuple(filter(narrows, statement.conditions)))
            if statement.effect == ALLOW
            else statement
            for statement in self.trust
        )


def aws_managed_policy(arn: str) -> Document | Undecided:
    """Return what matters of an AWS managed policy."""
    name = arn.rpartition("/")[2]
    if name in WITHOUT_REACH:
        return ()
    if name in EXCERPTS:
        return normalise({"Statement": EXCERPTS[name]})
    return Undecided(f"the AWS managed policy {name} is not in access/roles.py")


class Roles:
    """All roles of some resources."""

    def __init__(
        self, resources: Iterable[Resource], partition: str, managed_policies: Mapping[str, Any] | None = None
    ) -> None:
        """Read all roles.

        Args:
            resources: roles, policies and attachments.
            partition: partition of their ARNs.
            managed_policies: documents of policies that are not among the resources, by ARN.
        """
        self._partition = partition
        self._policies: defaultdict[tuple[str, str], list[Document | Undecided]] = defaultdict(list)
        """Documents by account and name of the role."""
        self._customer: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        """ARNs of customer managed policies by account and name of the role."""
        self._unplaced: defaultdict[str, list[Undecided]] = defaultdict(list)
        """Policies of unknown roles, by account."""
        by_type: defaultdict[str, list[Resource]] = defaultdict(list)
        for resource in resources:
            by_type[resource.type].append(resource)
        self._managed = {arn: normalise(document) for arn, document in (managed_policies or {}).items()}
        self._managed |= {
            self._arn(policy, "policy", str(at(policy.inputs, "name") or policy.name)): normalise(
                at(policy.inputs, "policy")
            )
            for policy in by_type[POLICY]
        }
        for policy in by_type[ROLE_POLICY]:
            self._give(policy.account, at(policy.inputs, "role"), normalise(at(policy.inputs, "policy")))
        for attachment in by_type[ATTACHMENT]:
            self._attach(attachment.account, at(attachment.inputs, "role"), at(attachment.inputs, "policyArn"))
        for attachment in by_type[POLICY_ATTACHMENT]:
            for role in at(attachment.inputs, "roles") or ():
                self._attach(attachment.account, role, at(attachment.inputs, "policyArn"))
        self.by_arn = {role.arn: role for role in map(self._role, by_type[ROLE])}

    def _arn(self, resource: Resource, kind: str, name: str) -> str:
        path = at(resource.inputs, "path")
        return f"arn:{self._partition}:iam::{resource.account}:{kind}{path if isinstance(path, str) else '/'}{name}"

    def _give(self, account: str, role: Any, document: Document | Undecided) -> None:
        if isinstance(role, str):
            self._policies[account, role.rpartition("/")[2]].append(document)
        else:
            self._unplaced[account].append(Undecided("a policy is for a role that is not known yet"))

    def _attach(self, account: str, role: Any, policy: Any) -> None:
        self._give(account, role, self.document(policy))
        if isinstance(role, str) and isinstance(policy, str) and AWS_MANAGED not in policy:
            self._customer[account, role.rpartition("/")[2]].append(policy)

    def document(self, policy: Any) -> Document | Undecided:
        """Return the document of a managed policy, by its ARN."""
        if not isinstance(policy, str):
            return Undecided("an attached policy is not known yet")
        if AWS_MANAGED in policy and policy not in self._managed:
            return aws_managed_policy(policy)
        return self._managed.get(policy, Undecided(f"the policy {policy} is not among the resources"))

    def _role(self, resource: Resource) -> Role:
        inputs, account = resource.inputs, resource.account
        name = at(inputs, "name")
        name = name if isinstance(name, str) else resource.name
        inline, managed = at(inputs, "inlinePolicies"), at(inputs, "managedPolicyArns")
        unknown = [policies for policies in (inline, managed) if policies is UNKNOWN]
        inline = inline if isinstance(inline, list) else []
        managed = managed if isinstance(managed, list) else []
        boundary, tags = at(inputs, "permissionsBoundary"), at(inputs, "tags")
        tags = tags if isinstance(tags, dict) else {}
        return Role(
            arn=self._arn(resource, "role", name),
            account=account,
            name=name,
            stack=resource.stack,
            urn=resource.urn,
            trust=normalise(at(inputs, "assumeRolePolicy")),
            policies=(
                *self._policies[account, name],
                *(normalise(at(policy, "policy")) for policy in inline),
                *(self.document(arn) for arn in managed),
                *(Undecided("a role's policies are not known yet") for _ in unknown),
                *self._unplaced[account],
            ),
            boundary=None if boundary is None else self.document(boundary),
            boundary_arn=boundary if isinstance(boundary, str) else None,
            tags={key: value for key, value in tags.items() if isinstance(value, str)},
            customer_policies=(
                *self._customer[account, name],
                *(arn for arn in managed if isinstance(arn, str) and AWS_MANAGED not in arn),
            ),
        )


PROVIDER = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
CLUSTER_HOSTS = "oidc.eks."


class Provider(NamedTuple):
    """An OIDC provider in an account."""

    arn: str
    clients: tuple[str, ...]
    """Audiences that the provider takes."""
    more: bool
    """Whether it takes further audiences that are not known yet."""


@dataclass(kw_only=True)
class Providers:
    """All OIDC providers of some resources."""

    by_place: dict[tuple[str, str], Provider] = field(default_factory=dict)
    """By account and host of the issuer."""
    of_clusters: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Hosts of the clusters' issuers, by stack."""

    def arn(self, account: str, issuer: str) -> str:
        """Return the ARN of an issuer's provider in an account; empty if the account has none."""
        provider = self.by_place.get((account, issuer))
        return provider.arn if provider else ""

    def accepted_audiences(self, account: str, issuer: str, audience: str | Choice) -> Iterator[tuple[str, Truth]]:
        """Yield the audiences of a token that an account accepts from an issuer."""
        provider = self.by_place.get((account, issuer))
        for client in provider.clients if provider else ():
            if isinstance(audience, Choice):
                if not any(globs.matches(pattern, client) for pattern in audience.outside):
                    yield client, True
            elif client == audience:
                yield client, True
        if provider and provider.more:
            unknown = Undecided(f"the audiences of the provider {provider.arn} are not known yet")
            yield (audience if isinstance(audience, str) else "not-known-yet"), unknown

    @property
    def hosts(self) -> set[str]:
        """Hosts of all issuers."""
        return {host for _, host in self.by_place}

    def add(self, partition: str, account: str, host: str, clients: list[Any]) -> None:
        """Add audiences to the provider of an issuer in an account."""
        arn = f"arn:{partition}:iam::{account}:oidc-provider/{host}"
        texts = tuple(client for client in clients if isinstance(client, str))
        existing = self.by_place.get((account, host), Provider(arn, (), more=False))
        more = existing.more or len(texts) < len(clients)
        self.by_place[account, host] = Provider(arn, (*existing.clients, *texts), more)


def providers_of(resources: Iterable[Resource], inventory: Inventory) -> Providers:
    """Return the providers of some resources; without a GitLab provider, add the foundation's in each account."""
    providers = Providers()
    for resource in resources:
        if resource.type == PROVIDER:
            url = at(resource.inputs, "url")
            host = url.removeprefix("https://") if isinstance(url, str) else unknown_issuer(resource.stack)
            clients = listed(at(resource.inputs, "clientIdLists"))
            providers.add(inventory.partition, resource.account, host, clients)
            if CLUSTER_HOSTS in host or not isinstance(url, str):
                providers.of_clusters[resource.stack].add(host)
    if inventory.gitlab and inventory.gitlab_host not in providers.hosts:
        for account in inventory.accounts.values():
            providers.add(inventory.partition, account, inventory.gitlab_host, [inventory.gitlab])
    return providers


def unknown_issuer(stack: str) -> str:
    """Return a stand-in for the issuer's host of a cluster that does not exist yet."""
    return f"issuer-of-{stack}.not-known-yet"
