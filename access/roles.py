"""IAM roles and OIDC providers of some resources.

A role is put together from several resources: its trust, inline policies, attachments, customer managed policies and boundary. AWS's own
policies are known by name, as far as they matter here. A provider belongs to one account and takes listed audiences: a trust in a provider
that is missing, or that belongs to another account, admits nobody. What the documents mean: `evaluation`.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from access import globs
from access.callers import TIMES, Choice, RoleTags
from access.conditions import narrows, seconds
from access.decision import Truth, Undecided
from access.policy_documents import ALLOW, Document, normalise
from access.resource import UNKNOWN, Resource, at, from_wire, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from access.conditions import Values
    from access.inventory import Inventory
    from access.policy_documents import Condition

ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
POLICY_ATTACHMENT = "aws:iam/policyAttachment:PolicyAttachment"
EXCLUSIVE_ATTACHMENTS = "aws:iam/rolePolicyAttachmentsExclusive:RolePolicyAttachmentsExclusive"
POLICY = "aws:iam/policy:Policy"
TAG_SESSION = "sts:TagSession"
ENDS = frozenset(
    f"{kind}{comparison}" for kind in ("date", "numeric") for comparison in ("lessthan", "lessthanequals", "equals")
)
"""Operators that no later time fulfils."""
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
    tags: RoleTags = field(default_factory=RoleTags)
    customer_policies: tuple[str, ...] = ()
    """ARNs of the attached policies that are not AWS's: a caller that changes one changes the role."""

    @cached_property
    def takes_tags(self) -> bool:
        """Whether a session of the role may have tags: passing or inheriting them takes `sts:TagSession` in the trust."""
        if isinstance(self.trust, Undecided):
            return True
        return any(s.effect == ALLOW and s.covers_action(TAG_SESSION) is not False for s in self.trust)

    def ended(self, now: datetime) -> str:
        """Return what a reader should know about statements of the trust that ended before a time; else an empty text."""
        for statement in self.trust if not isinstance(self.trust, Undecided) else ():
            ends = [_end(condition) for condition in statement.conditions]
            past = [end for end in ends if end is not None and end < now]
            if statement.effect == ALLOW and past:
                return f"statement {statement.index} of its trust ended at {min(past).isoformat()}"
        return ""

    @cached_property
    def effective_trust(self) -> Document | Undecided:
        """The trust without ineffective conditions of Allow statements."""
        return without_open_conditions(self.trust)


def _end(condition: Condition) -> datetime | None:
    """Return the last date at which a condition can hold; None if it is not about the end of a time."""
    if condition.key not in TIMES or condition.operator.lower() not in ENDS:
        return None
    dates = [seconds(value) if isinstance(value, str) else None for value in condition.values]
    times = [date for date in dates if date is not None]
    return datetime.fromtimestamp(float(max(times)), UTC) if len(times) == len(dates) else None


def without_open_conditions(trust: Document | Undecided) -> Document | Undecided:
    """Return a trust without the conditions of Allow statements that hold when their key is absent."""
    if isinstance(trust, Undecided):
        return trust
    return tuple(
        replace(statement, conditions=tuple(filter(narrows, statement.conditions)))
        if statement.effect == ALLOW
        else statement
        for statement in trust
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
            for role in listed(at(attachment.inputs, "roles")):
                self._attach(attachment.account, role, at(attachment.inputs, "policyArn"))
        for attachment in by_type[EXCLUSIVE_ATTACHMENTS]:
            for policy in listed(at(attachment.inputs, "policyArns")):
                self._attach(attachment.account, at(attachment.inputs, "roleName"), policy)
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
        boundary = at(inputs, "permissionsBoundary")
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
            tags=_tags(resource),
            customer_policies=(
                *self._customer[account, name],
                *(arn for arn in managed if isinstance(arn, str) and AWS_MANAGED not in arn),
            ),
        )


def _tags(resource: Resource) -> RoleTags:
    """Return the tags of a role, with those that its provider gives to everything."""
    default = at(resource.provider_inputs or {}, "defaultTags")
    if isinstance(default, str):
        default = from_wire(json.loads(default)) if from_wire(default) is not UNKNOWN else UNKNOWN
    values: dict[str, Values] = {}
    complete = True
    for tags in (at(default, "tags"), at(resource.inputs, "tags")):
        complete = complete and (tags is None or isinstance(tags, Mapping))
        for key, value in tags.items() if isinstance(tags, Mapping) else ():
            unknown = Undecided(f"the tag {key} of {resource.name} is not known yet")
            values[key] = (value,) if isinstance(value, str) else unknown
    return RoleTags(values=values, complete=complete)


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
