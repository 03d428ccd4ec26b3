"""Clusters: their service accounts, what can run pods as each of them, and the runners' configuration.

The right to create pods in a namespace, to enter its pods, or to ask for tokens is the right to use every service account in it. A runner's
configuration is read from its Helm release: the TOML text with all its `[[runners]]`, the environment variables for the same settings,
patches of the pod's specification, and overwrites by jobs, whose regular expressions GitLab does not anchor. Whatever cannot be read is
undecided. A node's own certificate, which opens the pods on that node, is not covered. Tokens and roles: `graph`.
Sources: https://kubernetes.io/docs/concepts/security/rbac-good-practices/, https://docs.gitlab.com/runner/executors/kubernetes/
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from access.decision import Truth, Undecided
from access.resource import UNKNOWN, at, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from access.resource import Resource

DEFAULT_ACCOUNT = "default"
KUBERNETES_AUDIENCE = "https://kubernetes.default.svc"


@dataclass(frozen=True, kw_only=True)
class RunnerEntry:
    """One `[[runners]]`: where its jobs run, and as whom."""

    namespace: str
    accounts: tuple[str, ...]
    """Service accounts that its pods have: the configured one, and what patches name."""
    audiences: tuple[str, ...]
    """Of the tokens that its pods carry by themselves."""
    namespace_overwrite: str = ""
    account_overwrite: str = ""
    images: tuple[str, ...] = ()
    """Patterns of the images that jobs may name, services included; empty means every image."""
    default_images: tuple[str, ...] = ()
    """Images that run without being named."""
    cache: str = ""
    """`<bucket>/<path>/`; empty without a cache on S3."""

    def may_run_as(self, namespace: str, account: str) -> Truth:
        """Whether a job may run as a service account."""
        if isinstance(found := _allowed(self.namespace, self.namespace_overwrite, namespace), Undecided) or not found:
            return found
        if account in self.accounts:
            return True
        return _allowed("", self.account_overwrite, account)


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """A release's configuration."""

    runners: tuple[RunnerEntry, ...] = ()
    undecided: Undecided | None = None
    """Why it could not be read, whole or in part."""
    manager_account: str = DEFAULT_ACCOUNT
    environment: Mapping[str, str] = field(default_factory=dict)


def read(values: Any, namespace: str) -> RunnerConfig:
    """The configuration of a release.

    Args:
        values: its Helm values.
        namespace: its own namespace, which jobs run in if nothing else is said.
    """
    manager = at(values, "serviceAccount", "name")
    manager = manager if isinstance(manager, str) and manager else DEFAULT_ACCOUNT
    text = at(values, "runners", "config")
    if not isinstance(text, str):
        return RunnerConfig(undecided=Undecided("the runner's configuration is not known"), manager_account=manager)
    try:
        sections = tomllib.loads(text).get("runners", [])
        environment = _environment(values)
        found = tuple(_kubernetes(section, environment, namespace) for section in sections)
    except (
        tomllib.TOMLDecodeError,
        yaml.YAMLError,
        TypeError,
        AttributeError,
        ValueError,
        LookupError,
        RecursionError,
    ) as error:
        return RunnerConfig(
            undecided=Undecided(f"the runner's configuration cannot be read: {type(error).__name__}"),
            manager_account=manager,
        )
    return RunnerConfig(runners=found, manager_account=manager, environment=environment)


def _environment(values: Any) -> dict[str, str]:
    # Every setting has a variable of the manager that says the same; the two are taken together.
    listed = at(values, "envVars")
    if listed is UNKNOWN:
        raise ValueError("the manager's variables are not known")
    return {str(each["name"]): str(each.get("value", "")) for each in listed or ()}


def _kubernetes(section: Mapping[str, Any], environment: Mapping[str, str], namespace: str) -> RunnerEntry:
    its = section.get("kubernetes", {})
    patches = [_patch(each) for each in its.get("pod_spec", ())]
    audiences = [audience for patch in patches for audience in _audiences(patch)]
    if its.get("automount_service_account_token", True):
        audiences.append(KUBERNETES_AUDIENCE)
    accounts = [
        environment.get("KUBERNETES_SERVICE_ACCOUNT", ""),
        its.get("service_account", ""),
        *(str(patch.get(key, "")) for patch in patches for key in ("serviceAccountName", "serviceAccount")),
    ]
    images = [*its.get("allowed_images", ()), *its.get("allowed_services", ())]
    both = "allowed_images" in its and "allowed_services" in its
    return RunnerEntry(
        namespace=environment.get("KUBERNETES_NAMESPACE") or its.get("namespace") or namespace,
        accounts=tuple(dict.fromkeys(each for each in accounts if each)) or (DEFAULT_ACCOUNT,),
        audiences=tuple(dict.fromkeys(audiences)),
        namespace_overwrite=_overwrite(its, environment, "namespace"),
        account_overwrite=_overwrite(its, environment, "service_account"),
        images=tuple(dict.fromkeys(images)) if both else (),
        default_images=tuple(each for each in (its.get("image"), its.get("helper_image")) if each),
        cache=_cache(section.get("cache", {})),
    )


