"""Clusters: service accounts, who may run pods as which of them, and who holds a cluster from AWS.

Owns the Kubernetes side of reach. The right to create pods in a namespace, to enter its pods, or to ask for tokens is the right to use every
service account there. Leaves out tokens and roles (`world`). A node's own certificate, which opens the pods on that node, is not looked at.
Source: https://kubernetes.io/docs/concepts/security/rbac-good-practices/
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from access.answers import Truth, Undecided
from access.resources import UNKNOWN, at, listed
from access.runner_config import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from access.resources import Resource
    from access.runner_config import RunnerConfig

EVERYWHERE = "*"
WORKLOADS = (
    "pods",
    "deployments",
    "daemonsets",
    "statefulsets",
    "replicasets",
    "replicationcontrollers",
    "jobs",
    "cronjobs",
)
TAKING = {
    **dict.fromkeys(WORKLOADS, ("create", "update", "patch")),
    **dict.fromkeys(("pods/exec", "pods/attach"), ("create", "get")),
    "pods/ephemeralcontainers": ("update", "patch"),
    "serviceaccounts/token": ("create",),
}
"""Verbs on resources that make somebody a namespace's service accounts."""
RISING = {
    **dict.fromkeys(("roles", "clusterroles"), ("escalate", "bind")),
    **dict.fromkeys(("users", "groups", "serviceaccounts"), ("impersonate",)),
}
"""Verbs that make somebody whatever they like, within a namespace or everywhere."""
BUILT_IN = ("cluster-admin", "admin", "edit")
"""Kubernetes' own roles that may create pods."""
HOLDING_POLICIES = ("AmazonEKSClusterAdminPolicy", "AmazonEKSAdminPolicy", "AmazonEKSEditPolicy")
WITHOUT_PODS = ("AmazonEKSViewPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSAutoNodePolicy")
"""Policies that run nothing: those that look, and a node's, whose certificate opens the pods on that node only."""


class Account(NamedTuple):
    """A service account of a cluster."""

    namespace: str
    name: str

    @property
    def subject(self) -> str:
        """As its tokens name it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class PodIdentity(NamedTuple):
    """An association of a service account with a role."""

    account: Account | None
    """None where it is not known whose."""
    role: str | None
    """ARN; None where it is not known which."""
    known: Truth
    """Undecided where a part of it is not known yet."""
    tagged: bool
    """Whether the session has the tags of EKS."""
    limit: str
    """What names its session policy within the world; empty without one."""
    policy: Any
    """The session policy; None without one."""


class Holder(NamedTuple):
    """An AWS principal that holds namespaces of a cluster."""

    principal: str
    """ARN."""
    namespaces: frozenset[str]
    truth: Truth


@dataclass(kw_only=True)
class Cluster:
    """The cluster of one stack."""

    stack: str
    name: str = ""
    account: str = ""
    annotated: dict[Account, str | None] = field(default_factory=dict)
    """Service accounts, each with the audience of the token that its annotation brings; None without annotation."""
    takers: defaultdict[Account, dict[str, Truth]] = field(default_factory=lambda: defaultdict(dict))
    """Namespaces whose service accounts an account can be, by the account."""
    releases: dict[str, RunnerConfig] = field(default_factory=dict)
    """Configurations of runners by namespace of the manager."""
    holders: list[Holder] = field(default_factory=list)
    pod_identities: list[PodIdentity] = field(default_factory=list)
    node_roles: set[str] = field(default_factory=set)
    """Names or ARNs of the nodes' roles."""

    @property
    def namespaces(self) -> list[str]:
        """All namespaces that accounts or runners are in."""
        found = {account.namespace for account in self.annotated} | set(self.releases)
        return sorted(found | {each.namespace for config in self.releases.values() for each in config.runners})


def clusters_of(resources: Iterable[Resource]) -> dict[str, Cluster]:
    """Clusters by stack."""
    found: dict[str, Cluster] = {}
    rules: defaultdict[str, dict[tuple[str, str], Any]] = defaultdict(dict)
    bindings: list[Resource] = []
    for each in resources:
        kind = each.type.rpartition(":")[2]
        if not each.type.startswith(("kubernetes:", "aws:eks/")):
            continue
        cluster = found.setdefault(each.stack, Cluster(stack=each.stack))
        if kind in ("Role", "ClusterRole"):
            namespace = str(at(each.inputs, "metadata", "namespace") or "")
            rules[each.stack][namespace, str(at(each.inputs, "metadata", "name"))] = listed(at(each.inputs, "rules"))
        elif kind in ("RoleBinding", "ClusterRoleBinding"):
            bindings.append(each)
        elif kind in _READERS:
            _READERS[kind](cluster, each)
    for binding in bindings:
        _bind(found[binding.stack], binding.inputs, rules[binding.stack])
    return found


def _cluster(cluster: Cluster, resource: Resource) -> None:
    cluster.name, cluster.account = str(at(resource.inputs, "name") or resource.name), resource.account


