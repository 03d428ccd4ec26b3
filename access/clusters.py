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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from access import runner_toml
from access.decision import Truth, Undecided
from access.resource import UNKNOWN, at, listed
from access.runner_doubts import doubt_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from access.resource import Resource

DEFAULT_ACCOUNT = "default"
DEFAULT_AUDIENCE = "sts.amazonaws.com"
KUBERNETES_AUDIENCE = "https://kubernetes.default.svc"


# The runners' configuration ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RunnerEntry:
    """One `[[runners]]` of a configuration: the namespace and the service accounts of its job pods."""

    namespace: str
    accounts: tuple[str, ...]
    """Service accounts of its pods: the configured one, and those that patches name."""
    audiences: tuple[str, ...]
    """Audiences of the tokens in every pod."""
    namespace_overwrite: str = ""
    account_overwrite: str = ""
    images: tuple[str, ...] = ()
    """Patterns of the images that jobs may name, services included; empty means every image."""
    default_images: tuple[str, ...] = ()
    """Images that run without being named by a job."""
    cache: str = ""
    """`<bucket>/<path>/`; empty without a cache on S3."""

    def may_run_as(self, namespace: str, account: str) -> Truth:
        """Whether a job may run as a service account."""
        in_namespace = _may_choose(self.namespace, self.namespace_overwrite, namespace)
        if isinstance(in_namespace, Undecided) or not in_namespace:
            return in_namespace
        if account in self.accounts:
            return True
        return _may_choose("", self.account_overwrite, account)


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """The runner's configuration in one release."""

    runners: tuple[RunnerEntry, ...] = ()
    undecided: Undecided | None = None
    """Why the configuration cannot be read, as a whole or in part."""
    manager_account: str = DEFAULT_ACCOUNT
    environment: Mapping[str, str] = field(default_factory=dict)


def runner_config_of(values: Any, namespace: str) -> RunnerConfig:
    """Read the configuration of a release.

    Args:
        values: the release's Helm values.
        namespace: the release's namespace, which is also the jobs' namespace unless the configuration names another.
    """
    config = _readable_config(values, namespace)
    return config if config.undecided is not None else replace(config, undecided=doubt_of(values, namespace))


def _readable_config(values: Any, namespace: str) -> RunnerConfig:
    manager = at(values, "serviceAccount", "name")
    manager = manager if isinstance(manager, str) and manager else DEFAULT_ACCOUNT
    text = at(values, "runners", "config")
    if not isinstance(text, str):
        undecided = Undecided(f"the runner's configuration in namespace {namespace} is not known")
        return RunnerConfig(undecided=undecided, manager_account=manager)
    try:
        toml = runner_toml.read(text)
        sections, environment = toml.runners or (), _environment(values)
        runners = tuple(_runner_entry(section, environment, namespace) for section in sections)
    except (
        tomllib.TOMLDecodeError,
        yaml.YAMLError,
        TypeError,
        AttributeError,
        ValueError,
        LookupError,
        RecursionError,
    ) as error:
        reason = f"the runner's configuration in namespace {namespace} cannot be read: {type(error).__name__}"
        return RunnerConfig(undecided=Undecided(reason), manager_account=manager)
    two_spellings = [
        Undecided(f"{key} in namespace {namespace} has two spellings, of which the runner takes either")
        for key in toml.twice
    ]
    return RunnerConfig(
        runners=runners,
        undecided=two_spellings[0] if two_spellings else None,
        manager_account=manager,
        environment=environment,
    )


def _environment(values: Any) -> dict[str, str]:
    """Return the manager's environment variables; each setting of the TOML text has a variable with the same meaning."""
    variables = at(values, "envVars")
    if variables is UNKNOWN:
        raise ValueError("the manager's environment variables are not known")
    return {str(variable["name"]): str(variable.get("value", "")) for variable in variables or ()}


def _runner_entry(section: Mapping[str, Any], environment: Mapping[str, str], namespace: str) -> RunnerEntry:
    settings = section.get("kubernetes", {})
    patches = [_patch(patch) for patch in settings.get("pod_spec", ())]
    audiences = [audience for patch in patches for audience in _audiences(patch)]
    if settings.get("automount_service_account_token", True):
        audiences.append(KUBERNETES_AUDIENCE)
    accounts = [
        environment.get("KUBERNETES_SERVICE_ACCOUNT", ""),
        settings.get("service_account", ""),
        *(str(patch.get(key) or "") for patch in patches for key in ("serviceAccountName", "serviceAccount")),
    ]
    return RunnerEntry(
        namespace=environment.get("KUBERNETES_NAMESPACE") or settings.get("namespace") or namespace,
        accounts=tuple(dict.fromkeys(account for account in accounts if account)) or (DEFAULT_ACCOUNT,),
        audiences=tuple(dict.fromkeys(audiences)),
        namespace_overwrite=_overwrite(settings, environment, "namespace"),
        account_overwrite=_overwrite(settings, environment, "service_account"),
        images=images_of(settings),
        default_images=tuple(image for image in (settings.get("image"), settings.get("helper_image")) if image),
        cache=cache_of(section.get("cache", {})),
    )