def _overwrite(its: Mapping[str, Any], environment: Mapping[str, str], what: str) -> str:
    expressions = [
        str(its.get(f"{what}_overwrite_allowed", "")),
        environment.get(f"KUBERNETES_{what.upper()}_OVERWRITE_ALLOWED", ""),
    ]
    given = [each for each in expressions if each]
    return "|".join(f"(?:{each})" for each in given)


def _patch(each: Mapping[str, Any]) -> Mapping[str, Any]:
    """A patch as an object; JSON patches are lists, and are read as if each value were merged in."""
    found = yaml.safe_load(str(each.get("patch", ""))) or {}
    if isinstance(found, Mapping):
        return found
    merged: dict[str, Any] = {}
    for operation in found:
        path, value = str(operation.get("path", "")).strip("/").split("/"), operation.get("value")
        if path[0] in ("serviceAccountName", "serviceAccount"):
            merged[path[0]] = value
        elif path[0] == "volumes":
            merged.setdefault("volumes", []).extend(value if isinstance(value, list) else [value])
    return merged


def _audiences(patch: Mapping[str, Any]) -> list[str]:
    return [
        str(token.get("audience") or KUBERNETES_AUDIENCE)
        for volume in patch.get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if (token := source.get("serviceAccountToken")) is not None
    ]


def _cache(cache: Mapping[str, Any]) -> str:
    bucket = (cache.get("s3") or {}).get("BucketName") if str(cache.get("Type", "")).lower() == "s3" else None
    path = str(cache.get("Path", "")).strip("/")
    return f"{bucket}/{path}/" if bucket and path else f"{bucket}/" if bucket else ""


def _allowed(own: str, expression: str, wanted: str) -> Truth:
    """Whether a job gets what it wants: its own, or what an expression finds anywhere in it, as the runner looks."""
    if wanted == own:
        return True
    if not expression:
        return False
    try:
        return re.search(expression, wanted) is not None
    except re.error:
        return Undecided(f"the expression {expression} cannot be read")


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


class ServiceAccount(NamedTuple):
    """A service account of a cluster."""

    namespace: str
    name: str

    @property
    def subject(self) -> str:
        """As its tokens name it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class PodIdentity(NamedTuple):
    """An association of a service account with a role."""

    account: ServiceAccount | None
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


class NamespaceHolder(NamedTuple):
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
    annotated: dict[ServiceAccount, str | None] = field(default_factory=dict)
    """Service accounts, each with the audience of the token that its annotation brings; None without annotation."""
    takers: defaultdict[ServiceAccount, dict[str, Truth]] = field(default_factory=lambda: defaultdict(dict))
    """Namespaces whose service accounts an account can be, by the account."""
    releases: dict[str, RunnerConfig] = field(default_factory=dict)
    """Configurations of runners by namespace of the manager."""
    holders: list[NamespaceHolder] = field(default_factory=list)
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
    account = ServiceAccount(str(at(metadata, "namespace") or "default"), str(at(metadata, "name") or resource.name))
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
        cluster.holders.append(NamespaceHolder(str(principal), frozenset({EVERYWHERE}), True))


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
    cluster.holders.append(NamespaceHolder(principal, frozenset(map(str, names or [EVERYWHERE])), truth))


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
            account=None if UNKNOWN in (namespace, name) else ServiceAccount(str(namespace), str(name)),
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


def _subjects(cluster: Cluster, subjects: Iterable[Any], namespace: str) -> Iterator[ServiceAccount]:
    for subject in subjects:
        kind, name = at(subject, "kind"), str(at(subject, "name"))
        if kind == "ServiceAccount":
            yield ServiceAccount(str(at(subject, "namespace") or namespace), name)
        elif kind == "User" and name.startswith("system:serviceaccount:"):
            yield ServiceAccount(*name.split(":")[2:4])
        elif kind == "Group" and name.startswith("system:serviceaccounts:"):
            yield from (each for each in cluster.annotated if each.namespace == name.rpartition(":")[2])
        elif kind == "Group" and name in ("system:serviceaccounts", "system:authenticated"):
            yield from cluster.annotated