def _service_account(cluster: Cluster, resource: Resource) -> None:
    metadata = at(resource.inputs, "metadata")
    annotations = at(metadata, "annotations") or {}
    account = Account(str(at(metadata, "namespace") or "default"), str(at(metadata, "name") or resource.name))
    audience = at(annotations, "eks.amazonaws.com/audience")
    brings = "eks.amazonaws.com/role-arn" in annotations if isinstance(annotations, dict) else True
    cluster.annotated[account] = (
        (str(audience) if isinstance(audience, str) else "sts.amazonaws.com") if brings else None
    )


def _release(cluster: Cluster, resource: Resource) -> None:
    values = at(resource.inputs, "values")
    if at(values, "runners") is not None:
        namespace = str(at(resource.inputs, "namespace") or "default")
        cluster.releases[namespace] = read(values, namespace)


def _entry(cluster: Cluster, resource: Resource) -> None:
    principal, kind = at(resource.inputs, "principalArn"), at(resource.inputs, "type")
    if isinstance(kind, str) and kind.startswith("EC2"):
        cluster.node_roles.add(str(principal))
    elif "system:masters" in listed(at(resource.inputs, "kubernetesGroups")):
        cluster.holders.append(Holder(str(principal), frozenset({EVERYWHERE}), True))


def _association(cluster: Cluster, resource: Resource) -> None:
    policy, principal = (
        str(at(resource.inputs, "policyArn")).rpartition("/")[2],
        str(at(resource.inputs, "principalArn")),
    )
    if policy in WITHOUT_PODS:
        return
    scope = at(resource.inputs, "accessScope")
    names = listed(at(scope, "namespaces")) if at(scope, "type") == "namespace" else []
    truth: Truth = True if policy in HOLDING_POLICIES else Undecided(f"the access policy {policy} is not known here")
    cluster.holders.append(Holder(principal, frozenset(map(str, names or [EVERYWHERE])), truth))


def _pod_identity(cluster: Cluster, resource: Resource) -> None:
    # Of a target role nothing is read: it trusts the role, and a policy then limits the target's session only.
    # Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html
    inputs = resource.inputs
    namespace, name, role, untagged = (
        at(inputs, key) for key in ("namespace", "serviceAccount", "roleArn", "disableSessionTags")
    )
    policy = at(inputs, "policy") if at(inputs, "targetRoleArn") is None else None
    unknown = UNKNOWN in (namespace, name, role, untagged)
    cluster.pod_identities.append(
        PodIdentity(
            account=None if UNKNOWN in (namespace, name) else Account(str(namespace), str(name)),
            role=None if role is UNKNOWN else str(role),
            known=Undecided("a pod identity association is not known yet") if unknown else True,
            tagged=untagged is not True,
            limit=f"{cluster.stack}/{len(cluster.pod_identities)}" if policy else "",
            policy=policy or None,
        )
    )


def _node_class(cluster: Cluster, resource: Resource) -> None:
    role = at(resource.inputs, "spec", "role")
    if isinstance(role, str):
        cluster.node_roles.add(role)


_READERS = {
    "Cluster": _cluster,
    "ServiceAccount": _service_account,
    "Release": _release,
    "AccessEntry": _entry,
    "AccessPolicyAssociation": _association,
    "PodIdentityAssociation": _pod_identity,
    "NodeClass": _node_class,
}


def _bind(cluster: Cluster, inputs: Mapping[str, Any], rules: Mapping[tuple[str, str], Any]) -> None:
    namespace = str(at(inputs, "metadata", "namespace") or "")
    role = str(at(inputs, "roleRef", "name"))
    own = rules.get((namespace, role)) if at(inputs, "roleRef", "kind") == "Role" else rules.get(("", role))
    if own is not None:
        taken = _taken(own, namespace or EVERYWHERE)
    else:
        taken = {namespace or EVERYWHERE: True} if role in BUILT_IN else {}
    for account in _subjects(cluster, listed(at(inputs, "subjects")), namespace) if taken else ():
        cluster.takers[account] |= taken


def _taken(rules: Sequence[Any], namespace: str) -> dict[str, Truth]:
    """Namespaces whose service accounts these rules open."""
    if UNKNOWN in rules:
        return {namespace: Undecided("the rules of a Kubernetes role are not known yet")}
    for rule in rules:
        verbs, resources = set(listed(at(rule, "verbs"))), set(listed(at(rule, "resources")))
        for resource, needed in {**TAKING, **RISING}.items():
            whole = "*" in resources or resource in resources or f"*/{resource.partition('/')[2]}" in resources
            if whole and ("*" in verbs or verbs & set(needed)):
                return {namespace: True}
    return {}


def _subjects(cluster: Cluster, subjects: Iterable[Any], namespace: str) -> Iterator[Account]:
    for subject in subjects:
        kind, name = at(subject, "kind"), str(at(subject, "name"))
        if kind == "ServiceAccount":
            yield Account(str(at(subject, "namespace") or namespace), name)
        elif kind == "User" and name.startswith("system:serviceaccount:"):
            yield Account(*name.split(":")[2:4])
        elif kind == "Group" and name.startswith("system:serviceaccounts:"):
            yield from (each for each in cluster.annotated if each.namespace == name.rpartition(":")[2])
        elif kind == "Group" and name in ("system:serviceaccounts", "system:authenticated"):
            yield from cluster.annotated