def images_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the patterns of the images that jobs may name, from the table of an executor; empty means every image."""
    images = [*settings.get("allowed_images", ()), *settings.get("allowed_services", ())]
    # The runner takes an empty list for no limit.
    limited = bool(settings.get("allowed_images") and settings.get("allowed_services"))
    return tuple(dict.fromkeys(images)) if limited else ()


def _overwrite(settings: Mapping[str, Any], environment: Mapping[str, str], key: str) -> str:
    """Return one regular expression for both places where an overwrite can be allowed; empty if neither does."""
    expressions = [
        str(settings.get(f"{key}_overwrite_allowed", "")),
        environment.get(f"KUBERNETES_{key.upper()}_OVERWRITE_ALLOWED", ""),
    ]
    return "|".join(f"(?:{expression})" for expression in expressions if expression)


def _patch(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a patch as an object; of a JSON patch, which is a list, every value is read as if it were merged."""
    patch = yaml.safe_load(str(entry.get("patch", ""))) or {}
    if isinstance(patch, Mapping):
        return patch
    merged: dict[str, Any] = {}
    for operation in patch:
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


def cache_of(cache: Mapping[str, Any]) -> str:
    """Return `<bucket>/<path>/` of a runner's cache; empty without a cache on S3."""
    bucket = (cache.get("s3") or {}).get("BucketName") if str(cache.get("Type", "")).lower() == "s3" else None
    path = str(cache.get("Path", "")).strip("/")
    return f"{bucket}/{path}/" if bucket and path else f"{bucket}/" if bucket else ""


def _may_choose(configured: str, expression: str, value: str) -> Truth:
    """Whether a job gets a value: the configured one, or one in which the expression matches anywhere, as in GitLab Runner."""
    if value == configured:
        return True
    if not expression:
        return False
    try:
        return re.search(expression, value) is not None
    except re.error:
        return Undecided(f"{expression!r} is not a regular expression that Python can read")


# Clusters ---------------------------------------------------------------------------------------------------------------

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
NAMESPACE_RIGHTS = {
    **dict.fromkeys(WORKLOADS, ("create", "update", "patch")),
    **dict.fromkeys(("pods/exec", "pods/attach"), ("create", "get")),
    "pods/ephemeralcontainers": ("update", "patch"),
    "serviceaccounts/token": ("create",),
}
"""Verbs on resources that give a subject every service account of a namespace."""
ESCALATING_RIGHTS = {
    **dict.fromkeys(("roles", "clusterroles"), ("escalate", "bind")),
    **dict.fromkeys(("users", "groups", "serviceaccounts"), ("impersonate",)),
}
"""Verbs that give a subject any right, within a namespace or everywhere."""
BUILT_IN = ("cluster-admin", "admin", "edit")
"""Kubernetes' own roles that may create pods."""
ADMIN_POLICIES = ("AmazonEKSClusterAdminPolicy", "AmazonEKSAdminPolicy", "AmazonEKSEditPolicy")
WITHOUT_PODS = ("AmazonEKSViewPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSAutoNodePolicy")
"""Access policies that run no pods: those that only read, and that of nodes, whose certificate opens the pods on that node only."""


