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
    from access.resource import Resource

ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
POLICY_ATTACHMENT = "aws:iam/policyAttachment:PolicyAttachment"
POLICY = "aws:iam/policy:Policy"

WITHOUT_REACH = frozenset(
    {
        *("AmazonEKSClusterPolicy", "AmazonEKSBlockStoragePolicy", "AmazonEKSLoadBalancingPolicy"),
        *("AmazonEKSNetworkingPolicy", "AmazonEKSWorkerNodeMinimalPolicy", "AmazonEKSWorkerNodePolicy"),
        *("AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryReadOnly", "AmazonEKS_CNI_Policy"),
        *("SecurityAudit", "ViewOnlyAccess", "ReadOnlyAccess", "CloudWatchAgentServerPolicy"),
    }
)
"""AWS's policies that assume no role, change no role, and write no image or object.

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
"""What of AWS's other policies matters to reach."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Role:
    """A role with everything that decides who becomes it and what it may do."""

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
    """ARNs of the attached policies that are not AWS's: whoever changes one changes the role."""

    @cached_property
    def entrance(self) -> Document | Undecided:
        """Its trust as it is judged: without the conditions of an Allow that narrow nothing."""
        if isinstance(self.trust, Undecided):
            return self.trust
        return tuple(
            replace(each, conditions=tuple(filter(narrows, each.conditions))) if each.effect == ALLOW else each
            for each in self.trust
        )


def of_aws(arn: str) -> Document | Undecided:
    """What is known of one of AWS's own policies."""
    name = arn.rpartition("/")[2]
    if name in WITHOUT_REACH:
        return ()
    if name in EXCERPTS:
        return normalise({"Statement": EXCERPTS[name]})
    return Undecided(f"the AWS policy {name} is not known here")


class Roles:
    """All roles of some resources, put together once."""

    def __init__(self, resources: Iterable[Resource], partition: str) -> None:
        self._partition = partition
        self._policies: defaultdict[tuple[str, str], list[Document | Undecided]] = defaultdict(list)
        self._customer: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._unplaced: defaultdict[str, list[Undecided]] = defaultdict(list)
        by_type: defaultdict[str, list[Resource]] = defaultdict(list)
        for each in resources:
            by_type[each.type].append(each)
        self._managed = {
            self._arn(each, "policy", str(at(each.inputs, "name") or each.name)): normalise(at(each.inputs, "policy"))
            for each in by_type[POLICY]
        }
        for each in by_type[ROLE_POLICY]:
            self._give(each.account, at(each.inputs, "role"), normalise(at(each.inputs, "policy")))
        for each in by_type[ATTACHMENT]:
            self._attach(each.account, at(each.inputs, "role"), at(each.inputs, "policyArn"))
        for each in by_type[POLICY_ATTACHMENT]:
            for role in at(each.inputs, "roles") or ():
                self._attach(each.account, role, at(each.inputs, "policyArn"))
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
        if isinstance(role, str) and isinstance(policy, str) and ":iam::aws:" not in policy:
            self._customer[account, role.rpartition("/")[2]].append(policy)

    def document(self, policy: Any) -> Document | Undecided:
        """The document of a managed policy."""
        if not isinstance(policy, str):
            return Undecided("an attached policy is not known yet")
        if ":iam::aws:" in policy:
            return of_aws(policy)
        return self._managed.get(policy, Undecided(f"the policy {policy} is not among the resources"))

    def _role(self, resource: Resource) -> Role:
        inputs, account = resource.inputs, resource.account
        name = at(inputs, "name")
        name = name if isinstance(name, str) else resource.name
        inline = at(inputs, "inlinePolicies")
        managed = at(inputs, "managedPolicyArns")
        lists = [each for each in (inline, managed) if each is UNKNOWN]
        boundary = at(inputs, "permissionsBoundary")
        tags = at(inputs, "tags")
        customer = (
            [each for each in managed if isinstance(each, str) and ":iam::aws:" not in each]
            if isinstance(managed, list)
            else []
        )
        return Role(
            arn=self._arn(resource, "role", name),
            account=account,
            name=name,
            stack=resource.stack,
            urn=resource.urn,
            trust=normalise(at(inputs, "assumeRolePolicy")),
            policies=(
                *self._policies[account, name],
                *(normalise(at(each, "policy")) for each in (inline if isinstance(inline, list) else ())),
                *(self.document(each) for each in (managed if isinstance(managed, list) else ())),
                *(Undecided("a role's policies are not known yet") for _ in lists),
                *self._unplaced[account],
            ),
            boundary=None if boundary is None else self.document(boundary),
            boundary_arn=boundary if isinstance(boundary, str) else None,
            tags={key: value for key, value in tags.items() if isinstance(value, str)}
            if isinstance(tags, dict)
            else {},
            customer_policies=(*self._customer[account, name], *customer),
        )


PROVIDER = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
CLUSTER_HOSTS = "oidc.eks."


class Provider(NamedTuple):
    """A provider in an account."""

    arn: str
    clients: tuple[str, ...]
    """Audiences that it takes."""
    more: bool
    """Whether it takes others that are not known yet."""


@dataclass(kw_only=True)
class Providers:
    """All providers."""

    by_place: dict[tuple[str, str], Provider] = field(default_factory=dict)
    """By account and host of the issuer."""
    of_clusters: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Hosts of the clusters' issuers by stack."""

    def arn(self, account: str, issuer: str) -> str:
        """ARN of the provider of an issuer in an account; empty where there is none."""
        found = self.by_place.get((account, issuer))
        return found.arn if found else ""

    def takes(self, account: str, issuer: str, audience: str | Choice) -> Iterator[tuple[str, Truth]]:
        """Audiences that an account takes of an issuer, of those that a token may be made for."""
        found = self.by_place.get((account, issuer))
        for client in found.clients if found else ():
            if isinstance(audience, Choice):
                if not any(globs.matches(each, client) for each in audience.outside):
                    yield client, True
            elif client == audience:
                yield client, True
        if found and found.more:
            unknown = Undecided("the audiences of a provider are not known yet")
            yield (audience if isinstance(audience, str) else "not-known-yet"), unknown

    @property
    def hosts(self) -> set[str]:
        """All issuers."""
        return {host for _, host in self.by_place}


def providers_of(resources: Iterable[Resource], facts: Inventory) -> Providers:
    """The providers of some resources; without any of GitLab, those that the foundation has in each account."""
    found = Providers()

    def add(account: str, host: str, listed_clients: list[Any]) -> None:
        arn = f"arn:{facts.partition}:iam::{account}:oidc-provider/{host}"
        clients = tuple(client for client in listed_clients if isinstance(client, str))
        known = found.by_place.get((account, host), Provider(arn, (), more=False))
        more = known.more or len(clients) < len(listed_clients)
        found.by_place[account, host] = Provider(arn, (*known.clients, *clients), more)

    for each in resources:
        if each.type == PROVIDER:
            url = at(each.inputs, "url")
            host = url.removeprefix("https://") if isinstance(url, str) else unknown_issuer(each.stack)
            add(each.account, host, listed(at(each.inputs, "clientIdLists")))
            if CLUSTER_HOSTS in host or not isinstance(url, str):
                found.of_clusters[each.stack].add(host)
    if facts.gitlab and facts.gitlab_host not in found.hosts:
        for account in facts.accounts.values():
            add(account, facts.gitlab_host, [facts.gitlab])
    return found


def unknown_issuer(stack: str) -> str:
    """Stands for the host of a cluster that is being created."""
    return f"issuer-of-{stack}.not-known-yet"
