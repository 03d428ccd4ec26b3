"""Rules inside the cluster: rights of managers, the admission of job pods, and the namespaces of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from components.documents import alarms
from components.documents.job_admission import admission_name, job_admission, job_admission_binding
from components.documents.namespaces import EXECUTOR_RULES
from config.names import AWS_CONFIG_MAP, namespace_jobs, namespace_manager
from policies.rule import resource_rule, stack_rule
from policies.type_tokens import (
    ADMISSION_BINDING,
    ADMISSION_POLICY,
    BINDINGS,
    CONFIG_MAP,
    KUBERNETES_ROLES,
    NETWORK_POLICY,
    NETWORK_SWITCH,
    SECRET,
    SERVICE_ACCOUNT,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

ADMINS = ("cluster-admin", "admin", "edit")


@resource_rule(
    "E09",
    "kubernetes-role-grants-the-executors-table",
    [*KUBERNETES_ROLES, *BINDINGS],
    demands="rights are those that the runner's executor needs, in one namespace, for a named service account",
    stops="A20: with a stolen manager's token an attacker reads every secret, makes tokens, or administers the cluster",
    remedy="Take the rights from components/documents/namespaces.py; bind them with a RoleBinding.",
    source="https://docs.gitlab.com/runner/executors/kubernetes/#configure-runner-api-permissions; CIS EKS 4.1.1 to 4.1.12",
    severity=Severity.CRITICAL,
)
def rights_are_few(resource: CheckedResource) -> Iterator[str]:
    """Rights within the executor's table; bindings of named service accounts to roles of the namespace."""
    if resource.type in BINDINGS:
        yield from _binding(resource)
        return
    if resource.type.endswith(":ClusterRole"):
        yield "it is a ClusterRole, which grants rights in every namespace"
    table = {(group, kind, verb) for rule in EXECUTOR_RULES for group, kind, verb in _triples(rule)}
    for rule in resource["rules"].items():
        rights = rule.get({})
        if rights is None:
            continue
        if extra := sorted(set(_triples(rights)) - table):
            group, kind, verb = extra[0]
            yield f"{rule.path} grants {verb} on {f'{group}/' if group else ''}{kind}, which the executor does not need"


def _triples(rule: dict[str, list[str]]) -> list[tuple[str, str, str]]:
    """Return `(group, resource, verb)` of a rule. As in the API server, no group is the core group; no resource or verb is all of them."""
    return [
        (group, resource, verb)
        for group in rule.get("apiGroups") or [""]
        for resource in rule.get("resources") or ["*"]
        for verb in rule.get("verbs") or ["*"]
    ]


def _binding(binding: CheckedResource) -> Iterator[str]:
    if binding.type.endswith(":ClusterRoleBinding"):
        yield "it is a ClusterRoleBinding, which grants rights in every namespace"
    role = binding["roleRef"]
    if role["name"].text() in ADMINS or role["kind"].text() == "ClusterRole":
        yield f"roleRef is {role['name'].text()}, a role of the whole cluster, not of the namespace"
    for subject in binding["subjects"].items():
        if (kind := subject["kind"].text()) not in {"ServiceAccount", None}:
            yield f"{subject.path} is a {kind or 'subject without kind'}, not a service account"
        elif subject["name"].text() == "default":
            yield f"{subject.path} is the service account `default`, which every pod has that names no other"
        elif _is_foreign(binding, origin := subject["namespace"].text()):
            yield f"{subject.path} is of namespace {origin or '(none)'}, where this program does not decide who uses it"


def _is_foreign(binding: CheckedResource, namespace: str | None) -> bool:
    settings = binding.run.platform_settings
    return settings is not None and namespace is not None and namespace not in _namespaces(settings)


@resource_rule(
    "E11",
    "kubernetes-object-stays-in-its-namespace",
    [CONFIG_MAP, SECRET, SERVICE_ACCOUNT, NETWORK_POLICY, KUBERNETES_ROLES[0], BINDINGS[0]],
    demands="objects are in the namespaces of the program; of other namespaces only the switch of network policies is changed",
    stops="A20: an object in kube-system, or in nobody's namespace, changes DNS, proxies or the rights of the cluster's own parts",
    remedy="Put the object into a namespace of components/runner_class.py.",
    settings=("runners.{runner}",),
    source="https://kubernetes.io/docs/concepts/security/rbac-good-practices/",
)
def objects_stay(resource: CheckedResource) -> Iterator[str]:
    """Namespaces of classes and of alarms."""
    settings, metadata = resource.run.platform_settings, resource["metadata"]
    namespace = metadata["namespace"].text("default")
    if settings is None or namespace is None or namespace in _namespaces(settings):
        return
    name = metadata["name"].text()
    if resource.type == CONFIG_MAP and ((namespace, name) == NETWORK_SWITCH or name == AWS_CONFIG_MAP):
        return  # E08 judges the switch, T13 every AWS config
    yield f"it is in namespace {namespace}, which is not a namespace of this program"


def _namespaces(settings: Settings) -> set[str]:
    """Return the namespaces that the program makes."""
    namespaces = {make(name) for name in settings.runners for make in (namespace_jobs, namespace_manager)}
    return namespaces | ({alarms.NAMESPACE} if settings.alarms.topic is not None else set())


@stack_rule(
    "E10",
    "kubernetes-admission-checks-job-pods",
    demands="in each class's namespace the API server admits few containers, all pulled anew, and only listed images in a protected class",
    stops="A16, A24, A28: a job gets a container past the runner's lists, with an image of somebody else or one that was left on the node",
    remedy="Leave policy and binding as components/documents/job_admission.py writes them.",
    source="https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/; CIS EKS 5.1.4",
    severity=Severity.CRITICAL,
)
def job_pods_are_checked(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Policy and binding of every class, exactly as the program writes them."""
    settings = stack.run.platform_settings
    if settings is None:
        return
    for runner_class, class_settings in settings.kubernetes_classes.items():
        yield from _admission(stack, ADMISSION_POLICY, runner_class, job_admission(class_settings))
        yield from _admission(stack, ADMISSION_BINDING, runner_class, job_admission_binding(runner_class))


def _admission(
    stack: CheckedStack, token: str, runner_class: str, expected: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    name, kind = admission_name(runner_class), token.rpartition(":")[2]
    resources = [resource for resource in stack.of(token) if resource["metadata"]["name"].text() == name]
    if not resources:
        yield "", f"there is no {kind} {name}: no job pod of class {runner_class} is checked"
    for resource in resources:
        spec = resource["spec"].get({})
        if spec is not None and spec != expected:
            different = sorted(key for key in {*spec, *expected} if spec.get(key) != expected.get(key))
            yield resource.urn, f"spec.{different[0]} is not that of components/documents/job_admission.py"