class ServiceAccount(NamedTuple):
    """A service account of a cluster."""

    namespace: str
    name: str

    @property
    def subject(self) -> str:
        """The `sub` of its tokens."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class PodIdentity(NamedTuple):
    """An association of a service account with a role."""

    account: ServiceAccount | None
    """None if the service account is not known yet."""
    role: str | None
    """ARN; None if the role is not known yet."""
    truth: Truth
    """Undecided if a part of the association is not known yet."""
    tagged: bool
    """Whether the session has the tags of EKS."""
    limit: str
    """Name of the session policy in the graph; empty without one."""
    policy: Any
    """The session policy; None without one."""


class AccessGrant(NamedTuple):
    """Namespaces of a cluster that an AWS principal administers by access entries."""

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
    audiences: dict[ServiceAccount, str | None] = field(default_factory=dict)
    """Audience of the token that a service account's annotation brings, by service account; None without annotation."""
    controlled_namespaces: defaultdict[ServiceAccount, dict[str, Truth]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """Namespaces whose service accounts a service account can use, by service account."""
    releases: dict[str, RunnerConfig] = field(default_factory=dict)
    """Configurations of runners, by namespace of the manager."""
    access_grants: list[AccessGrant] = field(default_factory=list)
    pod_identities: list[PodIdentity] = field(default_factory=list)
    node_roles: set[str] = field(default_factory=set)
    """Names or ARNs of the nodes' roles."""

    @property
    def namespaces(self) -> list[str]:
        """All namespaces with service accounts or runners."""
        names = {account.namespace for account in self.audiences} | set(self.releases)
        return sorted(names | {runner.namespace for config in self.releases.values() for runner in config.runners})


def clusters_of(resources: Iterable[Resource]) -> dict[str, Cluster]:
    """Return the clusters of some resources, by stack."""
    clusters: dict[str, Cluster] = {}
    rules: defaultdict[str, dict[tuple[str, str], Any]] = defaultdict(dict)
    bindings: list[Resource] = []
    for resource in resources:
        kind, inputs = resource.type.rpartition(":")[2], resource.inputs
        if not resource.type.startswith(("kubernetes:", "aws:eks/")):
            continue
        cluster = clusters.setdefault(resource.stack, Cluster(stack=resource.stack))
        if kind in ("Role", "ClusterRole"):
            namespace = str(at(inputs, "metadata", "namespace") or "")
            rules[resource.stack][namespace, str(at(inputs, "metadata", "name"))] = listed(at(inputs, "rules"))
        elif kind in ("RoleBinding", "ClusterRoleBinding"):
            bindings.append(resource)
        elif kind in _READERS:
            _READERS[kind](cluster, resource)
    for binding in bindings:
        _bind(clusters[binding.stack], binding.inputs, rules[binding.stack])
    return clusters


def _cluster(cluster: Cluster, resource: Resource) -> None:
    cluster.name, cluster.account = str(at(resource.inputs, "name") or resource.name), resource.account


def _service_account(cluster: Cluster, resource: Resource) -> None:
    metadata = at(resource.inputs, "metadata")
    annotations = at(metadata, "annotations") or {}
    account = ServiceAccount(str(at(metadata, "namespace") or "default"), str(at(metadata, "name") or resource.name))
    audience = at(annotations, "eks.amazonaws.com/audience")
    has_role = "eks.amazonaws.com/role-arn" in annotations if isinstance(annotations, dict) else True
    annotated = str(audience) if isinstance(audience, str) else DEFAULT_AUDIENCE
    cluster.audiences[account] = annotated if has_role else None


def _release(cluster: Cluster, resource: Resource) -> None:
    values = at(resource.inputs, "values")
    if at(values, "runners") is not None:
        namespace = str(at(resource.inputs, "namespace") or "default")
        cluster.releases[namespace] = runner_config_of(values, namespace)


def _access_entry(cluster: Cluster, resource: Resource) -> None:
    principal, kind = at(resource.inputs, "principalArn"), at(resource.inputs, "type")
    if isinstance(kind, str) and kind.startswith("EC2"):
        cluster.node_roles.add(str(principal))
    elif "system:masters" in listed(at(resource.inputs, "kubernetesGroups")):
        cluster.access_grants.append(AccessGrant(str(principal), frozenset({EVERYWHERE}), True))


def _access_policy(cluster: Cluster, resource: Resource) -> None:
    policy = str(at(resource.inputs, "policyArn")).rpartition("/")[2]
    principal = str(at(resource.inputs, "principalArn"))
    if policy in WITHOUT_PODS:
        return
    scope = at(resource.inputs, "accessScope")
    names = listed(at(scope, "namespaces")) if at(scope, "type") == "namespace" else []
    truth: Truth = True
    if policy not in ADMIN_POLICIES:
        truth = Undecided(f"the EKS access policy {policy} is not in access/clusters.py")
    cluster.access_grants.append(AccessGrant(principal, frozenset(map(str, names or [EVERYWHERE])), truth))


def _pod_identity(cluster: Cluster, resource: Resource) -> None:
    # A target role is not read: it trusts the role, and a session policy then limits the target's session only.
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
            truth=Undecided("a pod identity association is not known yet") if unknown else True,
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
    "AccessEntry": _access_entry,
    "AccessPolicyAssociation": _access_policy,
    "PodIdentityAssociation": _pod_identity,
    "NodeClass": _node_class,
}


def _bind(cluster: Cluster, inputs: Mapping[str, Any], rules: Mapping[tuple[str, str], Any]) -> None:
    namespace = str(at(inputs, "metadata", "namespace") or "")
    role = str(at(inputs, "roleRef", "name"))
    role_rules = rules.get((namespace, role)) if at(inputs, "roleRef", "kind") == "Role" else rules.get(("", role))
    if role_rules is not None:
        controlled = _controlled_namespaces(role_rules, namespace or EVERYWHERE)
    else:
        controlled = {namespace or EVERYWHERE: True} if role in BUILT_IN else {}
    for account in _subjects(cluster, listed(at(inputs, "subjects")), namespace) if controlled else ():
        cluster.controlled_namespaces[account] |= controlled


def _controlled_namespaces(rules: Sequence[Any], namespace: str) -> dict[str, Truth]:
    """Return the namespace if these rules give a subject all service accounts in it, else an empty dict."""
    if UNKNOWN in rules:
        return {namespace: Undecided("the rules of a Kubernetes role are not known yet")}
    for rule in rules:
        verbs, resources = set(listed(at(rule, "verbs"))), set(listed(at(rule, "resources")))
        for resource, needed in {**NAMESPACE_RIGHTS, **ESCALATING_RIGHTS}.items():
            covers = "*" in resources or resource in resources or f"*/{resource.partition('/')[2]}" in resources
            if covers and ("*" in verbs or verbs & set(needed)):
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
            yield from (account for account in cluster.audiences if account.namespace == name.rpartition(":")[2])
        elif kind == "Group" and name in ("system:serviceaccounts", "system:authenticated"):
            yield from cluster.audiences
